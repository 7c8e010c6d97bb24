// bf16 to fp32, as it lies or transposed: a weight's gradient as a matrix product
// leaves it, brought to where the parameter keeps it, in one pass. And bf16 transposed as it is.
#include <algorithm>

#include "numbers.h"

namespace {

constexpr int64_t TILE = 64;  // wide enough to read and write lines in rows, small enough for L1

inline void get(float& to, bf16 from) { to = load(from); }
inline void get(bf16& to, bf16 from) { to = from; }

// from [rows, columns] to [columns, rows], by way of a tile: rows a power of two bytes apart would
// push each other out of the cache.
template <class T>
void transposed(const bf16* from, T* to, int64_t rows, int64_t columns) {
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t left = 0; left < columns; left += TILE)
    for (int64_t top = 0; top < rows; top += TILE) {
      T tile[TILE][TILE + 1];
      const int64_t height = std::min(TILE, rows - top), width = std::min(TILE, columns - left);
      for (int64_t row = 0; row < height; ++row) {
        const bf16* source = from + (top + row) * columns + left;
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) get(tile[row][i], source[i]);
      }
      for (int64_t column = 0; column < width; ++column) {
        T* target = to + (left + column) * rows + top;
#pragma omp simd
        for (int64_t i = 0; i < height; ++i) target[i] = tile[i][column];
      }
    }
}
}  // namespace

extern "C" void widen(const bf16* from, float* to, int64_t count) {
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < count; ++i) to[i] = load(from[i]);
}
extern "C" void widen_transposed(const bf16* from, float* to, int64_t rows, int64_t columns) {
  transposed(from, to, rows, columns);
}
extern "C" void transpose(const bf16* from, bf16* to, int64_t rows, int64_t columns) {
  transposed(from, to, rows, columns);
}
