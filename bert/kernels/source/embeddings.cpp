// dropout(LayerNorm(word + position + segment)) of a token stream [rows], and its gradient.
#include "column_sums.h"
#include "layer_norm.h"
#include "numbers.h"
#include "random.h"

namespace {

struct Ids {
  const int64_t *word, *position, *segment;  // [rows]
};

template <class T>
void forward(Ids ids, const float* words, const float* positions, const float* segments,
             Affine affine, Normed<T> out, int64_t rows, int64_t width, Dropout dropout) {
#pragma omp parallel
  {
    std::vector<float> sum(width), factors(width + 4, 1.0f);
#pragma omp for
    for (int64_t row = 0; row < rows; ++row) {
      const float* word = words + ids.word[row] * width;
      const float* position = positions + ids.position[row] * width;
      const float* segment = segments + ids.segment[row] * width;
      float* to = sum.data();
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) to[i] = word[i] + segment[i] + position[i];
      if (dropout.active()) dropout.factors(uint64_t(row * width), width, factors.data());
      normalise(to, affine, out, row, width, dropout.active() ? factors.data() : nullptr);
    }
  }
}

// Adds each row of `grad` to the row of `table` that it was read from; a thread has columns of its
// own, so that the order of the sums is that of the rows.
void scatter(const float* grad, const int64_t* ids, float* table, int64_t rows, int64_t width) {
#pragma omp parallel for
  for (int64_t start = 0; start < width; start += 64) {
    const int64_t end = std::min(width, start + 64);
    for (int64_t row = 0; row < rows; ++row) {
      const float* from = grad + row * width;
      float* to = table + ids[row] * width;
#pragma omp simd
      for (int64_t i = start; i < end; ++i) to[i] += from[i];
    }
  }
}

template <class T>
void backward(const float* grad_stream, const T* grad_product, Saved<T> saved, const float* weight,
              float* grad, float* grad_weight, float* grad_shift, int64_t rows, int64_t width,
              Dropout dropout) {
  ColumnSums sums(rows, 2 * width);
#pragma omp parallel
  {
    std::vector<float> factors(width + 4, 1.0f);
#pragma omp for
    for (int64_t block = 0; block < sums.blocks; ++block) {
      for (int64_t row = sums.first(block); row < sums.last(block); ++row) {
        const int64_t start = row * width;
        float* to = grad + start;
        add_gradients(to, grad_stream, grad_product, start, width);
        if (dropout.active()) {
          dropout.factors(uint64_t(start), width, factors.data());
          const float* factor = factors.data();
#pragma omp simd
          for (int64_t i = 0; i < width; ++i) to[i] *= factor[i];
        }
        differentiate(to, saved, weight, sums.of_block(block), row, width);
      }
    }
  }
  sums.add_up(grad_weight, 0, width);
  sums.add_up(grad_shift, width, width);
}
}  // namespace

extern "C" void scatter_rows(const float* grad, const int64_t* ids, float* table, int64_t rows,
                             int64_t width) {
  scatter(grad, ids, table, rows, width);
}

#define EXPORT(T, suffix)                                                                          \
  extern "C" void embeddings_forward_##suffix(                                                     \
      const int64_t* word_ids, const int64_t* position_ids, const int64_t* segment_ids,            \
      const float* words, const float* positions, const float* segments, const float* weight,      \
      const float* shift, float* stream, T* product, T* normed, float* inverse, int64_t rows,      \
      int64_t width, float epsilon, int64_t dropped, uint64_t seed) {                              \
    forward<T>({word_ids, position_ids, segment_ids}, words, positions, segments,                  \
               {weight, shift, epsilon}, {stream, product, normed, inverse}, rows, width,          \
               {int32_t(dropped), seed});                                                          \
  }                                                                                                \
  extern "C" void embeddings_backward_##suffix(                                                    \
      const float* grad_stream, const T* grad_product, const T* normed, const float* inverse,      \
      const float* weight, float* grad, float* grad_weight, float* grad_shift, int64_t rows,       \
      int64_t width, int64_t dropped, uint64_t seed) {                                             \
    backward<T>(grad_stream, grad_product, {normed, inverse}, weight, grad, grad_weight,           \
                grad_shift, rows, width, {int32_t(dropped), seed});                                \
  }

EXPORT(float, f32)
EXPORT(bf16, bf16)
