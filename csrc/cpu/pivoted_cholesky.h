// One panel of a Cholesky factorisation with complete pivoting: A = L L^T of a semi-definite matrix, largest
// diagonal entry first. LAPACK calls it pstrf, and torch has none. Only the panel is here, n^2/2 * width flops
// of vector work; the update of what remains is a matrix product, which BLAS does better.
#pragma once

#include <cstdint>

namespace ganfast {

struct PivotedPanel {
  double* rest;         // (n, n), symmetric: entries [start:, start:] are what is left of A, in the order below
  std::int64_t* order;  // (n): which row of A stands at each position
  double* panel;        // (width, n): row j becomes column start + j of L, by position
  double* factor;       // (n, n): row k becomes column k of L, by row of A
  std::int64_t n;
  std::int64_t start;  // how many pivots are done
  std::int64_t width;
  double cut;    // a pivot of at most this is round-off, unless all that is left is positive, it is more
  double floor;  // than this,
  std::int64_t many;  // and at least so many are left
};

// Takes up to `width` pivots to the front of what is left and writes their columns of L, in `panel` for the
// update and in `factor`; the caller then subtracts panel^T panel from rest[start + done:, start + done:].
// Returns how many were done; fewer than asked for means that the rank is reached.
std::int64_t pivoted_panel(const PivotedPanel& p);

}  // namespace ganfast
