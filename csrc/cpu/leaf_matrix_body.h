// The root of one matrix, and the trace of the root of a product of two: see leaf.h. All is in double.
//
// Flops, n^3 times. The root: reduction 2, its transformation 4/3, sweeps 6, X = (V w^1/4) (V w^1/4)^T 1: about 10.
// The trace: two pivoted factors 2 * 1, R = L2^T L1 1, R^T R 1, reduction 2: about 6, less where the rank is less.
#pragma once

#include "leaf_product_body.h"

namespace ganfast {
namespace {

// a, with rows and columns in order of the diagonal, largest first.
static void load_sorted(const double* a, std::int64_t n, Rows to, const Tridiagonal& t) {
  for (std::int64_t i = 0; i < n; ++i) t.d[i] = a[i * n + i];
  descending(t.d, n, t.order);
  const std::int64_t whole = whole_vectors(n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double* row = a + t.order[i] * n;
    for (std::int64_t j = 0; j < n; ++j) to[i][j] = row[t.order[j]];
    for (std::int64_t j = n; j < whole; ++j) to[i][j] = 0;
  }
}

// Eigenvalues of `a` in t.d and eigenvectors in the rows of `v`, in no order.
static Outcome eigenvectors(MatrixShape shape, const double* a, double tolerance, Rows v, Rows spare,
                            const Tridiagonal& t, double* top) {
  const std::int64_t n = shape.n;
  load_sorted(a, n, v, t);
  reduce(v, n, t);
  form(v, spare, n, t);
  if (!diagonalise<true>(v, n, t, shape.sweeps * n)) return kGaveUp;
  double least = t.d[0];
  *top = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    *top = larger(*top, absolute(t.d[i]));
    least = t.d[i] < least ? t.d[i] : least;
  }
  return least < -tolerance * *top ? kIndefinite : kDone;
}

static Outcome root(MatrixShape shape, const double* a, double tolerance, double* out, double* work) {
  const std::int64_t n = shape.n, stride = stride_of(n);
  const Rows v{work, stride}, x{work + n * stride, stride};
  const Tridiagonal t(work + 4 * n * stride, stride);
  double top;
  const Outcome outcome = eigenvectors(shape, a, tolerance, v, x, t, &top);
  if (outcome != kDone) return outcome;
  const std::int64_t to = whole_vectors(n);
  std::int64_t rank = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (!(t.d[i] > 0)) continue;
    const double scale = __builtin_sqrt(__builtin_sqrt(t.d[i]));
    for (std::int64_t j = 0; j < to; j += kWide) store(v[rank] + j, load<Vec>(v[i] + j) * scale);
    ++rank;
  }
  transposed_product(v, v, x, rank, n, n, false, true);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i; j < n; ++j) out[i * n + j] = out[j * n + i] = x[i][j];
  return kDone;
}

// ---- factors -------------------------------------------------------------------------------------------

// out = scale (x - sum_k weight[k] rows[k]), k < count: what Cholesky has left of a row.
template <int kVectors>
static inline void residual_strip(const double* x, Rows rows, const double* weight, std::int64_t count,
                                  double scale, double* out, std::int64_t j) {
  Vec sums[kVectors];
  for (int v = 0; v < kVectors; ++v) sums[v] = load<Vec>(x + j + v * kWide);
  for (std::int64_t k = 0; k < count; ++k) {
    const Vec w = Vec{} + weight[k];
    for (int v = 0; v < kVectors; ++v) sums[v] -= w * load<Vec>(rows[k] + j + v * kWide);
  }
  for (int v = 0; v < kVectors; ++v) store(out + j + v * kWide, sums[v] * scale);
}

static void residual_row(const double* x, Rows rows, const double* weight, std::int64_t count, double scale,
                         double* out, std::int64_t to) {
  std::int64_t j = 0;
  for (; j + 8 * kWide <= to; j += 8 * kWide) residual_strip<8>(x, rows, weight, count, scale, out, j);
  for (; j + 4 * kWide <= to; j += 4 * kWide) residual_strip<4>(x, rows, weight, count, scale, out, j);
  for (; j < to; j += kWide) residual_strip<1>(x, rows, weight, count, scale, out, j);
}

// So many diagonal entries that are positive are no round-off, whose signs are chance.
constexpr std::int64_t kMany = 16;

// Cholesky with complete pivoting: the rows of `factor` become the columns of L, largest pivot first, and
// t.order[0..rank) the pivots. Returns the rank, or -1 where what is left is not the round-off of a semi-definite
// matrix, so that eigenvalues have to decide. The rule for the rank is explained in ganfast/linalg/factor.py.
static std::int64_t pivoted_cholesky(std::int64_t n, const double* a, Rows factor, const Tridiagonal& t) {
  const std::int64_t to = whole_vectors(n);
  double *left = t.d, *weight = t.c, *row = t.w;
  double top = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    left[i] = a[i * n + i];
    top = larger(top, left[i]);
    t.order[i] = static_cast<std::int32_t>(i);
  }
  const double cut = n * kEps * top, floor = 4 * kEps * top;
  const auto load_row = [&](std::int64_t i) {
    for (std::int64_t j = 0; j < n; ++j) row[j] = a[i * n + j];
    for (std::int64_t j = n; j < to; ++j) row[j] = 0;
  };
  std::int64_t rank = 0;
  for (; rank < n; ++rank) {
    std::int64_t best = rank;
    double least = left[t.order[rank]];
    for (std::int64_t i = rank + 1; i < n; ++i) {
      const double x = left[t.order[i]];
      if (x > left[t.order[best]]) best = i;
      if (x < least) least = x;
    }
    const std::int32_t pivot = t.order[best];
    const double size = left[pivot];
    const bool weak_signal = size > floor && least > 0 && n - rank >= kMany;
    if (!(size > cut || weak_signal)) break;
    t.order[best] = t.order[rank];
    t.order[rank] = pivot;
    for (std::int64_t k = 0; k < rank; ++k) weight[k] = factor[k][pivot];
    load_row(pivot);
    double* column = factor[rank];
    residual_row(row, factor, weight, rank, 1 / __builtin_sqrt(size), column, to);
    for (std::int64_t k = 0; k < rank; ++k) column[t.order[k]] = 0;
    for (std::int64_t j = 0; j < to; j += kWide)
      store(left + j, load<Vec>(left + j) - load<Vec>(column + j) * load<Vec>(column + j));
  }
  for (std::int64_t k = rank; k < n; ++k) {
    const std::int32_t i = t.order[k];
    if (left[i] < -8 * cut) return -1;
    for (std::int64_t p = 0; p < rank; ++p) weight[p] = factor[p][i];
    load_row(i);
    residual_row(row, factor, weight, rank, 1, t.p, to);
    for (std::int64_t p = rank; p < n; ++p)
      if (absolute(t.p[t.order[p]]) > 8 * cut) return -1;
  }
  return rank;
}

// V sqrt(w), its columns as the rows of `factor`, largest first, without eigenvalues up to n eps of the largest.
static Outcome factor_by_eigenvectors(MatrixShape shape, const double* a, double tolerance, Rows factor, Rows v,
                                      Rows spare, const Tridiagonal& t, std::int64_t* rank) {
  const std::int64_t n = shape.n;
  double top;
  const Outcome outcome = eigenvectors(shape, a, tolerance, v, spare, t, &top);
  if (outcome != kDone) return outcome;
  descending(t.d, n, t.order);
  *rank = 0;
  for (; *rank < n && t.d[t.order[*rank]] > n * kEps * top; ++*rank) {
    const std::int64_t from = t.order[*rank];
    const double scale = __builtin_sqrt(t.d[from]);
    for (std::int64_t j = 0; j < whole_vectors(n); j += kWide)
      store(factor[*rank] + j, load<Vec>(v[from] + j) * scale);
  }
  return kDone;
}

// A factor of `a` by its columns, graded downwards. t.order is the order of its rows in which it is lower
// triangular, if *triangular.
static Outcome factor_of(MatrixShape shape, const double* a, double tolerance, Rows factor, Rows v, Rows spare,
                         const Tridiagonal& t, std::int64_t* rank, bool* triangular) {
  *rank = pivoted_cholesky(shape.n, a, factor, t);
  *triangular = *rank >= 0;
  if (*triangular) return kDone;
  return factor_by_eigenvectors(shape, a, tolerance, factor, v, spare, t, rank);
}

// ---- the nuclear norm of a product of factors ----------------------------------------------------------

// The sum of the lengths of `count` rows, once rotations have made them orthogonal (Hestenes, 1958): the nuclear
// norm. Slow, and right where squares are not.
static Outcome nuclear_norm(Rows r, std::int64_t count, std::int64_t length, std::int64_t sweeps, double* out) {
  const std::int64_t to = whole_vectors(length);
  for (std::int64_t sweep = 0;; ++sweep) {
    double top = 0;
    for (std::int64_t i = 0; i < count; ++i) top = larger(top, dot(r[i], r[i], 0, to));
    // Rows this short add nothing, however they lie.
    const double floor = kEps * kEps * 1e-6 * top + kTiny;
    const double bound = kEps * kEps * length;
    std::int64_t rotated = 0;
    for (std::int64_t i = 0; i + 1 < count; ++i)
      for (std::int64_t k = i + 1; k < count; ++k) {
        const double x = dot(r[i], r[i], 0, to), y = dot(r[k], r[k], 0, to), b = dot(r[i], r[k], 0, to);
        if (x <= floor || y <= floor || b * b <= bound * x * y) continue;
        if (sweep >= sweeps) return kGaveUp;
        ++rotated;
        const double tan = tangent(x, b, y);
        const double c = 1 / __builtin_sqrt(1 + tan * tan), s = tan * c;
        for (std::int64_t j = 0; j < to; j += kWide) {
          const Vec p = load<Vec>(r[i] + j), q = load<Vec>(r[k] + j);
          store(r[i] + j, c * p - s * q);
          store(r[k] + j, s * p + c * q);
        }
      }
    if (rotated == 0) break;
  }
  *out = 0;
  for (std::int64_t i = 0; i < count; ++i) *out += __builtin_sqrt(dot(r[i], r[i], 0, to));
  return kDone;
}

// Whether squaring a matrix with rows of these sizes left 13 digits of its nuclear norm: entry (i, j) of the square
// is wrong by eps sizes_i sizes_j, and so a root, one after another from the largest, by sqrt(eps) sizes_i at most,
// where it is not larger than that. Both are given squared and in descending order.
static bool resolved(const double* values, const double* sizes, const std::int32_t* order, std::int64_t count) {
  double lost = 0, total = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = larger(values[order[i]], 0);
    total += __builtin_sqrt(value);
    if (!(value > 64 * kEps * sizes[i])) lost += __builtin_sqrt(kEps * larger(sizes[i], 0));
  }
  return lost <= 1e-13 * total;
}

static Outcome trace(MatrixShape shape, const double* a, const double* b, double tolerance_a, double tolerance_b,
                     double* out, double* work) {
  const std::int64_t n = shape.n, stride = stride_of(n), matrix = n * stride;
  const Rows one{work, stride}, two{work + matrix, stride}, x{work + 2 * matrix, stride},
      y{work + 3 * matrix, stride};
  const Tridiagonal t(work + 4 * matrix, stride);
  std::int64_t rank_a, rank_b;
  bool triangular_a, triangular_b;
  Outcome outcome = factor_of(shape, a, tolerance_a, one, x, y, t, &rank_a, &triangular_a);
  if (outcome != kDone) return outcome;
  outcome = factor_of(shape, b, tolerance_b, two, x, y, t, &rank_b, &triangular_b);
  if (outcome != kDone) return outcome;
  *out = 0;
  if (rank_a == 0 || rank_b == 0) return kDone;

  // x = L2 by rows and y = L1 by rows, both in the order of b's pivots, in which L2 is lower triangular.
  const std::int32_t* order = triangular_b ? t.order : nullptr;
  transpose(two, x, rank_b, n, order);
  transpose(one, y, rank_a, n, order);
  // R = L1^T L2, (rank_a, rank_b), and its transpose; the square is that of the smaller side.
  const Rows r = one, square = two;
  transposed_product(y, x, r, n, rank_a, rank_b, triangular_b, false);
  std::int64_t small = rank_b, large = rank_a;
  Rows tall = r, wide = x;  // tall (large, small), wide (small, large)
  if (rank_a < rank_b) {
    small = rank_a, large = rank_b;
    tall = x, wide = r;
    transpose(r, x, rank_a, rank_b, nullptr);
  }
  transposed_product(tall, tall, square, large, small, small, false, true);
  for (std::int64_t i = 0; i < small; ++i)
    for (std::int64_t j = 0; j < i; ++j) square[i][j] = square[j][i];

  double* sizes = t.s;
  for (std::int64_t i = 0; i < small; ++i) t.d[i] = square[i][i];
  descending(t.d, small, t.order);
  for (std::int64_t i = 0; i < small; ++i) sizes[i] = t.d[t.order[i]];
  const std::int64_t whole = whole_vectors(small);
  for (std::int64_t i = 0; i < small; ++i) {
    for (std::int64_t j = 0; j < small; ++j) y[i][j] = square[t.order[i]][t.order[j]];
    for (std::int64_t j = small; j < whole; ++j) y[i][j] = 0;
  }
  reduce(y, small, t);
  if (!diagonalise<false>(y, small, t, shape.sweeps * n)) return kGaveUp;
  descending(t.d, small, t.order);
  if (!resolved(t.d, sizes, t.order, small)) {
    if (tall.data == r.data) transpose(r, wide, large, small, nullptr);
    return nuclear_norm(wide, small, large, shape.sweeps, out);
  }
  for (std::int64_t i = small; i-- > 0;) *out += __builtin_sqrt(larger(t.d[t.order[i]], 0));
  return kDone;
}

constexpr MatrixLoops kMatrixLoops = {root, trace};

}  // namespace
}  // namespace ganfast
