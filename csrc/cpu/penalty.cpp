#include "penalty.h"

#include <cmath>
#include <vector>

namespace ganfast {
namespace {

// r - target, cut off at 0 where one-sided; a NaN stays one.
double excess(const Penalty& p, double r) {
  const double over = r - p.target;
  return p.one_sided && over < 0 ? 0.0 : over;
}

// The gradient of excess^2 / 2 is slope * x. At r = 0 the norm's subgradient 0 is taken, which a target of 0,
// where excess^2 is smooth, does not need.
double slope(const Penalty& p, double r) {
  if (p.target == 0) return r != r ? r : 1.0;
  return r == 0 ? 0.0 : excess(p, r) / r;
}

// d slope / dr / r
double curvature(const Penalty& p, double r) {
  if (p.target == 0 || r == 0 || (p.one_sided && r < p.target)) return 0.0;
  return p.target / r / r / r;
}

double share(const Penalty& p) { return p.weight / static_cast<double>(p.rows.count); }

// The dot products of rows, piece by piece, added up in the order of the pieces.
template <class Real>
std::vector<double> dots(const Penalty& p, const void* x, const void* y, int threads) {
  const Isa& isa = *current_isa();
  const std::int64_t pieces = pieces_of(p.rows);
  std::vector<double> sums(static_cast<std::size_t>(p.rows.count * pieces));
  for_each_chunk(p.rows, threads, [&](const Chunk& chunk) {
    alignas(64) Real x_buffer[kBlock];
    const Real* left = read_chunk<Real>(isa, x, p.dtype, chunk, x_buffer);
    double* to = &sums[pieces > 1 ? chunk.number : chunk.row];
    if (x == y) return leaf<Real>(isa).rows.dot(left, left, chunk.rows, chunk.length, to);
    alignas(64) Real y_buffer[kBlock];
    const Real* right = read_chunk<Real>(isa, y, p.dtype, chunk, y_buffer);
    leaf<Real>(isa).rows.dot(left, right, chunk.rows, chunk.length, to);
  });
  if (pieces == 1) return sums;
  for (std::int64_t i = 0; i < p.rows.count; ++i) {
    double total = 0;
    for (std::int64_t k = 0; k < pieces; ++k) total += sums[i * pieces + k];
    sums[i] = total;  // in front of what is still to be read
  }
  sums.resize(static_cast<std::size_t>(p.rows.count));
  return sums;
}

}  // namespace

void penalty(const Penalty& p, const void* x, void* norms, Scalar out, int threads) {
  with_real(p.dtype, [&](auto zero) {
    using Real = decltype(zero);
    const std::vector<double> squares = dots<Real>(p, x, x, threads);
    double total = 0;
    for (std::int64_t i = 0; i < p.rows.count; ++i) {
      const double r = std::sqrt(squares[i]);
      static_cast<Real*>(norms)[i] = static_cast<Real>(r);
      total += excess(p, r) * excess(p, r);
    }
    write_scalar(share(p) * total, out);
  });
}

void penalty_gradient(const Penalty& p, const void* x, const void* norms, Scalar grad, void* out,
                      int threads) {
  const Isa& isa = *current_isa();
  const double twice = 2 * share(p) * read_scalar(grad);
  with_real(p.dtype, [&](auto zero) {
    using Real = decltype(zero);
    const Real* r = static_cast<const Real*>(norms);
    std::vector<Real> factor(static_cast<std::size_t>(p.rows.count));
    for (std::size_t i = 0; i < factor.size(); ++i) factor[i] = static_cast<Real>(twice * slope(p, r[i]));
    for_each_chunk(p.rows, threads, [&](const Chunk& chunk) {
      alignas(64) Real buffer[kBlock];
      const Real* from = read_chunk<Real>(isa, x, p.dtype, chunk, buffer);
      write_chunk<Real>(isa, out, p.dtype, p.rows, chunk, [&](Real* to) {
        leaf<Real>(isa).rows.scale(from, &factor[chunk.row], chunk.rows, chunk.length, to);
      });
    });
  });
}

void penalty_second_order(const Penalty& p, const void* x, const void* norms, Scalar grad, const void* v,
                          Scalar of_grad, void* of_x, int threads) {
  const Isa& isa = *current_isa();
  const double twice = 2 * share(p);
  const double scale = twice * read_scalar(grad);
  with_real(p.dtype, [&](auto zero) {
    using Real = decltype(zero);
    const Real* r = static_cast<const Real*>(norms);
    const std::vector<double> inner = dots<Real>(p, v, x, threads);
    std::vector<Real> of_v(inner.size()), of_itself(inner.size());
    double total = 0;
    for (std::int64_t i = 0; i < p.rows.count; ++i) {
      total += slope(p, r[i]) * inner[i];
      of_v[i] = static_cast<Real>(scale * slope(p, r[i]));
      of_itself[i] = static_cast<Real>(scale * curvature(p, r[i]) * inner[i]);
    }
    write_scalar(twice * total, of_grad);
    for_each_chunk(p.rows, threads, [&](const Chunk& chunk) {
      alignas(64) Real v_buffer[kBlock];
      alignas(64) Real x_buffer[kBlock];
      const Real* direction = read_chunk<Real>(isa, v, p.dtype, chunk, v_buffer);
      const Real* from = read_chunk<Real>(isa, x, p.dtype, chunk, x_buffer);
      write_chunk<Real>(isa, of_x, p.dtype, p.rows, chunk, [&](Real* to) {
        leaf<Real>(isa).rows.blend(direction, from, &of_v[chunk.row], &of_itself[chunk.row], chunk.rows,
                                   chunk.length, to);
      });
    });
  });
}

}  // namespace ganfast
