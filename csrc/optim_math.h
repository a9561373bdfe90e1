// The updates of RMSprop and Adam for one weight, and the clip: the one place of these formulas for C++ and
// CUDA. They are torch.optim's, which ganfast/reference/optim.py calls the specification.
//
// Each is a template over an Arithmetic A, as in gan_math.h, that has
//   A::Real, A::real(double), A::sqrt(Real)
//   A::at_least(bound, x), A::at_most(bound, x)   the larger (smaller) of both; x if it is NaN
//
// What must move through memory for one float32 weight, and so the limit of a step:
//   clip      read p, write p                              8 bytes
//   RMSprop   read p, g, v, write p, v                    20 bytes; centered or momentum: 8 more each
//   Adam      read p, g, m, v, write p, m, v              28 bytes; amsgrad: 8 more
#pragma once

#ifdef __CUDACC_RTC__
namespace std {  // NVRTC knows it without a header, but in the global namespace alone
using ::sqrt;
}  // namespace std
#else
#include <cmath>
#endif

#if defined(__CUDACC__)
#define OPTIM_FN __host__ __device__ static inline
#else
#define OPTIM_FN static inline
#endif

namespace optim {

// What is the same for all weights of a tensor. `bound` is infinite where nothing is clipped.
struct Common {
  double lr;
  double eps;
  double weight_decay;
  double bound;
  double gradient_scale;  // -1 to maximize; 1/scale under a GradScaler
};

struct Rmsprop {
  Common common;
  double alpha;
  double momentum;
};

struct Adam {
  Common common;
  double beta1;
  double beta2;
  double correction1;  // 1 - beta1^t
  double correction2;  // 1 - beta2^t
  bool decoupled;      // AdamW's weight decay
};

namespace {  // not shared between translation units, which are compiled for different instruction sets

template <class T>
struct ScalarArithmetic {
  using Real = T;
  OPTIM_FN Real real(double value) { return static_cast<Real>(value); }
  OPTIM_FN Real sqrt(Real x) {
    using std::sqrt;
    return sqrt(x);
  }
  OPTIM_FN Real at_least(Real bound, Real x) { return x < bound ? bound : x; }
  OPTIM_FN Real at_most(Real bound, Real x) { return x > bound ? bound : x; }
};

// x brought into [-bound, bound]; NaN stays NaN.
template <class A>
OPTIM_FN typename A::Real clip(typename A::Real bound, typename A::Real x) {
  return A::at_most(bound, A::at_least(-bound, x));
}

// The way from a to b, `weight` of it, exact at both ends: Adam with beta1 = 0 takes the gradient itself.
template <class A>
OPTIM_FN typename A::Real between(typename A::Real a, typename A::Real b, double weight) {
  return weight < 0.5 ? a + A::real(weight) * (b - a) : b - (b - a) * A::real(1 - weight);
}

// The gradient that counts: scaled, with the decay's share.
template <class A>
OPTIM_FN typename A::Real gradient(const Common& c, typename A::Real g, typename A::Real p, bool decays) {
  g = A::real(c.gradient_scale) * g;
  return decays ? g + A::real(c.weight_decay) * p : g;
}

// p, v, mean and buffer are changed; mean only if kCentered, buffer only if kMomentum.
template <class A, bool kCentered, bool kMomentum>
OPTIM_FN void rmsprop(const Rmsprop& o, typename A::Real& p, typename A::Real g, typename A::Real& v,
                      typename A::Real& mean, typename A::Real& buffer) {
  using Real = typename A::Real;
  g = gradient<A>(o.common, g, p, o.common.weight_decay != 0);
  v = A::real(o.alpha) * v + A::real(1 - o.alpha) * g * g;
  Real variance = v;
  if (kCentered) {
    mean = between<A>(mean, g, 1 - o.alpha);
    variance = A::at_least(A::real(0), v - mean * mean);  // rounding alone can make it negative
  }
  const Real root = A::sqrt(variance) + A::real(o.common.eps);
  if (kMomentum) {
    buffer = A::real(o.momentum) * buffer + g / root;
    p = p - A::real(o.common.lr) * buffer;
  } else {
    p = p - A::real(o.common.lr) * (g / root);
  }
  p = clip<A>(A::real(o.common.bound), p);
}

// p, m, v and top are changed; top, the largest v so far, only if kAmsgrad.
template <class A, bool kAmsgrad>
OPTIM_FN void adam(const Adam& o, typename A::Real& p, typename A::Real g, typename A::Real& m,
                   typename A::Real& v, typename A::Real& top) {
  using Real = typename A::Real;
  const bool decays = o.common.weight_decay != 0;
  if (decays && o.decoupled) p = A::real(1 - o.common.lr * o.common.weight_decay) * p;
  g = gradient<A>(o.common, g, p, decays && !o.decoupled);
  m = between<A>(m, g, 1 - o.beta1);
  v = A::real(o.beta2) * v + A::real(1 - o.beta2) * g * g;
  Real largest = v;
  if (kAmsgrad) top = largest = A::at_least(top, v);
  const Real root = A::sqrt(largest) * A::real(1 / std::sqrt(o.correction2)) + A::real(o.common.eps);
  p = p - A::real(o.common.lr / o.correction1) * (m / root);
  p = clip<A>(A::real(o.common.bound), p);
}

}  // namespace
}  // namespace optim
