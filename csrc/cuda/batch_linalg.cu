// Batches of small symmetric positive semi-definite matrices: A^{1/2} and Tr (A B)^{1/2}, n <= 128. One warp
// for each matrix up to n = 32, one block above; everything between reading A and writing the result happens
// in shared memory and registers, in one launch.
//
// Method. A = L L^T by Cholesky with complete pivoting (its rank rule is ganfast/linalg/factor.py's), then
// one-sided Jacobi: rotations from the right make the columns of L orthogonal, L W = G, G^T G = D^2 (Veselic &
// Hari 1989). Then A^{1/2} = G D^{-1} G^T. With M = L1^T L2 in the place of L, Tr (A B)^{1/2} = |M|_* is the
// sum of the column norms. No eigenvectors are stored: one matrix of shared memory is enough.
//
// Why Jacobi in CUDA C++ and not Newton-Schulz on tiles in Triton: (1) a product-only iteration converges as
// its worst singular value, which is 0 here as often as not (few samples, dead features), and its residual
// says nothing about the trace; Jacobi does not care about the condition. (2) Graded matrices keep the digits
// of their small eigenvalues, since a rotation's error is relative to the two columns that it turns. (3) Each
// matrix stops by itself, by the cosines of its columns, without the host: |c| <= 4e-15 for a root, whose
// residual is their sum; 1e-9 for a trace, whose error is second order, below n c^2 / 2 of it. What has not
// converged in 40 sweeps, and what is not semi-definite to rounding, is reported in `failed` and computed
// again by an eigensolver. (4) Newton-Schulz needs three n x n tiles and tensor-core precision that float64
// has only on data-centre GPUs. Triton has no way to keep two columns in registers and address a third.
//
// Shared memory: n (n + up to 15) numbers of 8 bytes. n = 128 takes 137 KiB (136 numbers a column): it fits on
// sm_80 (163 KiB a block), sm_90 and sm_100 (227 KiB), after the opt-in; GPUs with 99 KiB go up to n = 105.
// n = 32 takes 8.6 KiB a warp.
//
// Cost (reasoned, not measured on a GPU; the sweeps were counted on the host): a sweep is n^2/2 pairs of 12 n
// flops, 6 n^3 in all; 10 sweeps at n = 128 (7 at n = 32), so 60 n^3, where the factor takes 2/3 n^3. Shared
// memory moves 16 n^3 bytes a sweep, as a pair of columns is read once and written once: with 128 bytes a clock
// and processor that bounds the time, 1.5 ms for 132 matrices of n = 128 on an H100 or H200 (0.5 ms by its 34
// TFLOP/s of float64), 12 ms for 1024 of them; 1024 x 32 x 32 take 0.15 ms. Global memory is read and written
// once: 0.1 % of that.
#include "cuda/jacobi.h"

namespace {

using jacobi::Group;
using jacobi::Storage;

constexpr double kCosineOfRoot = 4e-15;
constexpr double kCosineOfTrace = 1e-9;
constexpr int kTile = 8;     // results of the root that a thread adds at a time
constexpr int kColumns = 4;  // columns of L1^T L2 likewise

// g := g diag(norm^{-1/2}), so that the root is g g^T.
template <int Lanes>
__device__ void scale_columns(const Storage& g, int columns) {
  using G = Group<Lanes>;
  for (int j = G::rank(); j < columns; j += G::kThreads) {
    const double norm = jacobi::column_norm(g, g.n, j);
    const double scale = norm > 0 ? 1 / sqrt(norm) : 0;
    for (int i = 0; i < g.n; ++i) g(i, j) *= scale;
  }
  G::sync();
}

// to := g g^T in the order of A's own rows; bitwise symmetric.
template <int Lanes, class T>
__device__ void square(const Storage& g, int columns, T* to) {
  using G = Group<Lanes>;
  const int n = g.n, tiles = (n + kTile - 1) / kTile;
  for (int c = G::rank(); c < n * tiles; c += G::kThreads) {
    const int i = c % n, first = c / n * kTile;
    double sums[kTile] = {};
#pragma unroll 2
    for (int k = 0; k < columns; ++k) {
      const double x = g(i, k);
#pragma unroll
      for (int t = 0; t < kTile; ++t)
        if (first + t < n) sums[t] += x * g(first + t, k);
    }
#pragma unroll
    for (int t = 0; t < kTile; ++t)
      if (first + t < n) to[g.order[i] * n + g.order[first + t]] = static_cast<T>(sums[t]);
  }
}

template <int Lanes, class T>
__device__ void sqrtm(const T* a, T* roots, int* failed, long long batch, int n, double* shared) {
  using G = Group<Lanes>;
  const int groups = blockDim.x / G::kThreads;
  const Storage g = jacobi::storage<Lanes>(shared, n);
  const long long size = static_cast<long long>(n) * n, stride = static_cast<long long>(gridDim.x) * groups;
  for (long long m = static_cast<long long>(blockIdx.x) * groups + G::number(); m < batch; m += stride) {
    jacobi::load<Lanes>(g, a + m * size);
    double top;
    const int rank = jacobi::factorise<Lanes>(g, top);
    const bool good = rank >= 0 && jacobi::orthogonalise<Lanes>(g, n, rank, kCosineOfRoot, top);
    if (G::rank() == 0) failed[m] = !good;
    if (!good) continue;
    scale_columns<Lanes>(g, rank);
    square<Lanes>(g, rank, roots + m * size);
  }
}

// m := l^T m, column by column, where row `order[k]` of l belongs to row k of m. l is stored by rows.
template <int Lanes>
__device__ void multiply(const double* l, const Storage& m, int columns) {
  using G = Group<Lanes>;
  const int n = m.n, sets = G::kThreads / n, width = sets * kColumns;
  const int i = G::rank() % n, set = G::rank() / n;
  for (int start = 0; start < columns; start += width) {
    const int first = start + set * kColumns;
    double sums[kColumns] = {};
#pragma unroll 2
    for (int k = first; set < sets && k < n; ++k) {  // above the diagonal m is zero
      const double x = l[m.order[k] * n + i];
#pragma unroll
      for (int t = 0; t < kColumns; ++t)
        if (first + t < columns) sums[t] += x * m(k, first + t);
    }
    G::sync();
#pragma unroll
    for (int t = 0; t < kColumns; ++t)
      if (set < sets && first + t < columns) m(i, first + t) = sums[t];
    G::sync();
  }
}

template <int Lanes, class T>
__device__ void trace(const T* a, const T* b, double* traces, int* failed, double* scratch, long long batch,
                      int n, double* shared) {
  using G = Group<Lanes>;
  const int groups = blockDim.x / G::kThreads;
  const Storage g = jacobi::storage<Lanes>(shared, n);
  const long long size = static_cast<long long>(n) * n, stride = static_cast<long long>(gridDim.x) * groups;
  const long long first = static_cast<long long>(blockIdx.x) * groups + G::number();
  for (long long m = first; m < batch; m += stride) {
    jacobi::load<Lanes>(g, a + m * size);
    double top_a, top_b;
    const int rows = jacobi::factorise<Lanes>(g, top_a);
    double* l = scratch + first * size;
    for (int c = G::rank(); c < n * n; c += G::kThreads) l[g.order[c / n] * n + c % n] = g(c / n, c % n);
    jacobi::load<Lanes>(g, b + m * size);
    const int columns = jacobi::factorise<Lanes>(g, top_b);
    bool good = rows >= 0 && columns >= 0;
    if (good) {
      multiply<Lanes>(l, g, columns);
      good = jacobi::orthogonalise<Lanes>(g, rows, columns, kCosineOfTrace, top_a * top_b);
    }
    if (good) {
      for (int j = G::rank(); j < columns; j += G::kThreads) g(0, j) = jacobi::column_norm(g, rows, j);
      G::sync();
    }
    if (G::rank() == 0) {
      double sum = 0;
      for (int j = columns - 1; good && j >= 0; --j) sum += g(0, j);
      traces[m] = sum;
      failed[m] = !good;
    }
  }
}

}  // namespace

#define SQRTM_KERNEL(name, lanes, threads, type)                                                        \
  extern "C" __global__ void __launch_bounds__(threads, 1)                                              \
      name(const type* a, type* roots, int* failed, long long batch, int n) {                           \
    extern __shared__ double shared[];                                                                  \
    sqrtm<lanes>(a, roots, failed, batch, n, shared);                                                   \
  }

#define TRACE_KERNEL(name, lanes, threads, type)                                                        \
  extern "C" __global__ void __launch_bounds__(threads, 1)                                              \
      name(const type* a, const type* b, double* traces, int* failed, double* scratch, long long batch, \
           int n) {                                                                                     \
    extern __shared__ double shared[];                                                                  \
    trace<lanes>(a, b, traces, failed, scratch, batch, n, shared);                                      \
  }

// A line for each kernel: only that of the kernel which is wanted is compiled (ganfast/backends/cuda/module.py).
SQRTM_KERNEL(sqrtm_2_float32, 2, 128, float)
SQRTM_KERNEL(sqrtm_2_float64, 2, 128, double)
SQRTM_KERNEL(sqrtm_4_float32, 4, 128, float)
SQRTM_KERNEL(sqrtm_4_float64, 4, 128, double)
SQRTM_KERNEL(sqrtm_8_float32, 8, 512, float)
SQRTM_KERNEL(sqrtm_8_float64, 8, 512, double)
TRACE_KERNEL(trace_sqrtm_2_float32, 2, 128, float)
TRACE_KERNEL(trace_sqrtm_2_float64, 2, 128, double)
TRACE_KERNEL(trace_sqrtm_4_float32, 4, 128, float)
TRACE_KERNEL(trace_sqrtm_4_float64, 4, 128, double)
TRACE_KERNEL(trace_sqrtm_8_float32, 8, 512, float)
TRACE_KERNEL(trace_sqrtm_8_float64, 8, 512, double)
