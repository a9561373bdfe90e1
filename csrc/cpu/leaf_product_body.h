// Products of small matrices by their rows: C = A^T B in tiles that stay in registers.
#pragma once

#include "leaf_eigen_body.h"

namespace ganfast {
namespace {

constexpr int kTileRows = 4;
constexpr int kTileVectors = kVectorBytes == 64 ? 4 : 2;  // 16 of 32 registers hold sums, or 8 of 16

// C[i : i + kRows, j : j + kVectors vectors) = sum_k a[k][i] b[k][j] for k in [first, last).
template <int kRows, int kVectors>
static inline void tile(Rows a, Rows b, Rows c, std::int64_t first, std::int64_t last, std::int64_t i,
                        std::int64_t j) {
  Vec sums[kRows][kVectors] = {};
  for (std::int64_t k = first; k < last; ++k) {
    Vec right[kVectors];
    for (int x = 0; x < kVectors; ++x) right[x] = load<Vec>(b[k] + j + x * kWide);
    for (int r = 0; r < kRows; ++r) {
      const Vec left = Vec{} + a[k][i + r];
      for (int x = 0; x < kVectors; ++x) sums[r][x] += left * right[x];
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int x = 0; x < kVectors; ++x) store(c[i + r] + j + x * kWide, sums[r][x]);
}

template <int kVectors>
static inline void column_of_tiles(Rows a, Rows b, Rows c, std::int64_t first, std::int64_t last,
                                   std::int64_t rows, std::int64_t j) {
  std::int64_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows) tile<kTileRows, kVectors>(a, b, c, first, last, i, j);
  for (; i < rows; ++i) tile<1, kVectors>(a, b, c, first, last, i, j);
}

// C (m, n) = A^T B for A (inner, m) and B (inner, n). With `lower`, B is lower triangular and its zeros are skipped;
// with `symmetric`, A is B and only the rows down to the tile of the diagonal are computed: C[i][j] for i <= j.
static void transposed_product(Rows a, Rows b, Rows c, std::int64_t inner, std::int64_t m, std::int64_t n,
                               bool lower, bool symmetric) {
  const std::int64_t to = whole_vectors(n);
  for (std::int64_t j = 0; j < to;) {
    const std::int64_t vectors = (to - j) / kWide < kTileVectors ? 1 : kTileVectors;
    const std::int64_t next = j + vectors * kWide;
    const std::int64_t rows = symmetric && next < m ? next : m;
    const std::int64_t first = lower ? j : 0;
    if (vectors == kTileVectors)
      column_of_tiles<kTileVectors>(a, b, c, first, inner, rows, j);
    else
      column_of_tiles<1>(a, b, c, first, inner, rows, j);
    j = next;
  }
}

// Row i of `to` is column order[i] of `from` (rows, columns), or column i.
static void transpose(Rows from, Rows to, std::int64_t rows, std::int64_t columns, const std::int32_t* order) {
  const std::int64_t whole = whole_vectors(rows);
  for (std::int64_t i = 0; i < columns; ++i) {
    const std::int64_t at = order ? order[i] : i;
    for (std::int64_t j = 0; j < rows; ++j) to[i][j] = from[j][at];
    for (std::int64_t j = rows; j < whole; ++j) to[i][j] = 0;
  }
}

}  // namespace
}  // namespace ganfast
