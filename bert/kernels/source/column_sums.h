// Sums over the rows of a matrix, the same for any number of threads: blocks of rows of a fixed
// size are summed alone, and the blocks then added in their order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

struct ColumnSums {
  static constexpr int64_t BLOCK = 64;
  const int64_t rows, width, blocks;
  std::vector<float> partial;  // [blocks, width]

  ColumnSums(int64_t rows, int64_t width)
      : rows(rows), width(width), blocks((rows + BLOCK - 1) / BLOCK), partial(blocks * width, 0.0f) {}

  int64_t first(int64_t block) const { return block * BLOCK; }
  int64_t last(int64_t block) const { return std::min(rows, (block + 1) * BLOCK); }
  float* of_block(int64_t block) { return partial.data() + block * width; }

  // Columns [from, from + count) of the sums; `sums` has room for `count`.
  void add_up(float* sums, int64_t from, int64_t count) const {
#pragma omp parallel for
    for (int64_t start = 0; start < count; start += 256) {
      const int64_t end = std::min(count, start + 256);
      for (int64_t i = start; i < end; ++i) sums[i] = 0.0f;
      for (int64_t block = 0; block < blocks; ++block) {
        const float* sum = partial.data() + block * width + from;
        for (int64_t i = start; i < end; ++i) sums[i] += sum[i];
      }
    }
  }
  void add_up(float* sums) const { add_up(sums, 0, width); }
};
