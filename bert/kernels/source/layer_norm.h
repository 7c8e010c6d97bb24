// One row of LayerNorm, forward and backward; shared by the embeddings and the residual blocks.
#pragma once

#include <cmath>

#include "numbers.h"

struct Affine {
  const float *weight, *shift;
  float epsilon;
};

// Where the results of one LayerNorm go; `product` is null where T is fp32 and `stream` serves both.
template <class T>
struct Normed {
  float* stream;   // [rows, width]
  T* product;      // [rows, width]
  T* normed;       // [rows, width]
  float* inverse;  // [rows], 1 / sqrt(variance + epsilon)
};

template <class T>
struct Saved {
  const T* normed;
  const float* inverse;
};

// Normalises `sum` in place; `factors`, if there are any, multiply what goes out, as dropout does.
template <class T>
inline void normalise(float* sum, Affine affine, Normed<T> out, int64_t row, int64_t width,
                      const float* factors) {
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < width; ++i) total += sum[i];
  const float mean = total / float(width);
  float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < width; ++i) {
    sum[i] -= mean;
    squares += sum[i] * sum[i];
  }
  const float inverse = 1.0f / std::sqrt(squares / float(width) + affine.epsilon);
  out.inverse[row] = inverse;
  T* normed = out.normed + row * width;
  float* stream = out.stream + row * width;
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    const float x = sum[i] * inverse;
    store(normed[i], x);
    sum[i] = x * affine.weight[i] + affine.shift[i];
  }
  if (factors) {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) sum[i] *= factors[i];
  }
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) stream[i] = sum[i];
  if (out.product) {
    T* product = out.product + row * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) store(product[i], sum[i]);
  }
}

// to = the gradient that comes back through the stream, through the product, or both.
template <class T>
inline void add_gradients(float* to, const float* stream, const T* product, int64_t start,
                          int64_t width) {
  if (stream && product) {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) to[i] = stream[start + i] + load(product[start + i]);
  } else if (stream) {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) to[i] = stream[start + i];
  } else {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) to[i] = load(product[start + i]);
  }
}

// Turns the gradient of a row's output into that of its input, in place, and adds to the sums of
// the gradients of weight and shift, which lie one after the other.
template <class T>
inline void differentiate(float* grad, Saved<T> saved, const float* weight, float* sums, int64_t row,
                          int64_t width) {
  const T* normed = saved.normed + row * width;
  float* weight_sum = sums;
  float* shift_sum = sums + width;
  float total = 0.0f, along = 0.0f;
#pragma omp simd reduction(+ : total, along)
  for (int64_t i = 0; i < width; ++i) {
    const float x = load(normed[i]), g = grad[i];
    weight_sum[i] += g * x;
    shift_sum[i] += g;
    const float scaled = g * weight[i];
    grad[i] = scaled;
    total += scaled;
    along += scaled * x;
  }
  const float mean = total / float(width), slope = along / float(width);
  const float inverse = saved.inverse[row];
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) grad[i] = inverse * (grad[i] - mean - load(normed[i]) * slope);
}
