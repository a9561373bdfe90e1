// Eigenvalues and eigenvectors of one small tridiagonal matrix: implicit QR sweeps.
#pragma once

#include "leaf_tridiagonal_body.h"

namespace ganfast {
namespace {

// Rotations (c, s)[i] of rows i and i + 1, one after another for i from first to last.
struct Rotations {
  double *c, *s;
  std::int64_t first, last;
};

// Some columns of the row that the last rotation and the next one share: it stays in registers.
template <int kVectors>
struct Carried {
  Vec row[kVectors];

  void begin(const double* from) {
    for (int k = 0; k < kVectors; ++k) row[k] = load<Vec>(from + k * kWide);
  }
  void rotate(double c, double s, double* above, const double* below) {
    for (int k = 0; k < kVectors; ++k) {
      const Vec x = load<Vec>(below + k * kWide);
      store(above + k * kWide, s * x + c * row[k]);
      row[k] = c * x - s * row[k];
    }
  }
  void end(double* to) const {
    for (int k = 0; k < kVectors; ++k) store(to + k * kWide, row[k]);
  }
};

template <int kVectors>
static inline void rotate_strip(Rows v, const Rotations& r, std::int64_t j) {
  Carried<kVectors> carried;
  carried.begin(v[r.first] + j);
  for (std::int64_t i = r.first; i < r.last; ++i) carried.rotate(r.c[i], r.s[i], v[i] + j, v[i + 1] + j);
  carried.end(v[r.last] + j);
}

// The columns from j.
static void rotate(Rows v, std::int64_t n, const Rotations& r, std::int64_t j) {
  if (r.first == r.last) return;
  const std::int64_t to = whole_vectors(n);
  for (; j + 4 * kWide <= to; j += 4 * kWide) rotate_strip<4>(v, r, j);
  for (; j + 2 * kWide <= to; j += 2 * kWide) rotate_strip<2>(v, r, j);
  for (; j < to; j += kWide) rotate_strip<1>(v, r, j);
}

// The rotation that diagonalises ((x, b), (b, y)), with t = s/c: the diagonal becomes x - t b and y + t b.
static inline double tangent(double x, double b, double y) {
  const double ratio = (y - x) / (2 * b);
  const double size = absolute(ratio) + __builtin_sqrt(1 + ratio * ratio);
  return ratio < 0 ? -1 / size : 1 / size;
}

// The eigenvalue of ((x, b), (b, y)) that is nearer to y.
static inline double wilkinson(double x, double b, double y) { return b == 0 ? y : y + tangent(x, b, y) * b; }

// Where the block that ends at `last` begins: after the last e that is negligible beside its neighbours.
static inline std::int64_t start_of_block(const double* d, const double* squares, std::int64_t last) {
  std::int64_t first = last;
  while (first > 0 && squares[first - 1] > kEps * kEps * absolute(d[first - 1] * d[first]) + kTiny) --first;
  return first;
}

// One sweep of implicit QR over rows first to last, by the squares of e and without roots (Pal, Walker and Kahan): a
// rotation waits for a division and five additions or multiplications, where the usual form waits for a root as
// well. With kKeep, `made` gets the rotations; cosines and sines are the roots of the quotients.
//
// A sweep does not read the eigenvectors. So the rotations of the one before, if they begin at the same row, are applied
// meanwhile to the first kHeld vectors of each row: work for the processor while it waits for the divisions.
template <bool kKeep, int kHeld>
static void sweep(const Tridiagonal& t, Rotations* made, const Rotations& waiting, Rows v) {
  double *d = t.d, *squares = t.e, *signs = t.tau;
  const std::int64_t first = made->first, last = made->last;
  const double end = signs[last - 1] * __builtin_sqrt(squares[last - 1]);
  const double shift = wilkinson(d[last - 1], end, d[last]);
  double c = 1, s = 0, g = d[first] - shift, p = g * g;
  // The cosine has the sign of g / old c. Rows change theirs so that no e but the last is negative: `row` is that of
  // row i + 1, `carried` that of what the rotations so far have made of row i.
  double sign = g < 0 ? -1 : 1, old_sign = 1, row = 1, carried = 1;
  Carried<kHeld == 0 ? 1 : kHeld> held;
  if constexpr (kHeld > 0) held.begin(v[first]);
  for (std::int64_t i = first; i < last; ++i) {
    const double square = squares[i], r = p + square, old_c = c, old_g = g;
    if (i > first) squares[i - 1] = s * r;
    double stretch = 1;  // 1 / c, beside c: the next rotation then waits for one division, not for two
    if (__builtin_expect(r > kTiny, 1)) {
      stretch = r / p;
      c = p / r;
      s = square / r;
    } else {
      c = 1;
      s = 0;
    }
    if constexpr (kKeep) {
      row *= signs[i];
      made->c[i] = sign * carried * c;
      made->s[i] = row * s;
      carried *= row;
      signs[i] = 1;
    }
    if constexpr (kHeld > 0) held.rotate(waiting.c[i], waiting.s[i], v[i], v[i + 1]);
    g = c * (d[i + 1] - shift) - s * old_g;
    d[i] = old_g + (d[i + 1] - g);
    const double before = old_sign;
    old_sign = sign;
    if (__builtin_expect(c > 1e-140, 1)) {
      p = (g * g) * stretch;
      sign = g < 0 ? -sign : sign;
    } else {
      p = old_c * square;
      sign = -before;
    }
  }
  squares[last - 1] = s * p;
  d[last] = shift + g;
  if constexpr (kHeld > 0) {
    for (std::int64_t i = last; i < waiting.last; ++i) held.rotate(waiting.c[i], waiting.s[i], v[i], v[i + 1]);
    held.end(v[waiting.last]);
  }
  if constexpr (kKeep) {
    signs[last - 1] = sign * carried;
    for (std::int64_t i = first; i < last; ++i) {
      made->c[i] = __builtin_copysign(__builtin_sqrt(absolute(made->c[i])), made->c[i]);
      made->s[i] = __builtin_copysign(__builtin_sqrt(absolute(made->s[i])), made->s[i]);
    }
  }
}

// d, e -> eigenvalues in d and, with kVectors, the rows of v turned into eigenvectors; false if `cap` sweeps were not
// enough.
template <bool kVectors>
static bool diagonalise(Rows v, std::int64_t n, const Tridiagonal& t, std::int64_t cap) {
  constexpr int kHeld = kVectorBytes == 64 ? 8 : 4;  // registers for more are not there
  const std::int64_t vectors = whole_vectors(n) / kWide;
  double *d = t.d, *squares = t.e, *signs = t.tau;
  Rotations made{t.w, t.p, 0, 0}, waiting{t.c, t.s, 0, 0};
  for (std::int64_t i = 0; i + 1 < n; ++i) {
    signs[i] = squares[i] < 0 ? -1 : 1;
    squares[i] *= squares[i];
  }
  for (std::int64_t last = n - 1; last > 0;) {
    const std::int64_t first = start_of_block(d, squares, last);
    if (first == last) {
      --last;
      continue;
    }
    made.first = first;
    made.last = last;
    std::int64_t done = 0;  // columns that have had the rotations that wait
    if (first + 1 == last) {
      const double end = signs[first] * __builtin_sqrt(squares[first]);
      const double tan = tangent(d[first], end, d[last]);
      d[first] -= tan * end;
      d[last] += tan * end;
      made.c[first] = 1 / __builtin_sqrt(1 + tan * tan);
      made.s[first] = -tan * made.c[first];
      last -= 2;
    } else if (cap-- <= 0) {
      return false;
    } else if (!kVectors || waiting.first != first || waiting.last < last) {
      sweep<kVectors, 0>(t, &made, waiting, v);
    } else if (vectors >= kHeld) {
      sweep<kVectors, kVectors ? kHeld : 0>(t, &made, waiting, v);
      done = kHeld * kWide;
    } else if (vectors >= 4) {
      sweep<kVectors, kVectors ? 4 : 0>(t, &made, waiting, v);
      done = 4 * kWide;
    } else if (vectors >= 2) {
      sweep<kVectors, kVectors ? 2 : 0>(t, &made, waiting, v);
      done = 2 * kWide;
    } else {
      sweep<kVectors, kVectors ? 1 : 0>(t, &made, waiting, v);
      done = kWide;
    }
    if constexpr (kVectors) {
      rotate(v, n, waiting, done);
      const Rotations swap = waiting;
      waiting = made;
      made = swap;
    }
  }
  if constexpr (kVectors) rotate(v, n, waiting, 0);
  return true;
}

}  // namespace
}  // namespace ganfast
