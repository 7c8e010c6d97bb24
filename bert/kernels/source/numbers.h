// Numbers as the kernels see them: loaded to fp32, computed in fp32, stored rounded.
//
// Everything here is plain C++ that the compiler turns into the vector instructions of the machine
// it runs on (AVX2, AVX-512, NEON, SVE): loops over arrays carry `#pragma omp simd`.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// bfloat16: the upper half of an fp32.
struct bf16 {
  uint16_t bits;
};

template <class To, class From>
inline To bit_cast(From from) {
  To to;
  static_assert(sizeof(to) == sizeof(from));
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

inline float load(float x) { return x; }
inline float load(bf16 x) { return bit_cast<float>(uint32_t(x.bits) << 16); }

inline void store(float& to, float x) { to = x; }

// Rounds to nearest, ties to even, as torch does; every NaN becomes the same quiet one.
inline void store(bf16& to, float x) {
  uint32_t u = bit_cast<uint32_t>(x);
  uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  to.bits = uint16_t(x != x ? 0x7fc0 : rounded);
}

// e^x for x <= 88 with a relative error under 3e-7; 0 below -87. NaN stays NaN.
// 2^f on [-1/2, 1/2] by its Taylor series: ln(2)^k / k!.
inline float fast_exp(float x) {
  float clamped = x < -87.0f ? -87.0f : x;
  float t = clamped * 1.44269504088896341f;
  float n = std::floor(t + 0.5f);
  float f = t - n;
  float p = 1.54035304e-4f;
  p = p * f + 1.33335581e-3f;
  p = p * f + 9.61812911e-3f;
  p = p * f + 5.55041087e-2f;
  p = p * f + 2.40226507e-1f;
  p = p * f + 6.93147181e-1f;
  p = p * f + 1.0f;
  float power = bit_cast<float>((int32_t(n) + 127) << 23);
  return x < -87.0f ? 0.0f : p * power;
}
