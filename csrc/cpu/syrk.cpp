#include "syrk.h"

#include <algorithm>
#include <vector>

#include "leaf.h"

namespace ganfast {
namespace {

// Rows at a time: 24 columns of them are 24 KiB of the L1 cache, and a square's two sides are 288 KiB of the L2.
constexpr std::int64_t kDepth = 128;
// Panels along a side of the square of C that one thread makes.
constexpr std::int64_t kSquare = 6;
constexpr std::int64_t kTileSize = kPanel * kPanel;
// A team of threads costs more than it saves, above all on a busy machine, below this many numbers to pack or to
// centre (a batch of 100 is packed in 0.3 ms by one thread).
constexpr std::int64_t kNumbersForATeam = std::int64_t{1} << 20;

std::int64_t panels_of(const PackedRows& rows) { return (rows.n + kPanel - 1) / kPanel; }

double* panel_of(const PackedRows& rows, std::int64_t p) { return rows.at + p * rows.capacity * kPanel; }

void fetch(const double* c, std::int64_t n, std::int64_t row, std::int64_t column) {
  const std::int64_t last = std::min(row + kPanel, n);
  for (std::int64_t i = row; i < last; ++i)
    for (std::int64_t j = 0; j < kPanel; j += 8) __builtin_prefetch(c + i * n + column + j, 1);
}

// Adds a tile at (row, column) to what it covers on and below the diagonal.
void add(const double* tile, double* c, std::int64_t n, std::int64_t row, std::int64_t column) {
  const std::int64_t last = std::min(row + kPanel, n);
  for (std::int64_t i = row; i < last; ++i, tile += kPanel) {
    double* to = c + i * n + column;
    const std::int64_t width = std::min(kPanel, i + 1 - column);
    if (width == kPanel)
      for (std::int64_t j = 0; j < kPanel; ++j) to[j] += tile[j];
    else
      for (std::int64_t j = 0; j < width; ++j) to[j] += tile[j];
  }
}

// The panels [row, row_end) by [column, column_end) of C, as far as they are in the lower triangle.
void square(const PackedRows& rows, std::int64_t k, double* c, std::int64_t row, std::int64_t row_end,
            std::int64_t column, std::int64_t column_end) {
  const auto multiply = current_isa()->syrk.multiply;
  alignas(64) double tiles[kSquare * kSquare * kTileSize];
  for (std::int64_t first = 0; first < k; first += kDepth) {
    const std::int64_t depth = std::min(kDepth, k - first);
    const bool done = first + depth == k;
    for (std::int64_t i = row; i < row_end; ++i)
      for (std::int64_t j = column; j < std::min(column_end, i + 1); ++j) {
        double* tile = tiles + ((i - row) * kSquare + j - column) * kTileSize;
        if (done) fetch(c, rows.n, i * kPanel, j * kPanel);
        multiply(panel_of(rows, i) + first * kPanel, panel_of(rows, j) + first * kPanel, depth, first == 0, tile);
        if (done) add(tile, c, rows.n, i * kPanel, j * kPanel);
      }
  }
}

}  // namespace

bool pack_rows(const PackedRows& rows, std::int64_t first, const void* x, bool is_double, std::int64_t stride,
               std::int64_t k, int threads) {
  const SyrkLoops& loops = current_isa()->syrk;
  const std::int64_t panels = panels_of(rows);
  int bad = 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : bad) if (k * rows.n > kNumbersForATeam)
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::int64_t column = p * kPanel, columns = std::min(kPanel, rows.n - column);
    double* to = panel_of(rows, p) + first * kPanel;
    const bool finite =
        is_double ? loops.pack_double(static_cast<const double*>(x) + column, stride, k, columns, to)
                  : loops.pack_float(static_cast<const float*>(x) + column, stride, k, columns, to);
    bad += !finite;
  }
  return bad == 0;
}

void unpack_rows(const PackedRows& rows, std::int64_t k, double* out) {
  for (std::int64_t p = 0; p < panels_of(rows); ++p) {
    const std::int64_t column = p * kPanel, columns = std::min(kPanel, rows.n - column);
    const double* from = panel_of(rows, p);
    for (std::int64_t r = 0; r < k; ++r)
      std::copy(from + r * kPanel, from + r * kPanel + columns, out + r * rows.n + column);
  }
}

void centre_rows(const PackedRows& rows, std::int64_t k, double* high, double* low, int threads) {
  const auto centre = current_isa()->syrk.centre;
  const std::int64_t panels = panels_of(rows);
#pragma omp parallel for schedule(static) num_threads(threads) if (k * rows.n > kNumbersForATeam)
  for (std::int64_t p = 0; p < panels; ++p) {
    double whole[2][kPanel];
    centre(panel_of(rows, p), k, whole[0], whole[1]);
    const std::int64_t column = p * kPanel, columns = std::min(kPanel, rows.n - column);
    std::copy(whole[0], whole[0] + columns, high + column);
    std::copy(whole[1], whole[1] + columns, low + column);
  }
}

void syrk(const PackedRows& rows, std::int64_t k, double* c, int threads) {
  if (k == 0) return;
  const std::int64_t panels = panels_of(rows);
  // Smaller squares where there are few panels, so that each thread gets some.
  const std::int64_t side = panels >= 4 * kSquare ? kSquare : std::max<std::int64_t>(1, panels / 4);
  const std::int64_t sides = (panels + side - 1) / side, squares = sides * (sides + 1) / 2;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t s = 0; s < squares; ++s) {
    // From the last row on, so that the long rows come first.
    std::int64_t i = 0, left = squares - 1 - s;
    while (left > i) left -= ++i;
    square(rows, k, c, i * side, std::min((i + 1) * side, panels), left * side,
           std::min((left + 1) * side, panels));
  }
}

}  // namespace ganfast
