// Cross entropy of rows of logits with one label each, in nats, and its gradient.
#include <algorithm>

#include "numbers.h"

namespace {

template <class T>
void forward(const T* logits, const int64_t* labels, float* losses, float* log_sums, int64_t rows,
             int64_t columns) {
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row) {
    const T* from = logits + row * columns;
    float highest = -INFINITY;
#pragma omp simd reduction(max : highest)
    for (int64_t i = 0; i < columns; ++i) {
      const float x = load(from[i]);
      highest = x > highest ? x : highest;
    }
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < columns; ++i) sum += fast_exp(load(from[i]) - highest);
    log_sums[row] = highest + std::log(sum);
    losses[row] = log_sums[row] - load(from[labels[row]]);
  }
}

template <class T>
void backward(const T* logits, const int64_t* labels, const float* log_sums, const float* grad_loss,
              T* grad_logits, int64_t rows, int64_t columns) {
  const float grad = *grad_loss;
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row) {
    const T* from = logits + row * columns;
    T* to = grad_logits + row * columns;
    const float log_sum = log_sums[row];
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) store(to[i], grad * fast_exp(load(from[i]) - log_sum));
    const int64_t label = labels[row];
    store(to[label], grad * (std::exp(load(from[label]) - log_sum) - 1.0f));
  }
}
template <class T>
void sum_rows(const T* values, float* result, int64_t rows, int64_t columns) {
#pragma omp parallel for
  for (int64_t start = 0; start < columns; start += 512) {
    const int64_t end = std::min(columns, start + 512);
    std::fill(result + start, result + end, 0.0f);
    for (int64_t row = 0; row < rows; ++row) {
      const T* from = values + row * columns;
#pragma omp simd
      for (int64_t i = start; i < end; ++i) result[i] += load(from[i]);
    }
  }
}
}  // namespace

#define EXPORT(T, suffix)                                                                         \
  extern "C" void cross_entropy_forward_##suffix(const T* logits, const int64_t* labels,          \
                                                 float* losses, float* log_sums, int64_t rows,    \
                                                 int64_t columns) {                               \
    forward(logits, labels, losses, log_sums, rows, columns);                                     \
  }                                                                                               \
  extern "C" void cross_entropy_backward_##suffix(const T* logits, const int64_t* labels,         \
                                                  const float* log_sums, const float* grad_loss,  \
                                                  T* grad_logits, int64_t rows, int64_t columns) { \
    backward(logits, labels, log_sums, grad_loss, grad_logits, rows, columns);                    \
  }                                                                                               \
  extern "C" void sum_rows_##suffix(const T* values, float* result, int64_t rows,                 \
                                    int64_t columns) {                                            \
    sum_rows(values, result, rows, columns);                                                      \
  }

EXPORT(float, f32)
EXPORT(bf16, bf16)
