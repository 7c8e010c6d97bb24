// Random bits as a function of a seed and a place, so that a mask depends on no thread, and the
// backward pass draws again what the forward pass drew.
//
// Value i of a tensor has 16 bits: part i % 4 of the 64-bit number i / 4 of SplitMix64 (Steele,
// Lea and Flood, 2014; constants of its reference implementation by Vigna). bert/model/dropout.py
// draws the same bits with torch.
#pragma once

#include <cstdint>
#include <cstring>

constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15u;

inline uint64_t splitmix(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * GOLDEN;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// What dropout does: `dropped` of the 65,536 values of 16 bits mean 0, the rest are scaled up.
struct Dropout {
  int32_t dropped;
  uint64_t seed;

  bool active() const { return dropped > 0; }
  float scale() const { return 65536.0f / float(65536 - dropped); }

  // Factors, 0 or scale(), of `count` values from `first` on, a multiple of 4; `factors` has room
  // for `count` rounded up to a multiple of 4.
  void factors(uint64_t first, int64_t count, float* factors) const {
    const float kept = scale();
    const int32_t limit = dropped - 32768;
    uint64_t words[16];
    for (int64_t done = 0; done < count; done += 64) {
      const int64_t words_here = count - done >= 64 ? 16 : (count - done + 3) / 4;
      const uint64_t word = (first + uint64_t(done)) / 4;
#pragma omp simd
      for (int64_t i = 0; i < 16; ++i) words[i] = splitmix(seed, word + uint64_t(i));
      int16_t bits[64];
      std::memcpy(bits, words, sizeof(words));
      float* to = factors + done;
      const int64_t values = words_here * 4;
#pragma omp simd
      for (int64_t i = 0; i < values; ++i) to[i] = int32_t(bits[i]) >= limit ? kept : 0.0f;
    }
  }
};
