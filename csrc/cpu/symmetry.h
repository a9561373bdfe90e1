// Whether matrices are finite and symmetric, and how large: one pass over memory where torch makes six.
#pragma once

#include <cstdint>

namespace ganfast {

// For each of `count` row-major (n, n) matrices: facts[2 k] is the largest |a_ij|, NaN if any entry is NaN or
// inf; facts[2 k + 1] is the largest |a_ij - a_ji|, relative to that.
void symmetry(const double* a, std::int64_t count, std::int64_t n, int threads, double* facts);

}  // namespace ganfast
