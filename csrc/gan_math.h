// The scalar functions of every game: phi(x, t) of a logit x and a target t, with its derivative in
// x. The one place of these formulas for C++ and CUDA; ganfast/games.py says which game uses which,
// ganfast/reference specifies them in PyTorch.
//
// Each is a template over an Arithmetic A, so that the same text serves a double, a GPU register and a SIMD
// vector:
//   A::Real             what is computed with; comparison and ?: work on it, lane by lane for a vector
//   A::real(double)     a constant
//   A::abs(Real), A::exp(Real)
//   A::log1p_unit(Real) log(1 + e) for e in [0, 1]
#pragma once

#ifdef __CUDACC_RTC__
namespace std {  // NVRTC knows them without a header, but in the global namespace alone
using ::exp;
using ::log1p;
}  // namespace std
#else
#include <cmath>
#endif

#if defined(__CUDACC__)
#define GAN_FN __host__ __device__ static inline
#else
#define GAN_FN static inline
#endif

namespace gan {

// The families of games.PHIS, in the same order: the classes below.
#define GAN_PHIS(X)         \
  X(CrossEntropy)           \
  X(NegativeCrossEntropy)   \
  X(Linear)                 \
  X(Hinge)                  \
  X(HalfSquare)             \
  X(NegativeExponential)

#define GAN_NUMBER(Phi) k##Phi,
enum Phi { GAN_PHIS(GAN_NUMBER) kPhis };
#undef GAN_NUMBER

namespace {  // not shared between translation units, which are compiled for different instruction sets

template <class T>
struct ScalarArithmetic {
  using Real = T;
  GAN_FN Real real(double value) { return static_cast<Real>(value); }
  GAN_FN Real abs(Real x) { return x < 0 ? -x : x; }
  GAN_FN Real exp(Real x) {
    using std::exp;
    return exp(x);
  }
  GAN_FN Real log1p_unit(Real e) {
    using std::log1p;
    return log1p(e);
  }
};

// softplus(x) - t*x. With e = exp(-|x|) it is slope*x + log(1 + e), slope = 1 - t right of 0 and -t left of
// it: nothing overflows, and a slope of 0 stays 0 at infinity.
template <class A>
struct CrossEntropy {
  using Real = typename A::Real;

  GAN_FN Real value(Real x, Real t) {
    const Real slope = x >= A::real(0) ? A::real(1) - t : -t;
    const Real linear = slope == A::real(0) ? A::real(0) : slope * x;
    return linear + A::log1p_unit(A::exp(-A::abs(x)));
  }

  // sigmoid(x) - t through q = sigmoid(-|x|), which keeps its digits in both tails.
  GAN_FN Real slope(Real x, Real t) {
    const Real e = A::exp(-A::abs(x));
    const Real q = e / (A::real(1) + e);
    return x >= A::real(0) ? (A::real(1) - t) - q : q - t;
  }
};

template <class A>
struct NegativeCrossEntropy {
  using Real = typename A::Real;
  GAN_FN Real value(Real x, Real t) { return -CrossEntropy<A>::value(x, t); }
  GAN_FN Real slope(Real x, Real t) { return -CrossEntropy<A>::slope(x, t); }
};

// (1 - 2t)*x: the critic's score, -x for a real sample and x for a fake one.
template <class A>
struct Linear {
  using Real = typename A::Real;
  GAN_FN Real sign(Real t) { return A::real(1) - (t + t); }
  GAN_FN Real value(Real x, Real t) { return sign(t) * x; }
  GAN_FN Real slope(Real, Real t) { return sign(t); }
};

// max(0, 1 + (1 - 2t)*x); the derivative at the kink is 0, as that of torch's relu. The comparison is
// written so that a NaN falls through to the margin, and comes out.
template <class A>
struct Hinge {
  using Real = typename A::Real;
  GAN_FN Real margin(Real x, Real t) { return A::real(1) + Linear<A>::sign(t) * x; }
  GAN_FN Real value(Real x, Real t) {
    const Real m = margin(x, t);
    return m <= A::real(0) ? A::real(0) : m;
  }
  GAN_FN Real slope(Real x, Real t) {
    return margin(x, t) <= A::real(0) ? A::real(0) : Linear<A>::sign(t);
  }
};

// (x - t)^2 / 2
template <class A>
struct HalfSquare {
  using Real = typename A::Real;
  GAN_FN Real value(Real x, Real t) {
    const Real d = x - t;
    return A::real(0.5) * (d * d);
  }
  GAN_FN Real slope(Real x, Real t) { return x - t; }
};

// -exp(x) = -D/(1 - D) for D = sigmoid(x); the target plays no part.
template <class A>
struct NegativeExponential {
  using Real = typename A::Real;
  GAN_FN Real value(Real x, Real) { return -A::exp(x); }
  GAN_FN Real slope(Real x, Real) { return -A::exp(x); }
};

}  // namespace
}  // namespace gan
