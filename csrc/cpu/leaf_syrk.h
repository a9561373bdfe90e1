// The loops of the symmetric rank-k update that are compiled once per instruction set. A panel is 24 columns of
// the rows, in float64 and row after row: a multiple of the width of every micro-kernel.
#pragma once

#include <cstdint>

namespace ganfast {

constexpr std::int64_t kPanel = 24;

struct SyrkLoops {
  // c (+)= a^T b for k rows of two panels; c is (24, 24). From zero if `first`, else onto what c holds.
  void (*multiply)(const double* a, const double* b, std::int64_t k, bool first, double* c);
  // Converts k rows of `columns` <= 24 numbers, `stride` numbers apart, into a panel, and fills it up with zeros.
  // True if all are finite.
  bool (*pack_float)(const float* x, std::int64_t stride, std::int64_t k, std::int64_t columns, double* panel);
  bool (*pack_double)(const double* x, std::int64_t stride, std::int64_t k, std::int64_t columns, double* panel);
  // Subtracts the mean of each column in place; `high` gets that mean, `low` what rounding left in it.
  void (*centre)(double* panel, std::int64_t k, double* high, double* low);
};

}  // namespace ganfast
