// The loops of leaf.h, compiled by each simd_*.cpp for its instruction set.
#pragma once

#include <type_traits>

#include "leaf.h"
#include "simd.h"

namespace ganfast {
namespace {

// Calls body(first) for vectors that cover n elements; the last overlaps the one before. False if n is less
// than a vector.
template <class Body>
static inline bool cover(std::int64_t n, std::int64_t lanes, Body body) {
  if (n < lanes) return false;
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(i);
  if (i < n) body(n - lanes);
  return true;
}

// kTaps is 0 where only the caller knows how many there are.
template <int kTaps, class Row, class Vectors, class Finish>
static inline void blend(const Row* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                         float* out, Vectors vector_at, Finish finish) {
  using V = Vector<float>;
  if constexpr (kTaps != 0) taps = kTaps;
  const bool done = cover(n, kLanes<float>, [&](std::int64_t i) {
    V sum = weights[0] * vector_at(rows[0] + i);
    for (std::int64_t k = 1; k < taps; ++k) sum += weights[k] * vector_at(rows[k] + i);
    store(out + i, finish(sum));
  });
  if (done) return;
  for (std::int64_t i = 0; i < n; ++i) {
    float sum = weights[0] * static_cast<float>(rows[0][i]);
    for (std::int64_t k = 1; k < taps; ++k) sum += weights[k] * static_cast<float>(rows[k][i]);
    out[i] = finish(V{} + sum)[0];
  }
}

// Calls f with the number of taps as a constant where that is a common one: 1 of a row that stays, 2 of the
// bilinear resizes, 4 of an enlarging bicubic one.
template <class F>
static inline void with_taps(std::int64_t taps, F f) {
  if (taps == 1) return f(std::integral_constant<int, 1>{});
  if (taps == 2) return f(std::integral_constant<int, 2>{});
  if (taps == 4) return f(std::integral_constant<int, 4>{});
  f(std::integral_constant<int, 0>{});
}

static inline Vector<float> load_bytes(const std::uint8_t* from) {
  Vector<std::int32_t> v;
#if defined(__AVX512F__)
  // Masked, because GCC 12 warns of its own unmasked one.
  v = (Vector<std::int32_t>)_mm512_maskz_cvtepu8_epi32(0xFFFF, _mm_loadu_si128((const __m128i*)from));
#elif defined(__AVX2__)
  v = (Vector<std::int32_t>)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
#elif defined(__SSE4_1__)
  v = (Vector<std::int32_t>)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(load<int>(from)));
#else
  for (int i = 0; i < kLanes<float>; ++i) v[i] = from[i];
#endif
  return __builtin_convertvector(v, Vector<float>);
}

static void blend_bytes(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                        float* out) {
  with_taps(taps, [&](auto constant) {
    blend<decltype(constant)::value>(rows, weights, taps, n, out, load_bytes,
                                     [](Vector<float> v) { return v; });
  });
}

static void blend_rows(const float* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                       const PixelScale& scale, float* out) {
  using V = Vector<float>;
  using A = SimdArithmetic<float>;
  const V low = V{} + scale.low, high = V{} + scale.high, shift = V{} + scale.shift;
  const float factor = scale.scale;
  with_taps(taps, [&](auto constant) {
    blend<decltype(constant)::value>(rows, weights, taps, n, out, load<V, float>, [&](V v) {
      return factor * A::at_most(high, A::at_least(low, v)) + shift;
    });
  });
}

// A pixel and the first channel of the next one.
using Pixel __attribute__((vector_size(16))) = float;

template <int kTaps>
static void across_taps(const float* row, const std::int32_t* starts, const float* weights, std::int64_t taps,
                        std::int64_t n, float* out) {
  if constexpr (kTaps != 0) taps = kTaps;
  for (std::int64_t i = 0; i < n; ++i, weights += taps) {
    const float* from = row + 3 * static_cast<std::int64_t>(starts[i]);
    Pixel sum = weights[0] * load<Pixel>(from);
    for (std::int64_t k = 1; k < taps; ++k) sum += weights[k] * load<Pixel>(from + 3 * k);
    store(out + 3 * i, sum);
  }
}

static void across(const float* row, const std::int32_t* starts, const float* weights, std::int64_t taps,
                   std::int64_t n, float* out) {
  with_taps(taps, [&](auto constant) {
    across_taps<decltype(constant)::value>(row, starts, weights, taps, n, out);
  });
}

static void interleave(const float* planes, std::int64_t stride, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; ++i)
    for (int c = 0; c < 3; ++c) out[3 * i + c] = planes[c * stride + i];
}

constexpr ResizeLoops resize_loops() { return {blend_bytes, blend_rows, across, interleave}; }

}  // namespace
}  // namespace ganfast
