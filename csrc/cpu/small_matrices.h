// Batches of small symmetric matrices: threads around the loops of leaf.h.
#pragma once

#include <cstdint>
#include <vector>

namespace ganfast {

// Contiguous (count, n, n) matrices and where their results go.
struct Matrices {
  const double* a;
  const double* b;  // of the trace alone
  double tolerance_a;
  double tolerance_b;
  double* out;  // roots like `a`, or one number for each pair
  bool* definite;
  std::int64_t count;
  std::int64_t n;
  std::int64_t sweeps;
};

// Both return the numbers of the matrices that did not converge within `sweeps`, for which the caller has to find
// another way; nothing is written for them.
std::vector<std::int64_t> batch_sqrtm(const Matrices& m, int threads);
std::vector<std::int64_t> batch_trace_sqrtm(const Matrices& m, int threads);

}  // namespace ganfast
