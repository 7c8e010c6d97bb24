// y = activation(h + bias), and its gradient, on [rows, width].
#include "column_sums.h"
#include "numbers.h"

namespace {

enum Activation { GELU = 0, GELU_TANH = 1, RELU = 2 };

struct ValueAndSlope {
  float value, slope;
};

// x Phi(x), with Phi by Abramowitz and Stegun, formula 7.1.26: absolute error of erf under 1.5e-7.
inline ValueAndSlope gelu(float x) {
  const float z = std::fabs(x) * 0.70710678118654752f;
  const float t = 1.0f / (1.0f + 0.3275911f * z);
  const float bell = fast_exp(-0.5f * x * x);
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const float tail = 0.5f * p * t * bell;  // 1 - Phi(|x|)
  const float phi = x < 0.0f ? tail : 1.0f - tail;
  return {x * phi, phi + x * bell * 0.39894228040143268f};
}

inline ValueAndSlope gelu_tanh(float x) {
  const float inner = 1.5957691216057308f * (x + 0.044715f * x * x * x);
  const float limited = inner < -87.0f ? -87.0f : (inner > 87.0f ? 87.0f : inner);
  const float s = 1.0f / (1.0f + fast_exp(-limited));  // (1 + tanh(inner / 2)) / 2
  const float slope = 1.5957691216057308f * (1.0f + 0.134145f * x * x);
  return {x * s, s + x * s * (1.0f - s) * slope};
}

template <int activation>
inline ValueAndSlope apply(float x) {
  if constexpr (activation == GELU) return gelu(x);
  if constexpr (activation == GELU_TANH) return gelu_tanh(x);
  return {x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : 0.0f};
}

template <int activation, class T>
void forward(const T* h, const float* bias, T* y, int64_t rows, int64_t width) {
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row) {
    const T* from = h + row * width;
    T* to = y + row * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i)
      store(to[i], apply<activation>(load(from[i]) + bias[i]).value);
  }
}

template <int activation, class T>
void backward(const T* grad_y, const T* h, const float* bias, T* grad_h, float* grad_bias,
              int64_t rows, int64_t width) {
  ColumnSums sums(rows, width);
#pragma omp parallel for
  for (int64_t block = 0; block < sums.blocks; ++block) {
    float* sum = sums.of_block(block);
    for (int64_t row = sums.first(block); row < sums.last(block); ++row) {
      const T *grad = grad_y + row * width, *from = h + row * width;
      T* to = grad_h + row * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) {
        const float found = load(grad[i]) * apply<activation>(load(from[i]) + bias[i]).slope;
        store(to[i], found);
        sum[i] += found;
      }
    }
  }
  sums.add_up(grad_bias);
}
}  // namespace

#define DISPATCH(function, activation, ...)                         \
  if (activation == GELU) function<GELU>(__VA_ARGS__);              \
  else if (activation == GELU_TANH) function<GELU_TANH>(__VA_ARGS__); \
  else function<RELU>(__VA_ARGS__)

#define EXPORT(T, suffix)                                                                         \
  extern "C" void activation_forward_##suffix(const T* h, const float* bias, T* y, int64_t rows,  \
                                              int64_t width, int64_t activation) {                \
    DISPATCH(forward, activation, h, bias, y, rows, width);                                       \
  }                                                                                               \
  extern "C" void activation_backward_##suffix(const T* grad_y, const T* h, const float* bias,    \
                                               T* grad_h, float* grad_bias, int64_t rows,         \
                                               int64_t width, int64_t activation) {               \
    DISPATCH(backward, activation, grad_y, h, bias, grad_h, grad_bias, rows, width);              \
  }

EXPORT(float, f32)
EXPORT(bf16, bf16)
