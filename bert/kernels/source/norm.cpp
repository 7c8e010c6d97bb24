// y = LayerNorm(residual + dropout(branch + bias)) on [rows, width], and its gradient.
//
// T is the type of the matrix products. The residual stream is fp32 on the way through; `y` goes out
// twice, as the stream and, where T is another type, rounded for the next product. Kept for the
// backward pass: the normalised sum in T, and the inverse deviation of each row.
//
// LayerNorm: Ba et al., 2016, with the biased variance of BERT.
#include "column_sums.h"
#include "layer_norm.h"
#include "numbers.h"
#include "random.h"

namespace {

template <class T>
void forward(const T* branch, const float* bias, const float* residual, Affine affine, Normed<T> out,
             int64_t rows, int64_t width, Dropout dropout) {
#pragma omp parallel
  {
    std::vector<float> sum(width), factors(width + 4, 1.0f);
#pragma omp for
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t start = row * width;
      if (dropout.active()) dropout.factors(uint64_t(start), width, factors.data());
      const T* from = branch + start;
      float* to = sum.data();
      const float* factor = factors.data();
      if (residual) {
        const float* beside = residual + start;
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) to[i] = beside[i] + (load(from[i]) + bias[i]) * factor[i];
      } else {
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) to[i] = load(from[i]) * factor[i];
      }
      normalise(to, affine, out, row, width, nullptr);
    }
  }
}

template <class T>
void backward(const float* grad_stream, const T* grad_product, Saved<T> saved, const float* weight,
              float* grad_residual, T* grad_branch, float* grad_bias, float* grad_weight,
              float* grad_shift, int64_t rows, int64_t width, Dropout dropout) {
  ColumnSums sums(rows, 3 * width);
#pragma omp parallel
  {
    std::vector<float> grad(width), factors(width + 4, 1.0f);
#pragma omp for
    for (int64_t block = 0; block < sums.blocks; ++block) {
      float* bias_sum = sums.of_block(block);
      for (int64_t row = sums.first(block); row < sums.last(block); ++row) {
        const int64_t start = row * width;
        add_gradients(grad.data(), grad_stream, grad_product, start, width);
        differentiate(grad.data(), saved, weight, bias_sum + width, row, width);
        if (dropout.active()) dropout.factors(uint64_t(start), width, factors.data());
        const float *found = grad.data(), *factor = factors.data();
        T* to = grad_branch + start;
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) {
          const float scaled = found[i] * factor[i];
          store(to[i], scaled);
          bias_sum[i] += scaled;
        }
        if (grad_residual) std::copy(found, found + width, grad_residual + start);
      }
    }
  }
  if (grad_bias) sums.add_up(grad_bias, 0, width);
  sums.add_up(grad_weight, width, width);
  sums.add_up(grad_shift, 2 * width, width);
}
}  // namespace

#define EXPORT(T, suffix)                                                                          \
  extern "C" void norm_forward_##suffix(                                                           \
      const T* branch, const float* bias, const float* residual, const float* weight,              \
      const float* shift, float* stream, T* product, T* normed, float* inverse, int64_t rows,      \
      int64_t width, float epsilon, int64_t dropped, uint64_t seed) {                              \
    forward<T>(branch, bias, residual, {weight, shift, epsilon}, {stream, product, normed, inverse}, \
               rows, width, {int32_t(dropped), seed});                                             \
  }                                                                                                \
  extern "C" void norm_backward_##suffix(                                                          \
      const float* grad_stream, const T* grad_product, const T* normed, const float* inverse,      \
      const float* weight, float* grad_residual, T* grad_branch, float* grad_bias,                 \
      float* grad_weight, float* grad_shift, int64_t rows, int64_t width, int64_t dropped,         \
      uint64_t seed) {                                                                             \
    backward<T>(grad_stream, grad_product, {normed, inverse}, weight, grad_residual, grad_branch,  \
                grad_bias, grad_weight, grad_shift, rows, width, {int32_t(dropped), seed});        \
  }

EXPORT(float, f32)
EXPORT(bf16, bf16)
