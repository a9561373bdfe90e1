// The optimizers' part of leaf.h: loops over one block of weights.
#pragma once

#include <cstdint>

#include "optim_math.h"

namespace ganfast {

// The arrays of a weight: itself, its gradient, and up to three of the optimizer's, null where there is none.
// RMSprop: square_avg, grad_avg, momentum_buffer. Adam: exp_avg, exp_avg_sq, max_exp_avg_sq.
constexpr int kParam = 0, kGrad = 1, kState = 2, kArrays = 5;

template <class Real>
struct OptimLeaf {
  void (*rmsprop[2][2])(const optim::Rmsprop& o, Real* const* at, std::int64_t n);  // [centered][momentum]
  void (*adam[2])(const optim::Adam& o, Real* const* at, std::int64_t n);           // [amsgrad]
  // x_i brought into [-bound, bound]
  void (*clip)(Real bound, Real* x, std::int64_t n);
  // How many |x_i| are `bound`.
  std::int64_t (*count_at)(Real bound, const Real* x, std::int64_t n);
  // x_i *= factor
  void (*scale)(Real factor, Real* x, std::int64_t n);
};

struct OptimLeaves {
  OptimLeaf<float> f32;
  OptimLeaf<double> f64;
};

}  // namespace ganfast
