#include "symmetry.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace ganfast {
namespace {

// A line of the cache. Rows of a matrix with n = 2048 fall on one another in the cache, so both mirrored squares
// are copied, line by line, before they are compared.
constexpr std::int64_t kSide = 8;

struct Facts {
  double peak = 0;
  double asymmetry = 0;
  bool finite = true;

  void operator|=(const Facts& other) {
    peak = std::max(peak, other.peak);
    asymmetry = std::max(asymmetry, other.asymmetry);
    finite = finite && other.finite;
  }
};

struct Square {
  double at[kSide][kSide] = {};

  Square(const double* a, std::int64_t n, std::int64_t row, std::int64_t column) {
    const std::int64_t rows = std::min(kSide, n - row), columns = std::min(kSide, n - column);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) at[i][j] = a[(row + i) * n + column + j];
  }
};

// The rows [row, row + kSide) left of and on the diagonal, against their mirror image.
Facts strip(const double* a, std::int64_t n, std::int64_t row) {
  // One of each for every column of a square: chains that need not wait for one another.
  double peak[kSide] = {}, asymmetry[kSide] = {}, sum[kSide] = {};
  for (std::int64_t column = 0; column <= row; column += kSide) {
    const Square lower(a, n, row, column), upper(a, n, column, row);
    for (std::int64_t i = 0; i < kSide; ++i)
      for (std::int64_t j = 0; j < kSide; ++j) {
        const double x = lower.at[i][j], y = upper.at[j][i];
        peak[j] = std::max(peak[j], std::max(std::fabs(x), std::fabs(y)));
        asymmetry[j] = std::max(asymmetry[j], std::fabs(x - y));
        sum[j] += (x - x) + (y - y);  // NaN if either is NaN or inf
      }
  }
  Facts found;
  for (std::int64_t j = 0; j < kSide; ++j) found |= {peak[j], asymmetry[j], sum[j] == 0};
  return found;
}

}  // namespace

void symmetry(const double* a, std::int64_t count, std::int64_t n, int threads, double* facts) {
  const std::int64_t strips = (n + kSide - 1) / kSide;
  const std::int64_t work = count * strips;
  std::vector<Facts> found(work);
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (std::int64_t k = 0; k < work; ++k)
    found[k] = strip(a + k / strips * n * n, n, k % strips * kSide);
  for (std::int64_t m = 0; m < count; ++m) {
    Facts all;
    for (std::int64_t k = m * strips; k < (m + 1) * strips; ++k) all |= found[k];
    facts[2 * m] = all.finite ? all.peak : std::numeric_limits<double>::quiet_NaN();
    facts[2 * m + 1] = facts[2 * m] == 0 ? 0 : all.asymmetry / facts[2 * m];
  }
}

}  // namespace ganfast
