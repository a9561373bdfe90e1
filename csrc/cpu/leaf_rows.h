// What is compiled once per instruction set for samples: loops over rows of contiguous elements.
#pragma once

#include <cstdint>

namespace ganfast {

// Loops over `rows` rows of `length` elements, one after the other in memory; a coefficient for each row.
template <class Real>
struct RowLoops {
  // out_ij = a_i x_ij + b_i y_ij
  void (*blend)(const Real* x, const Real* y, const Real* a, const Real* b, std::int64_t rows,
                std::int64_t length, Real* out);
  // The same for what comes from beyond the caches.
  void (*blend_far)(const Real* x, const Real* y, const Real* a, const Real* b, std::int64_t rows,
                    std::int64_t length, Real* out);
  // out_ij = a_i x_ij
  void (*scale)(const Real* x, const Real* a, std::int64_t rows, std::int64_t length, Real* out);
  // out_i = sum_j x_ij y_ij
  void (*dot)(const Real* x, const Real* y, std::int64_t rows, std::int64_t length, double* out);
};

}  // namespace ganfast
