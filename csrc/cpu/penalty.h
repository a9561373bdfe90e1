// The penalty on the norms of gradients, one for each sample or group of samples.
#pragma once

#include "rows.h"

namespace ganfast {

// weight * mean_i (r_i - target)^2, or of max(0, r_i - target)^2 if one-sided, r_i being the norm of row i.
// Norms are of the dtype that the rows are computed in: double for double, else float.
struct Penalty {
  Rows rows;
  Dtype dtype;
  double target;
  bool one_sided;
  double weight;
};

// The norms, and the penalty.
void penalty(const Penalty& p, const void* x, void* norms, Scalar out, int threads);

// out = grad * d penalty / dx
void penalty_gradient(const Penalty& p, const void* x, const void* norms, Scalar grad, void* out, int threads);

// The derivative of <v, grad * d penalty / dx>: of_grad with respect to grad, of_x with respect to x.
void penalty_second_order(const Penalty& p, const void* x, const void* norms, Scalar grad, const void* v,
                          Scalar of_grad, void* of_x, int threads);

}  // namespace ganfast
