// What is compiled once per instruction set for small matrices: one matrix at a time, without threads.
#pragma once

#include <cstdint>

namespace ganfast {

// How it went with one matrix, or one pair.
enum Outcome : std::uint8_t {
  kIndefinite = 0,  // an eigenvalue is below -tolerance times the largest
  kDone = 1,
  kGaveUp = 2,  // not converged within the cap on sweeps: nothing was written
};

// What all matrices of a batch share.
struct MatrixShape {
  std::int64_t n;
  std::int64_t sweeps;  // the cap: QR sweeps per eigenvalue, and Jacobi sweeps
};

// Matrices are contiguous (n, n) and symmetric; `work` holds 4 n + 8 rows of doubles, n padded to whole vectors.
struct MatrixLoops {
  Outcome (*root)(MatrixShape shape, const double* a, double tolerance, double* out, double* work);
  Outcome (*trace)(MatrixShape shape, const double* a, const double* b, double tolerance_a, double tolerance_b,
                   double* out, double* work);
};

}  // namespace ganfast
