// SIMD vectors and the arithmetic of gan_math.h on them, for whatever instruction set the including file is
// compiled for. Written in the vector extension of GCC and Clang; nothing here has external linkage, so the
// linker can't mix the code of two instruction sets.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own AVX-512 header, once inlined
#endif
#include <immintrin.h>
#endif

namespace ganfast {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
using Vector __attribute__((vector_size(kVectorBytes))) = T;

template <class Real>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Real));

template <class V, class T>
static inline V load(const T* from) {
  V v;
  std::memcpy(&v, from, sizeof(V));
  return v;
}

template <class V, class T>
static inline void store(T* to, V v) {
  std::memcpy(to, &v, sizeof(V));
}

template <class To, class From>
static inline To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "a reinterpretation keeps the size");
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

// What exp needs to know of a floating point format.
template <class Real>
struct Format;

template <>
struct Format<float> {
  using Int = std::int32_t;
  static constexpr int kMantissaBits = 23;
  static constexpr int kBias = 127;
  // Adding and subtracting 1.5 * 2^23 rounds to an integer.
  static constexpr float kRound = 12582912.0f;
  // Below the first exp rounds to 0; above the second it is inf.
  static constexpr float kLowest = -104.0f, kHighest = 89.0f;
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
};

template <>
struct Format<double> {
  using Int = std::int64_t;
  static constexpr int kMantissaBits = 52;
  static constexpr int kBias = 1023;
  static constexpr double kRound = 6755399441055744.0;
  static constexpr double kLowest = -746.0, kHighest = 710.0;
  static constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
};

// Coefficients c_0, c_1, ...: interpolation at Chebyshev nodes, so within a factor of 2 of the best.
// exp(r) = 1 + r + r^2 * sum c_i r^i for |r| <= ln(2)/2: relative error 9.9e-9 in float, 2.1e-19 in double.
constexpr float kExpFloat[] = {0.5f, 0.16666576666119928f, 0.041666554212984150f, 0.0083632328836826182f,
                               0.0013926250831497612f};
constexpr double kExpDouble[] = {
    0.5,                     0.1666666666666667103,    0.041666666666666669783,  0.0083333333333260831202,
    0.0013888888888883711167, 0.00019841269875002278793, 0.0000248015873256774619, 2.7557255170000887438e-6,
    2.7557273478718580474e-7, 2.5105312729622101787e-8,  2.09147553258932022e-9};
// atanh(s) = s + s^3 * sum c_i s^(2i) for 0 <= s <= 1/3: relative error 4.0e-10 in float, 1.4e-19 in double.
constexpr float kAtanhFloat[] = {0.33333333660263706f, 0.19999853165964859f, 0.14296178997151419f,
                                 0.10853287900440186f, 0.11612164612011675f};
constexpr double kAtanhDouble[] = {
    0.33333333333333333443, 0.19999999999999761253, 0.14285714285800049646, 0.11111111099118385279,
    0.090909099489813571913, 0.076922719824302746434, 0.066675893157246279183, 0.0586713953065159873,
    0.05422589197440007411, 0.037460718977753836504, 0.078152889004614252231};

template <class V, class C, int N>
static inline V polynomial(V x, const C (&c)[N]) {
  V sum = V{} + c[N - 1];
  for (int i = N - 2; i >= 0; --i) sum = sum * x + c[i];
  return sum;
}

template <class T>
struct SimdArithmetic {
  using Real = Vector<T>;
  using Int = Vector<typename Format<T>::Int>;

  static inline Real real(double value) { return Real{} + static_cast<T>(value); }

  static inline Real abs(Real x) {
    return bits<Real>(bits<Int>(x) & std::numeric_limits<typename Format<T>::Int>::max());
  }

  // The larger (smaller) of bound and x; x if it is NaN. One instruction, where the ternary is two.
  static inline Real at_least(Real bound, Real x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return (Real)_mm512_max_ps((__m512)bound, (__m512)x);
    else
      return (Real)_mm512_max_pd((__m512d)bound, (__m512d)x);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return (Real)_mm256_max_ps((__m256)bound, (__m256)x);
    else
      return (Real)_mm256_max_pd((__m256d)bound, (__m256d)x);
#else
    return x < bound ? bound : x;
#endif
  }
  static inline Real at_most(Real bound, Real x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return (Real)_mm512_min_ps((__m512)bound, (__m512)x);
    else
      return (Real)_mm512_min_pd((__m512d)bound, (__m512d)x);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return (Real)_mm256_min_ps((__m256)bound, (__m256)x);
    else
      return (Real)_mm256_min_pd((__m256d)bound, (__m256d)x);
#else
    return x > bound ? bound : x;
#endif
  }

  // p * 2^n for whole n, rounded once where the result is subnormal.
  static inline Real scale(Real p, Real n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return (Real)_mm512_scalef_ps((__m512)p, (__m512)n);
    else
      return (Real)_mm512_scalef_pd((__m512d)p, (__m512d)n);
#else
    // As two factors, since 2^n itself may be neither finite nor normal where the result is.
    using F = Format<T>;
    const Int k = __builtin_convertvector(n, Int);
    const Int half = k >> 1;
    const Real first = bits<Real>((half + F::kBias) << F::kMantissaBits);
    const Real second = bits<Real>((k - half + F::kBias) << F::kMantissaBits);
    return (p * first) * second;
#endif
  }

  // exp in about one unit in the last place, with gradual underflow, inf and NaN.
  static inline Real exp(Real x) {
    using F = Format<T>;
    x = at_most(real(F::kHighest), at_least(real(F::kLowest), x));
    const Real n = (x * static_cast<T>(1.44269504088896340736) + F::kRound) - F::kRound;
    const Real r = (x - n * F::kLn2High) - n * F::kLn2Low;
    Real p;
    if constexpr (sizeof(T) == 4)
      p = polynomial(r, kExpFloat);
    else
      p = polynomial(r, kExpDouble);
    p = (p * (r * r) + r) + T(1);
    return scale(p, n);
  }

  // log(1 + e) = 2 atanh(e / (2 + e)): no cancellation for small e, no exponent to take apart.
  static inline Real log1p_unit(Real e) {
    const Real s = e / (e + T(2));
    const Real z = s * s;
    Real p;
    if constexpr (sizeof(T) == 4)
      p = polynomial(z, kAtanhFloat);
    else
      p = polynomial(z, kAtanhDouble);
    const Real twice = s + s;
    return (twice * z) * p + twice;
  }
};

}  // namespace
}  // namespace ganfast
