// The loops of leaf.h, compiled by each simd_*.cpp for its instruction set.
#pragma once

#include <cmath>

#include "leaf.h"
#include "simd.h"

namespace ganfast {
namespace {

template <class T>
struct OptimArithmetic : SimdArithmetic<T> {
  using Real = Vector<T>;
  static inline Real sqrt(Real x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return (Real)_mm512_sqrt_ps((__m512)x);
    else
      return (Real)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return (Real)_mm256_sqrt_ps((__m256)x);
    else
      return (Real)_mm256_sqrt_pd((__m256d)x);
#elif defined(__SSE2__)
    if constexpr (sizeof(T) == 4)
      return (Real)_mm_sqrt_ps((__m128)x);
    else
      return (Real)_mm_sqrt_pd((__m128d)x);
#else
    for (int k = 0; k < kLanes<T>; ++k) x[k] = std::sqrt(x[k]);
    return x;
#endif
  }
};

// Runs body(vectors of the arrays in kUsed) over n elements; what is in kWritten is stored. The last vector is
// padded, so an element's result does not depend on where a block ends.
template <unsigned kUsed, unsigned kWritten, class T, class Body>
static inline void for_each_weight(T* const* at, std::int64_t n, Body body) {
  using V = Vector<T>;
  constexpr int lanes = kLanes<T>;
  V x[kArrays];
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (int a = 0; a < kArrays; ++a)
      if (kUsed >> a & 1) x[a] = load<V>(at[a] + i);
    body(x);
    for (int a = 0; a < kArrays; ++a)
      if (kWritten >> a & 1) store(at[a] + i, x[a]);
  }
  if (i < n) {
    const std::size_t bytes = static_cast<std::size_t>(n - i) * sizeof(T);
    for (int a = 0; a < kArrays; ++a)
      if (kUsed >> a & 1) {
        x[a] = V{};
        std::memcpy(&x[a], at[a] + i, bytes);
      }
    body(x);
    for (int a = 0; a < kArrays; ++a)
      if (kWritten >> a & 1) std::memcpy(at[a] + i, &x[a], bytes);
  }
}

constexpr unsigned bit(int array) { return 1u << array; }

template <class T, bool kCentered, bool kMomentum>
static void rmsprop_loop(const optim::Rmsprop& given, T* const* at, std::int64_t n) {
  const auto s = optim::RmspropScalars<OptimArithmetic<T>>::of(given);
  constexpr unsigned kWritten = bit(kParam) | bit(kState) | (kCentered ? bit(kState + 1) : 0) |
                                (kMomentum ? bit(kState + 2) : 0);
  for_each_weight<kWritten | bit(kGrad), kWritten>(at, n, [&s](Vector<T>* x) {
    optim::rmsprop<OptimArithmetic<T>, kCentered, kMomentum>(s, x[kParam], x[kGrad], x[kState],
                                                             x[kState + 1], x[kState + 2]);
  });
}

template <class T, bool kAmsgrad>
static void adam_loop(const optim::Adam& given, T* const* at, std::int64_t n) {
  const auto s = optim::AdamScalars<OptimArithmetic<T>>::of(given);
  constexpr unsigned kWritten =
      bit(kParam) | bit(kState) | bit(kState + 1) | (kAmsgrad ? bit(kState + 2) : 0);
  for_each_weight<kWritten | bit(kGrad), kWritten>(at, n, [&s](Vector<T>* x) {
    optim::adam<OptimArithmetic<T>, kAmsgrad>(s, x[kParam], x[kGrad], x[kState], x[kState + 1],
                                              x[kState + 2]);
  });
}

template <class T>
static void clip_loop(T bound, T* x, std::int64_t n) {
  using A = OptimArithmetic<T>;
  const typename A::Real limit = typename A::Real{} + bound;
  for_each_weight<bit(kParam), bit(kParam)>(
      &x, n, [limit](Vector<T>* v) { v[kParam] = optim::clip<A>(limit, v[kParam]); });
}

template <class T>
static std::int64_t count_at_loop(T bound, const T* x, std::int64_t n) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < n; ++i) count += (x[i] == bound) | (x[i] == -bound);
  return count;
}

template <class T>
static void scale_loop(T factor, T* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}

template <class T>
constexpr OptimLoops<T> optim_loops() {
  return {{{rmsprop_loop<T, false, false>, rmsprop_loop<T, false, true>},
           {rmsprop_loop<T, true, false>, rmsprop_loop<T, true, true>}},
          {adam_loop<T, false>, adam_loop<T, true>},
          clip_loop<T>,
          count_at_loop<T>,
          scale_loop<T>};
}

}  // namespace
}  // namespace ganfast
