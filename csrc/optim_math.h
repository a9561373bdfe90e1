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

// Options as the formulas want them: each scalar is worked out in double, once for a tensor, and then rounded.
// No constructors: CUDA wants none in shared memory.
template <class A>
struct Scalars {
  typename A::Real gradient_scale, weight_decay, eps, bound;
  bool decays;  // the gradient does, by the weight's share

  OPTIM_FN void set(Scalars& s, const Common& c, bool decays) {
    s.gradient_scale = A::real(c.gradient_scale), s.weight_decay = A::real(c.weight_decay);
    s.eps = A::real(c.eps), s.bound = A::real(c.bound), s.decays = decays;
  }
};

// How much of the way from one number to another.
template <class A>
struct Share {
  typename A::Real part, rest;
  bool small;

  OPTIM_FN Share of(double part) { return {A::real(part), A::real(1 - part), part < 0.5}; }
};

template <class A>
struct RmspropScalars : Scalars<A> {
  typename A::Real lr, alpha, rest, momentum;  // rest: 1 - alpha
  Share<A> to_gradient;

  OPTIM_FN RmspropScalars of(const Rmsprop& o) {
    RmspropScalars s;
    Scalars<A>::set(s, o.common, o.common.weight_decay != 0);
    s.lr = A::real(o.common.lr), s.alpha = A::real(o.alpha), s.rest = A::real(1 - o.alpha);
    s.momentum = A::real(o.momentum), s.to_gradient = Share<A>::of(1 - o.alpha);
    return s;
  }
};

template <class A>
struct AdamScalars : Scalars<A> {
  typename A::Real lr, beta2, rest, scale_of_root, shrink;  // lr / correction1, 1 - beta2, 1 / sqrt(correction2)
  Share<A> to_gradient;
  bool shrinks;

  OPTIM_FN AdamScalars of(const Adam& o) {
    const Common& c = o.common;
    AdamScalars s;
    Scalars<A>::set(s, c, c.weight_decay != 0 && !o.decoupled);
    s.lr = A::real(c.lr / o.correction1), s.scale_of_root = A::real(1 / std::sqrt(o.correction2));
    s.beta2 = A::real(o.beta2), s.rest = A::real(1 - o.beta2), s.to_gradient = Share<A>::of(1 - o.beta1);
    s.shrink = A::real(1 - c.lr * c.weight_decay), s.shrinks = c.weight_decay != 0 && o.decoupled;
    return s;
  }
};

// The way from a to b, a share of it, exact at both ends: Adam with beta1 = 0 takes the gradient itself.
template <class A>
OPTIM_FN typename A::Real between(typename A::Real a, typename A::Real b, const Share<A>& share) {
  return share.small ? a + share.part * (b - a) : b - (b - a) * share.rest;
}

// The gradient that counts: scaled, with the decay's share.
template <class A>
OPTIM_FN typename A::Real gradient(const Scalars<A>& s, typename A::Real g, typename A::Real p) {
  g = s.gradient_scale * g;
  return s.decays ? g + s.weight_decay * p : g;
}

// p, v, mean and buffer are changed; mean only if kCentered, buffer only if kMomentum.
template <class A, bool kCentered, bool kMomentum>
OPTIM_FN void rmsprop(const RmspropScalars<A>& s, typename A::Real& p, typename A::Real g, typename A::Real& v,
                      typename A::Real& mean, typename A::Real& buffer) {
  using Real = typename A::Real;
  g = gradient<A>(s, g, p);
  v = s.alpha * v + s.rest * g * g;
  Real variance = v;
  if (kCentered) {
    mean = between<A>(mean, g, s.to_gradient);
    variance = A::at_least(A::real(0), v - mean * mean);  // rounding alone can make it negative
  }
  const Real root = A::sqrt(variance) + s.eps;
  if (kMomentum) {
    buffer = s.momentum * buffer + g / root;
    p = p - s.lr * buffer;
  } else {
    p = p - s.lr * (g / root);
  }
  p = clip<A>(s.bound, p);
}

// p, m, v and top are changed; top, the largest v so far, only if kAmsgrad.
template <class A, bool kAmsgrad>
OPTIM_FN void adam(const AdamScalars<A>& s, typename A::Real& p, typename A::Real g, typename A::Real& m,
                   typename A::Real& v, typename A::Real& top) {
  using Real = typename A::Real;
  if (s.shrinks) p = s.shrink * p;
  g = gradient<A>(s, g, p);
  m = between<A>(m, g, s.to_gradient);
  v = s.beta2 * v + s.rest * g * g;
  Real largest = v;
  if (kAmsgrad) top = largest = A::at_least(top, v);
  const Real root = A::sqrt(largest) * s.scale_of_root + s.eps;
  p = p - s.lr * (m / root);
  p = clip<A>(s.bound, p);
}

}  // namespace
}  // namespace optim
