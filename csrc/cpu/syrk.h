// Rows packed as they come, centred in place, and their squares added to a matrix: C += X^T X in float64, lower
// triangle alone. BLAS calls the last dsyrk, and torch has none.
//
// Rows are kept as the product reads them, in panels of 24 columns (leaf.h), so packing is no pass of its
// own: it is the copy from the caller's batch, which at once converts to float64 and checks for NaN and inf.
//
// For k rows of n numbers: n^2 k flops (half of the full product's) and, beside the tiles of 24 x 24 on the
// diagonal, no more. Memory: the k n packed numbers are written once, centred once and then read from the cache;
// C's triangle is read and written once for each block, n^2 / 2 numbers. At k = 1024 that is 128 flops for each
// byte of C: the limit is the rate of fused multiply-add, of which each micro-kernel does 24 (AVX-512) for 11
// loads.
//
// Every number of C is summed by one thread in the order of the rows: the same bits for any number of threads.
#pragma once

#include <cstdint>

namespace ganfast {

struct PackedRows {
  double* at;             // (panels, capacity, 24): panel p holds columns 24 p ... of all rows
  std::int64_t capacity;  // rows there is room for
  std::int64_t n;         // columns; those that fill up the last panel are zero
};

// Writes k rows of float (or of double) from row `first` on. True if all of them are finite.
bool pack_rows(const PackedRows& rows, std::int64_t first, const void* x, bool is_double, std::int64_t stride,
               std::int64_t k, int threads);

// The reverse: the first k rows as (k, n) numbers.
void unpack_rows(const PackedRows& rows, std::int64_t k, double* out);

// Subtracts from the first k rows their mean: high + low, (n) each.
void centre_rows(const PackedRows& rows, std::int64_t k, double* high, double* low, int threads);

// c (n, n) += X^T X for the first k rows X, on and below the diagonal.
void syrk(const PackedRows& rows, std::int64_t k, double* c, int threads);

}  // namespace ganfast
