// The loops of leaf.h; included by leaf_body.h, so compiled for the instruction set of each simd_*.cpp.
#pragma once

#include "leaf.h"
#include "simd.h"

namespace ganfast {
namespace {

// Loops that wait for memory, not for arithmetic, take shorter vectors than the instruction set has, two at a
// time. On an AMD Zen 4, 64 bytes were 8 to 15 % slower than 32 from the third-level cache, where a batch of images
// lies; and from memory 32 were 10 to 15 % slower than 16.
constexpr int kNearBytes = kVectorBytes < 32 ? kVectorBytes : 32, kFarBytes = 16;

template <class Real, int kBytes>
using Short __attribute__((vector_size(kBytes))) = Real;

// Rows of `kLength` elements, too short for the vectors of blend_rows: points in the plane.
template <int kLength, class Real>
static void blend_short_rows(const Real* x, const Real* y, const Real* a, const Real* b, std::int64_t rows,
                             Real* out) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (int i = 0; i < kLength; ++i)
      out[r * kLength + i] = a[r] * x[r * kLength + i] + b[r] * y[r * kLength + i];
}

template <class Real, int kBytes>
static void blend_rows(const Real* x, const Real* y, const Real* a, const Real* b, std::int64_t rows,
                       std::int64_t length, Real* out) {
  using V = Short<Real, kBytes>;
  constexpr int lanes = sizeof(V) / sizeof(Real);
  if (length == 1) return blend_short_rows<1>(x, y, a, b, rows, out);
  if (length == 2) return blend_short_rows<2>(x, y, a, b, rows, out);
  for (std::int64_t r = 0; r < rows; ++r, x += length, y += length, out += length) {
    const Real ar = a[r], br = b[r];
    std::int64_t i = 0;
    for (; i + 2 * lanes <= length; i += 2 * lanes) {
      const V first = ar * load<V>(x + i) + br * load<V>(y + i);
      const V second = ar * load<V>(x + i + lanes) + br * load<V>(y + i + lanes);
      store(out + i, first);
      store(out + i + lanes, second);
    }
    for (; i < length; ++i) out[i] = ar * x[i] + br * y[i];
  }
}

template <class Real>
static void scale_rows(const Real* x, const Real* a, std::int64_t rows, std::int64_t length, Real* out) {
  using V = Short<Real, kNearBytes>;
  constexpr int lanes = sizeof(V) / sizeof(Real);
  for (std::int64_t r = 0; r < rows; ++r, x += length, out += length) {
    const Real ar = a[r];
    std::int64_t i = 0;
    for (; i + 2 * lanes <= length; i += 2 * lanes) {
      const V first = ar * load<V>(x + i), second = ar * load<V>(x + i + lanes);
      store(out + i, first);
      store(out + i + lanes, second);
    }
    for (; i < length; ++i) out[i] = ar * x[i];
  }
}

template <class Real>
static void dot_rows(const Real* x, const Real* y, std::int64_t rows, std::int64_t length, double* out) {
  using V = Vector<Real>;
  constexpr int lanes = kLanes<Real>;
  for (std::int64_t r = 0; r < rows; ++r, x += length, y += length) {
    double total = 0;
    std::int64_t i = 0;
    if (length >= lanes) {
      // Four sums, so that one addition need not wait for the one before.
      V sums[4] = {};
      for (; i + 4 * lanes <= length; i += 4 * lanes)
        for (int k = 0; k < 4; ++k) sums[k] += load<V>(x + i + k * lanes) * load<V>(y + i + k * lanes);
      for (; i + lanes <= length; i += lanes) sums[0] += load<V>(x + i) * load<V>(y + i);
      const V all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      for (int k = 0; k < lanes; ++k) total += all[k];
    }
    for (; i < length; ++i) total += static_cast<double>(x[i]) * y[i];
    out[r] = total;
  }
}

template <class Real>
constexpr RowLoops<Real> row_loops() {
  return {blend_rows<Real, kNearBytes>, blend_rows<Real, kFarBytes>, scale_rows<Real>, dot_rows<Real>};
}

}  // namespace
}  // namespace ganfast
