// The loops of leaf.h; included by leaf_body.h, so compiled for the instruction set of each simd_*.cpp.
#pragma once

#include "leaf.h"
#include "simd.h"

namespace ganfast {
namespace {

// d(e) and scale * d'(e) of e = fake - real, for a vector or for one number. Where |e| has a kink, its slope is 0.
template <Distance kDistance, class T>
static inline T distance_of(T e) {
  return kDistance == kL2 ? e * e : e < T{} ? -e : e;
}

template <Distance kDistance, class T>
static inline T distance_slope_of(T e, T scale) {
  if (kDistance == kL2) return (e + e) * scale;
  return e > T{} ? scale : e < T{} ? -scale : e * scale;  // a NaN stays one
}

template <Distance kDistance, class Real>
static double distance_sum(const Real* fake, const Real* real, std::int64_t n) {
  using V = Vector<Real>;
  constexpr int lanes = kLanes<Real>;
  // Four sums, so that one addition need not wait for the one before.
  V sums[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes)
    for (int k = 0; k < 4; ++k)
      sums[k] += distance_of<kDistance>(load<V>(fake + i + k * lanes) - load<V>(real + i + k * lanes));
  const V all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = 0;
  for (int k = 0; k < lanes; ++k) total += all[k];
  for (; i < n; ++i) total += distance_of<kDistance>(fake[i] - real[i]);
  return total;
}

template <Distance kDistance, class Real>
static void distance_slope(const Real* fake, const Real* real, Real scale, Real* out, std::int64_t n) {
  using V = Vector<Real>;
  constexpr int lanes = kLanes<Real>;
  const V scales = V{} + scale;
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    store(out + i, distance_slope_of<kDistance>(load<V>(fake + i) - load<V>(real + i), scales));
  for (; i < n; ++i) out[i] = distance_slope_of<kDistance>(fake[i] - real[i], scale);
}

template <Distance kDistance, class Real>
constexpr DistanceLoops<Real> distance_loops() {
  return {distance_sum<kDistance, Real>, distance_slope<kDistance, Real>};
}

}  // namespace
}  // namespace ganfast
