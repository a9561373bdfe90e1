// One small symmetric matrix, in double, to tridiagonal form and back: Householder reflections, for whatever
// instruction set the including file is compiled for. The eigenvalues are then found by leaf_eigen_body.h.
//
// SIMD runs along the rows of the one matrix, not across matrices: a matrix alone is then as fast as in a
// batch, no lane waits for the slowest of its neighbours, and a matrix has the same bits wherever it stands.
// Flops, n^3 times: reduction 2 (both triangles, since half of one would be tails of vectors), its transformation
// 4/3, QR sweeps 6 (n^2 rotations of n pairs). Where the eigenvalues alone are wanted: 2, and n^2 rotations that
// wait for one another.
// Bytes: matrices of n <= 128 take 8 n^2 <= 128 KiB each, at most four of them, and stay in the L2 cache.
//
// Rows are sorted by their diagonal entry, largest first. A graded matrix is then reduced from its large end
// and swept towards its small one, and its small eigenvalues keep their digits.
#pragma once

#include "leaf.h"
#include "simd.h"

namespace ganfast {
namespace {

using Vec = Vector<double>;
constexpr std::int64_t kWide = kLanes<double>;
constexpr double kEps = 2.220446049250313e-16;
// Squares below this have lost digits to underflow. Matrices have entries of about 1: what is smaller than the
// root of this counts as zero.
constexpr double kTiny = 1e-290;

static inline double absolute(double x) { return __builtin_fabs(x); }
static inline double larger(double x, double y) { return x > y ? x : y; }

// Rows of whole vectors: the columns from n to `stride` are zero, so no loop has a tail.
struct Rows {
  double* data;
  std::int64_t stride;

  double* operator[](std::int64_t i) const { return data + i * stride; }
};

static inline std::int64_t whole_vectors(std::int64_t n) { return (n + kWide - 1) / kWide * kWide; }

// Rows a power of two apart would share their cache sets.
static inline std::int64_t stride_of(std::int64_t n) {
  const std::int64_t whole = whole_vectors(n);
  return whole % 64 == 0 ? whole + 8 : whole;
}

static inline double sum_of(Vec v) {
  double total = 0;
  for (int k = 0; k < kWide; ++k) total += v[k];
  return total;
}

static inline double dot(const double* x, const double* y, std::int64_t from, std::int64_t to) {
  Vec first{}, second{};
  std::int64_t j = from;
  for (; j + 2 * kWide <= to; j += 2 * kWide) {
    first += load<Vec>(x + j) * load<Vec>(y + j);
    second += load<Vec>(x + j + kWide) * load<Vec>(y + j + kWide);
  }
  if (j < to) first += load<Vec>(x + j) * load<Vec>(y + j);
  return sum_of(first + second);
}

static inline void clear(double* x, std::int64_t count) {
  for (std::int64_t j = 0; j < count; j += kWide) store(x + j, Vec{});
}

// order[0..n): the indices by descending key, equal keys by index.
static inline void descending(const double* key, std::int64_t n, std::int32_t* order) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t at = i;
    for (; at > 0 && key[order[at - 1]] < key[i]; --at) order[at] = order[at - 1];
    order[at] = static_cast<std::int32_t>(i);
  }
}

// Room for a tridiagonal matrix and what its reduction and its sweeps need, `stride` doubles each.
struct Tridiagonal {
  double *d, *e, *tau, *w, *p, *c, *s;
  std::int32_t* order;
  static constexpr std::int64_t kArrays = 8;

  Tridiagonal(double* room, std::int64_t stride)
      : d(room),
        e(room + stride),
        tau(room + 2 * stride),
        w(room + 3 * stride),
        p(room + 4 * stride),
        c(room + 5 * stride),
        s(room + 6 * stride),
        order(reinterpret_cast<std::int32_t*>(room + 7 * stride)) {}
};

// row[i] -= v[i] w + w[i] v, and p += next[i] row[i], for `count` rows from i: the update of the step before and
// the product for this one, in one pass over the matrix.
template <int kCount>
static inline void update_rows(Rows a, std::int64_t i, const double* v, const double* w, const double* next,
                               double* p, std::int64_t from, std::int64_t to) {
  Vec vi[kCount], wi[kCount], ni[kCount];
  for (int r = 0; r < kCount; ++r) vi[r] = Vec{} + v[i + r], wi[r] = Vec{} + w[i + r], ni[r] = Vec{} + next[i + r];
  for (std::int64_t j = from; j < to; j += kWide) {
    const Vec vj = load<Vec>(v + j), wj = load<Vec>(w + j);
    Vec sum = load<Vec>(p + j);
    for (int r = 0; r < kCount; ++r) {
      double* at = a[i + r] + j;
      const Vec x = (load<Vec>(at) - vi[r] * wj) - wi[r] * vj;
      store(at, x);
      sum += ni[r] * x;
    }
    store(p + j, sum);
  }
}

// Makes row k of `a` the vector v of the reflection I - tau v v^T that takes the row's tail to its first entry,
// v[k + 1] = 1 and zero before; returns that entry.
static inline double reflect(double* row, std::int64_t k, std::int64_t to, double* tau) {
  const std::int64_t from = (k + 1) / kWide * kWide;
  const double first = row[k + 1];
  for (std::int64_t j = from; j <= k + 1; ++j) row[j] = 0;
  const double rest = dot(row, row, from, to);
  if (rest <= kTiny) {
    clear(row + from, to - from);
    *tau = 0;
    return first;
  }
  const double norm = __builtin_sqrt(first * first + rest);
  const double entry = first > 0 ? -norm : norm;
  const double scale = 1 / (first - entry);
  for (std::int64_t j = from; j < to; j += kWide) store(row + j, load<Vec>(row + j) * scale);
  row[k + 1] = 1;
  *tau = (entry - first) / entry;
  return entry;
}

// a -> tridiagonal d, e. Row k of `a` then holds the vector of reflection k, for k < n - 2.
static void reduce(Rows a, std::int64_t n, const Tridiagonal& t) {
  const std::int64_t to = whole_vectors(n);
  clear(t.w, to);
  clear(t.c, to);
  const double* v = t.c;  // no step before the first: zeros
  for (std::int64_t k = 0; k + 2 < n; ++k) {
    double* row = a[k];
    const std::int64_t before = k / kWide * kWide, from = (k + 1) / kWide * kWide;
    const Vec vk = Vec{} + v[k], wk = Vec{} + t.w[k];
    for (std::int64_t j = before; j < to; j += kWide)
      store(row + j, (load<Vec>(row + j) - vk * load<Vec>(t.w + j)) - wk * load<Vec>(v + j));
    t.d[k] = row[k];
    t.e[k] = reflect(row, k, to, t.tau + k);
    clear(t.p + from, to - from);
    std::int64_t i = k + 1;
    for (; i + 4 <= n; i += 4) update_rows<4>(a, i, v, t.w, row, t.p, from, to);
    for (; i < n; ++i) update_rows<1>(a, i, v, t.w, row, t.p, from, to);
    // w = tau (p - tau/2 (p . v) v), zero where v has not begun
    for (std::int64_t j = from; j <= k; ++j) t.p[j] = 0;
    const double half = 0.5 * t.tau[k] * dot(t.p, row, from, to);
    for (std::int64_t j = from; j < to; j += kWide)
      store(t.w + j, t.tau[k] * (load<Vec>(t.p + j) - half * load<Vec>(row + j)));
    v = row;
  }
  for (std::int64_t i = n > 2 ? n - 2 : 0; i < n; ++i) {
    if (n > 2)
      for (std::int64_t j = n - 2; j < n; ++j) a[i][j] -= v[i] * t.w[j] + t.w[i] * v[j];
    t.d[i] = a[i][i];
  }
  if (n > 1) t.e[n - 2] = a[n - 1][n - 2];
}

template <int kCount>
static inline void reflect_rows(Rows q, std::int64_t i, double tau, const double* v, const double* u,
                                const double* next, double* p, std::int64_t from, std::int64_t to) {
  Vec vi[kCount], ni[kCount];
  for (int r = 0; r < kCount; ++r) vi[r] = Vec{} + tau * v[i + r], ni[r] = Vec{} + next[i + r];
  for (std::int64_t j = from; j < to; j += kWide) {
    const Vec uj = load<Vec>(u + j);
    Vec sum = load<Vec>(p + j);
    for (int r = 0; r < kCount; ++r) {
      double* at = q[i + r] + j;
      const Vec x = load<Vec>(at) - vi[r] * uj;
      store(at, x);
      sum += ni[r] * x;
    }
    store(p + j, sum);
  }
}

// The product of the reflections, transposed, into `a`, with its columns moved back to the order before sorting.
static void form(Rows a, Rows q, std::int64_t n, const Tridiagonal& t) {
  const std::int64_t to = whole_vectors(n);
  for (std::int64_t i = 0; i < n; ++i) clear(q[i], to), q[i][i] = 1;
  double *u = t.w, *next_u = t.p;
  clear(u, to);
  clear(t.c, to);
  if (n > 2) u[n - 2] = a[n - 3][n - 2], u[n - 1] = a[n - 3][n - 1];
  for (std::int64_t k = n - 3; k >= 0; --k) {
    const double* next = k > 0 ? a[k - 1] : t.c;
    const std::int64_t from = (k + 1) / kWide * kWide;
    clear(next_u, to);
    std::int64_t i = k + 1;
    for (; i + 4 <= n; i += 4) reflect_rows<4>(q, i, t.tau[k], a[k], u, next, next_u, from, to);
    for (; i < n; ++i) reflect_rows<1>(q, i, t.tau[k], a[k], u, next, next_u, from, to);
    next_u[k] += next[k];  // row k is still that of the identity
    double* swap = u;
    u = next_u;
    next_u = swap;
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) a[j][t.order[i]] = q[i][j];
}

}  // namespace
}  // namespace ganfast
