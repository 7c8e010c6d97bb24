// Adam's and LAMB's step and the norm of gradients, over many fp32 tensors in one call.
//
// Tensors are cut into blocks of fixed size; a block is one thread's work, and sums over blocks are
// added in their order, in double: results do not depend on the number of threads. Adam reads and
// writes each of p, m and v once and reads g once, 28 bytes an element. LAMB needs |p| / |u| of the
// whole tensor before it can move p; its second pass computes u again from p, m and v, which is no
// more traffic (40 bytes) than keeping it, and needs no memory.
#include <algorithm>
#include <vector>

#include "numbers.h"

namespace {

constexpr int64_t BLOCK = 16384;
constexpr int64_t RUN = 1024;  // summed in fp32, then in double: conversions are slow

struct Block {
  int64_t tensor, first, count;
};

std::vector<Block> cut(const int64_t* sizes, int64_t tensors) {
  std::vector<Block> blocks;
  for (int64_t tensor = 0; tensor < tensors; ++tensor)
    for (int64_t first = 0; first < sizes[tensor]; first += BLOCK)
      blocks.push_back({tensor, first, std::min(BLOCK, sizes[tensor] - first)});
  return blocks;
}

// Addresses of `tensors` parameters, then of their gradients, first and second moments.
struct Tensors {
  const int64_t* addresses;
  int64_t tensors;

  float* at(int64_t kind, const Block& block) const {
    return reinterpret_cast<float*>(addresses[kind * tensors + block.tensor]) + block.first;
  }
  float* p(const Block& block) const { return at(0, block); }
  const float* g(const Block& block) const { return at(1, block); }
  float* m(const Block& block) const { return at(2, block); }
  float* v(const Block& block) const { return at(3, block); }
};

struct Rule {
  float beta1, rest1, beta2, rest2;  // rest = 1 - beta
  float root, floor;                 // bias correction and eps: m / (root sqrt(v) + floor)
  float decay, factor, rate;

  // Moves both moments by a gradient.
  void move(float g, float& m, float& v) const {
    const float clipped = factor * g;
    m = beta1 * m + rest1 * clipped;
    v = beta2 * v + rest2 * (clipped * clipped);
  }
  float update(float p, float m, float v) const {
    return m / (root * std::sqrt(v) + floor) + decay * p;
  }
};

void adam_block(const Tensors& all, const Block& block, const Rule& rule) {
  float *p = all.p(block), *m = all.m(block), *v = all.v(block);
  const float* g = all.g(block);
#pragma omp simd
  for (int64_t i = 0; i < block.count; ++i) {
    float m_new = m[i], v_new = v[i];
    rule.move(g[i], m_new, v_new);
    m[i] = m_new;
    v[i] = v_new;
    p[i] -= rule.rate * rule.update(p[i], m_new, v_new);
  }
}

// Squared norms of a piece of the parameter and of its update.
struct Squares {
  double p, u;
};

Squares moments_block(const Tensors& all, const Block& block, const Rule& rule) {
  const float *p = all.p(block), *g = all.g(block);
  float *m = all.m(block), *v = all.v(block);
  Squares sum = {0.0, 0.0};
  for (int64_t first = 0; first < block.count; first += RUN) {
    const int64_t last = std::min(first + RUN, block.count);
    float squares_p = 0.0f, squares_u = 0.0f;
#pragma omp simd reduction(+ : squares_p, squares_u)
    for (int64_t i = first; i < last; ++i) {
      float m_new = m[i], v_new = v[i];
      rule.move(g[i], m_new, v_new);
      m[i] = m_new;
      v[i] = v_new;
      const float u = rule.update(p[i], m_new, v_new);
      squares_p += p[i] * p[i];
      squares_u += u * u;
    }
    sum.p += squares_p;
    sum.u += squares_u;
  }
  return sum;
}

void move_block(const Tensors& all, const Block& block, const Rule& rule, float rate) {
  float* p = all.p(block);
  const float *m = all.m(block), *v = all.v(block);
#pragma omp simd
  for (int64_t i = 0; i < block.count; ++i) p[i] -= rate * rule.update(p[i], m[i], v[i]);
}

double squares_block(const float* g, int64_t count) {
  double sum = 0.0;
  for (int64_t first = 0; first < count; first += RUN) {
    const int64_t last = std::min(first + RUN, count);
    float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = first; i < last; ++i) squares += g[i] * g[i];
    sum += squares;
  }
  return sum;
}

// |p| / |u| of each tensor, or 1 where one of them is 0.
std::vector<float> trust_ratios(
    const std::vector<Block>& blocks, const std::vector<Squares>& squares, int64_t tensors) {
  std::vector<Squares> sums(tensors, {0.0, 0.0});
  for (size_t i = 0; i < blocks.size(); ++i) {
    sums[blocks[i].tensor].p += squares[i].p;
    sums[blocks[i].tensor].u += squares[i].u;
  }
  std::vector<float> ratios(tensors, 1.0f);
  for (int64_t i = 0; i < tensors; ++i)
    if (sums[i].p > 0.0 && sums[i].u > 0.0) ratios[i] = float(std::sqrt(sums[i].p / sums[i].u));
  return ratios;
}
}  // namespace

extern "C" void adam_step(
    const int64_t* addresses, const int64_t* sizes, int64_t tensors, float beta1, float rest1,
    float beta2, float rest2, float root, float floor, float decay, float factor, float rate) {
  const Tensors all = {addresses, tensors};
  const Rule rule = {beta1, rest1, beta2, rest2, root, floor, decay, factor, rate};
  const std::vector<Block> blocks = cut(sizes, tensors);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < blocks.size(); ++i) adam_block(all, blocks[i], rule);
}

extern "C" void lamb_step(
    const int64_t* addresses, const int64_t* sizes, int64_t tensors, float beta1, float rest1,
    float beta2, float rest2, float root, float floor, float decay, float factor, float rate) {
  const Tensors all = {addresses, tensors};
  const Rule rule = {beta1, rest1, beta2, rest2, root, floor, decay, factor, rate};
  const std::vector<Block> blocks = cut(sizes, tensors);
  std::vector<Squares> squares(blocks.size());
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < blocks.size(); ++i) squares[i] = moments_block(all, blocks[i], rule);
  const std::vector<float> ratios = trust_ratios(blocks, squares, tensors);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < blocks.size(); ++i)
    move_block(all, blocks[i], rule, rule.rate * ratios[blocks[i].tensor]);
}

// Euclidean norm of all tensors together, and whatever is not finite in them.
extern "C" void global_norm(
    const int64_t* addresses, const int64_t* sizes, int64_t tensors, float* norm) {
  const Tensors all = {addresses, tensors};
  const std::vector<Block> blocks = cut(sizes, tensors);
  std::vector<double> squares(blocks.size());
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < blocks.size(); ++i)
    squares[i] = squares_block(all.p(blocks[i]), blocks[i].count);
  double sum = 0.0;
  for (double one : squares) sum += one;
  *norm = float(std::sqrt(sum));
}
