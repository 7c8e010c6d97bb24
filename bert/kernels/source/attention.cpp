// What stands around the matrix products of attention: rows of tokens to heads and back, and the
// softmax with dropout between the two products.
//
// The products run on all sequences of one length at once. So that there are few lengths, a
// sequence is filled up to a multiple of some rows: a head of sequence b is [padded(b), depth] and
// its scores [padded(b), padded(b)]; what is filled up is 0 and stays 0. Sequence b's heads begin at
// heads[b] elements, its scores at scores[b].
#include "column_sums.h"
#include "numbers.h"
#include "random.h"

namespace {

struct Layout {
  const int64_t *starts;  // [sequences + 1], first token of each
  const int64_t *padded, *heads, *scores;  // [sequences]
  int64_t sequences, count, depth;         // `count` heads of `depth` features

  int64_t tokens() const { return starts[sequences]; }
  int64_t length(int64_t b) const { return starts[b + 1] - starts[b]; }
  int64_t of_token(int64_t token) const {
    return std::upper_bound(starts, starts + sequences + 1, token) - starts - 1;
  }
};

// [tokens, parts * count * depth] plus bias, if there is one, to `parts` times all heads.
template <class T>
void split(const T* from, const float* bias, T* to, Layout l, int64_t parts, int64_t size) {
#pragma omp parallel for schedule(dynamic)
  for (int64_t item = 0; item < parts * l.sequences; ++item) {
    const int64_t part = item / l.sequences, b = item % l.sequences;
    const int64_t length = l.length(b), row = l.count * l.depth;
    T* head = to + part * size + l.heads[b];
    for (int64_t a = 0; a < l.count; ++a, head += l.padded[b] * l.depth) {
      const int64_t column = part * row + a * l.depth;
      for (int64_t i = 0; i < length; ++i) {
        const T* source = from + (l.starts[b] + i) * parts * row + column;
        T* target = head + i * l.depth;
        if (bias) {
#pragma omp simd
          for (int64_t d = 0; d < l.depth; ++d) store(target[d], load(source[d]) + bias[column + d]);
        } else {
          std::memcpy(target, source, sizeof(T) * l.depth);
        }
      }
      std::memset(head + length * l.depth, 0, sizeof(T) * (l.padded[b] - length) * l.depth);
    }
  }
}

// The way back; `grad_bias`, if it is there, gets the sum over the tokens.
template <class T>
void join(const T* from, T* to, float* grad_bias, Layout l, int64_t parts, int64_t size) {
  const int64_t row = l.count * l.depth;
  ColumnSums sums(l.tokens(), grad_bias ? parts * row : 0);
#pragma omp parallel for
  for (int64_t block = 0; block < sums.blocks; ++block) {
    int64_t b = l.of_token(sums.first(block));
    for (int64_t token = sums.first(block); token < sums.last(block); ++token) {
      while (token >= l.starts[b + 1]) ++b;
      const int64_t i = token - l.starts[b];
      for (int64_t part = 0; part < parts; ++part) {
        for (int64_t a = 0; a < l.count; ++a) {
          const int64_t column = part * row + a * l.depth;
          const T* source = from + part * size + l.heads[b] + (a * l.padded[b] + i) * l.depth;
          std::memcpy(to + token * parts * row + column, source, sizeof(T) * l.depth);
          if (grad_bias) {
            float* sum = sums.of_block(block) + column;
#pragma omp simd
            for (int64_t d = 0; d < l.depth; ++d) sum[d] += load(source[d]);
          }
        }
      }
    }
  }
  if (grad_bias) sums.add_up(grad_bias);
}

// Runs `row(values, first, length, padded, dropout)` for each row of scores: `first` is its first
// element, and dropout draws for the row as if the scores were [count, length, length] with rows
// filled up to a multiple of 4.
template <class Row>
void each_row(Layout l, Dropout dropout, Row&& row) {
#pragma omp parallel
  {
    std::vector<float> factors, values;
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < l.sequences * l.count; ++item) {
      const int64_t b = item / l.count, a = item % l.count;
      const int64_t length = l.length(b), padded = l.padded[b], stride = (length + 3) / 4 * 4;
      const Dropout own{dropout.dropped, splitmix(dropout.seed, uint64_t(b))};
      factors.assign(stride, 1.0f);
      values.resize(padded);
      for (int64_t i = 0; i < padded; ++i) {
        const int64_t first = l.scores[b] + (a * padded + i) * padded;
        if (own.active() && i < length)
          own.factors(uint64_t((a * length + i) * stride), stride, factors.data());
        row(values.data(), factors.data(), first, i < length ? length : 0, padded);
      }
    }
  }
}

// scores -> P = softmax(scale * scores), and P with dropout; the two may be the same memory as the
// scores, and `dropped` is null without dropout.
template <class T>
void softmax_forward(const T* scores, T* probabilities, T* dropped, Layout l, float scale,
                     Dropout dropout) {
  each_row(l, dropout, [=](float* values, const float* factors, int64_t first, int64_t length,
                           int64_t padded) {
    const T* from = scores + first;
    T* to = probabilities + first;
    float highest = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : highest)
    for (int64_t j = 0; j < length; ++j) {
      values[j] = scale * load(from[j]);
      highest = values[j] > highest ? values[j] : highest;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < length; ++j) {
      values[j] = fast_exp(values[j] - highest);
      sum += values[j];
    }
    const float share = 1.0f / sum;
#pragma omp simd
    for (int64_t j = 0; j < length; ++j) store(to[j], values[j] * share);
    std::memset(to + length, 0, sizeof(T) * (padded - length));
    if (!dropped) return;
    T* kept = dropped + first;
#pragma omp simd
    for (int64_t j = 0; j < length; ++j) store(kept[j], values[j] * share * factors[j]);
    std::memset(kept + length, 0, sizeof(T) * (padded - length));
  });
}

// The gradient of P with dropout -> that of the scores, in place; and once more P with dropout.
template <class T>
void softmax_backward(const T* probabilities, T* grad, T* dropped, Layout l, float scale,
                      Dropout dropout) {
  each_row(l, dropout, [=](float* values, const float* factors, int64_t first, int64_t length,
                           int64_t padded) {
    const T* p = probabilities + first;
    T* to = grad + first;
    float along = 0.0f;
#pragma omp simd reduction(+ : along)
    for (int64_t j = 0; j < length; ++j) {
      values[j] = load(to[j]) * factors[j];
      along += values[j] * load(p[j]);
    }
#pragma omp simd
    for (int64_t j = 0; j < length; ++j) store(to[j], scale * load(p[j]) * (values[j] - along));
    std::memset(to + length, 0, sizeof(T) * (padded - length));
    if (!dropped) return;
    T* kept = dropped + first;
#pragma omp simd
    for (int64_t j = 0; j < length; ++j) store(kept[j], load(p[j]) * factors[j]);
    std::memset(kept + length, 0, sizeof(T) * (padded - length));
  });
}
}  // namespace

#define LAYOUT                                                                              \
  const int64_t *starts, const int64_t *padded, const int64_t *heads, const int64_t *scores, \
      int64_t sequences, int64_t count, int64_t depth
#define GIVEN {starts, padded, heads, scores, sequences, count, depth}

#define EXPORT(T, suffix)                                                                         \
  extern "C" void split_heads_##suffix(const T* from, const float* bias, T* to, LAYOUT,           \
                                       int64_t parts, int64_t size) {                             \
    split<T>(from, bias, to, GIVEN, parts, size);                                                 \
  }                                                                                               \
  extern "C" void join_heads_##suffix(const T* from, T* to, float* grad_bias, LAYOUT,             \
                                      int64_t parts, int64_t size) {                              \
    join<T>(from, to, grad_bias, GIVEN, parts, size);                                             \
  }                                                                                               \
  extern "C" void softmax_forward_##suffix(const T* products, T* probabilities, T* dropped_p,     \
                                           LAYOUT, float scale, int64_t dropped, uint64_t seed) { \
    softmax_forward<T>(products, probabilities, dropped_p, GIVEN, scale,                          \
                       {int32_t(dropped), seed});                                                 \
  }                                                                                               \
  extern "C" void softmax_backward_##suffix(const T* probabilities, T* grad, T* dropped_p,        \
                                            LAYOUT, float scale, int64_t dropped,                 \
                                            uint64_t seed) {                                      \
    softmax_backward<T>(probabilities, grad, dropped_p, GIVEN, scale, {int32_t(dropped), seed});  \
  }

EXPORT(float, f32)
EXPORT(bf16, bf16)
