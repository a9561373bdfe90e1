// The loops of leaf.h, compiled by each simd_*.cpp for its instruction set. Everything is in an unnamed
// namespace but the table that the including file defines.
#pragma once

#include "half_bits.h"
#include "leaf.h"
#include "leaf_distance_body.h"
#include "leaf_matrix_body.h"
#include "leaf_optim_body.h"
#include "leaf_resize_body.h"
#include "leaf_rows_body.h"
#include "leaf_syrk_body.h"
#include "simd.h"

namespace ganfast {
namespace {

// Runs `body(vector of x, vector of t, first lane, lanes in use)` over n elements; the last vector is padded.
template <class Real, Targets kTargets, class Body>
static inline void for_each_vector(const Real* x, const Real* t, std::int64_t n, Body body) {
  using V = Vector<Real>;
  constexpr int lanes = kLanes<Real>;
  V tv = V{} + t[0];
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    if constexpr (kTargets == kEachTarget) tv = load<V>(t + i);
    body(load<V>(x + i), tv, i, lanes);
  }
  if (i < n) {
    Real padded[lanes] = {};
    std::memcpy(padded, x + i, static_cast<std::size_t>(n - i) * sizeof(Real));
    if constexpr (kTargets == kEachTarget) {
      Real padded_t[lanes] = {};
      std::memcpy(padded_t, t + i, static_cast<std::size_t>(n - i) * sizeof(Real));
      tv = load<V>(padded_t);
    }
    body(load<V>(padded), tv, i, static_cast<int>(n - i));
  }
}

template <class V, class Real>
static inline void store_lanes(Real* out, V v, std::int64_t at, int lanes) {
  if (lanes == kLanes<Real>)
    store(out + at, v);
  else
    std::memcpy(out + at, &v, static_cast<std::size_t>(lanes) * sizeof(Real));
}

template <class F, class Real, Targets kTargets>
static double phi_sum(const Real* x, const Real* t, std::int64_t n) {
  using V = Vector<Real>;
  constexpr int lanes = kLanes<Real>;
  // Four sums, so that one addition need not wait for the one before.
  V sums[4] = {};
  V tv = V{} + t[0];
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes)
    for (int k = 0; k < 4; ++k) {
      if constexpr (kTargets == kEachTarget) tv = load<V>(t + i + k * lanes);
      sums[k] += F::value(load<V>(x + i + k * lanes), tv);
    }
  const Real* rest_t = kTargets == kEachTarget ? t + i : t;
  double tail = 0;
  for_each_vector<Real, kTargets>(x + i, rest_t, n - i, [&](V xv, V tv_, std::int64_t, int used) {
    const V v = F::value(xv, tv_);
    for (int k = 0; k < used; ++k) tail += v[k];
  });
  const V all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = 0;
  for (int k = 0; k < lanes; ++k) total += all[k];
  return total + tail;
}

template <class F, class Real, Targets kTargets>
static void phi_value(const Real* x, const Real* t, Real* out, std::int64_t n) {
  using V = Vector<Real>;
  for_each_vector<Real, kTargets>(x, t, n, [&](V xv, V tv, std::int64_t at, int used) {
    store_lanes(out, F::value(xv, tv), at, used);
  });
}

template <class F, class Real, Targets kTargets>
static void phi_slope(const Real* x, const Real* t, Real scale, Real* out, std::int64_t n) {
  using V = Vector<Real>;
  for_each_vector<Real, kTargets>(x, t, n, [&](V xv, V tv, std::int64_t at, int used) {
    store_lanes(out, F::slope(xv, tv) * scale, at, used);
  });
}

template <class Real>
static void multiply(const Real* factor, Real* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] *= factor[i];
}

// ---- Philox4x32-10 (see ganfast/_philox.py), one 32-bit word in each 64-bit lane -----------------------

using Words = Vector<std::uint64_t>;
constexpr int kPairs = kLanes<std::uint64_t>;

static inline Words multiply32(Words a, std::uint64_t b) {
#if defined(__AVX512F__)
  return (Words)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(static_cast<long long>(b)));
#elif defined(__AVX2__)
  return (Words)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(static_cast<long long>(b)));
#elif defined(__SSE2__)
  return (Words)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(static_cast<long long>(b)));
#else
  return a * b;
#endif
}

static inline void philox(std::uint64_t key, std::uint32_t stream, Words counter, Words word[4]) {
  constexpr std::uint64_t kMask = 0xFFFFFFFFu;
  Words c0 = counter & kMask, c1 = counter >> 32, c2 = Words{} + stream, c3 = Words{};
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const Words a = multiply32(c0, 0xD2511F53u), b = multiply32(c2, 0xCD9E8D57u);
    c0 = (b >> 32) ^ c1 ^ static_cast<std::uint64_t>(k0);
    c2 = (a >> 32) ^ c3 ^ static_cast<std::uint64_t>(k1);
    c1 = b & kMask;
    c3 = a & kMask;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  word[0] = c0, word[1] = c1, word[2] = c2, word[3] = c3;
}

template <class T>
using PerPair __attribute__((vector_size(kPairs * sizeof(T)))) = T;

// The targets of one element of each pair, from its two words.
template <class Real>
static inline PerPair<Real> noisy_target(const Noise& noise, Real straight, Words flip, Words spread) {
  // 24 bits each: exact in every Real. Through int32, which every instruction set converts.
  const auto uniform = [](Words word) {
    const auto bits24 = __builtin_convertvector(word >> 8, PerPair<std::int32_t>);
    return __builtin_convertvector(bits24, PerPair<Real>) * static_cast<Real>(1.0 / 16777216.0);
  };
  const PerPair<Real> unmoved = PerPair<Real>{} + straight;
  const PerPair<Real> target =
      uniform(flip) < static_cast<Real>(noise.flip) ? Real(1) - unmoved : unmoved;
  return target + static_cast<Real>(noise.noise) * (Real(2) * uniform(spread) - Real(1));
}

template <class Real>
static void noisy_targets(const Noise& noise, double target, std::int64_t first, Real* out,
                          std::int64_t n) {
  const Real straight = static_cast<Real>(target);
  Words ramp;
  for (int k = 0; k < kPairs; ++k) ramp[k] = static_cast<std::uint64_t>(k);
  for (std::int64_t i = 0; i < n; i += 2 * kPairs) {
    Words word[4];
    philox(noise.key, noise.stream, ramp + static_cast<std::uint64_t>((first + i) / 2), word);
    const PerPair<Real> even = noisy_target<Real>(noise, straight, word[0], word[1]);
    const PerPair<Real> odd = noisy_target<Real>(noise, straight, word[2], word[3]);
    Real made[2 * kPairs];
    for (int k = 0; k < kPairs; ++k) made[2 * k] = even[k], made[2 * k + 1] = odd[k];
    const std::int64_t left = n - i < 2 * kPairs ? n - i : 2 * kPairs;
    std::memcpy(out + i, made, static_cast<std::size_t>(left) * sizeof(Real));
  }
}

// ---- half precision ------------------------------------------------------------------------------------

static void from_half(const std::uint16_t* x, float* out, std::int64_t n) {
  std::int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16)
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)(x + i))));
#elif defined(__F16C__)
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(x + i))));
#endif
  for (; i < n; ++i) out[i] = half_bits::half_to_float(x[i]);
}

static void to_half(const float* x, std::uint16_t* out, std::int64_t n) {
  std::int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16)
    _mm256_storeu_si256((__m256i*)(out + i), _mm512_cvtps_ph(_mm512_loadu_ps(x + i), 0));
#elif defined(__F16C__)
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128((__m128i*)(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
#endif
  for (; i < n; ++i) out[i] = half_bits::float_to_half(x[i]);
}

static void from_bfloat(const std::uint16_t* x, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = half_bits::bfloat_to_float(x[i]);
}

static void to_bfloat(const float* x, std::uint16_t* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = half_bits::float_to_bfloat(x[i]);
}

static void residual(const double* x, const double* rows, std::int64_t stride, const double* weight,
                     std::int64_t count, double scale, double* out, std::int64_t n) {
  using V = Vector<double>;
  constexpr int lanes = kLanes<double>;
  constexpr int kAtOnce = 8;  // vectors: enough sums in flight that none waits for the one before
  std::int64_t i = 0;
  for (; i + kAtOnce * lanes <= n; i += kAtOnce * lanes) {
    V sums[kAtOnce] = {};
    for (std::int64_t j = 0; j < count; ++j)
      for (int k = 0; k < kAtOnce; ++k) sums[k] += weight[j] * load<V>(rows + j * stride + i + k * lanes);
    for (int k = 0; k < kAtOnce; ++k)
      store(out + i + k * lanes, scale * (load<V>(x + i + k * lanes) - sums[k]));
  }
  for (; i < n; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < count; ++j) sum += weight[j] * rows[j * stride + i];
    out[i] = scale * (x[i] - sum);
  }
}

// ---- the tables ----------------------------------------------------------------------------------------

template <class F, class Real, Targets kTargets>
constexpr PhiLoops<Real> loops() {
  return {phi_sum<F, Real, kTargets>, phi_value<F, Real, kTargets>, phi_slope<F, Real, kTargets>};
}

template <template <class> class F, class Real>
constexpr void fill(PhiLoops<Real> (&row)[2]) {
  row[kOneTarget] = loops<F<SimdArithmetic<Real>>, Real, kOneTarget>();
  row[kEachTarget] = loops<F<SimdArithmetic<Real>>, Real, kEachTarget>();
}

template <class Real>
constexpr Leaf<Real> leaf() {
  Leaf<Real> table{};
#define GAN_FILL(Phi) fill<gan::Phi>(table.phi[gan::k##Phi]);
  GAN_PHIS(GAN_FILL)
#undef GAN_FILL
  table.targets = noisy_targets<Real>;
  table.multiply = multiply<Real>;
  table.rows = row_loops<Real>();
  table.distance[kL1] = distance_loops<kL1, Real>();
  table.distance[kL2] = distance_loops<kL2, Real>();
  table.optim = optim_loops<Real>();
  return table;
}

constexpr Isa isa(const char* name) {
  return {name,     leaf<float>(), leaf<double>(), from_half,     to_half,       from_bfloat,
          to_bfloat, residual,      kMatrixLoops,   syrk_loops(), resize_loops()};
}

}  // namespace
}  // namespace ganfast
