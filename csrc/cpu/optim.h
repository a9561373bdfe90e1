// Clipping and the steps of the optimizers over many tensors: blocks and threads around the leaf loops.
#pragma once

#include <cstdint>
#include <vector>

#include "leaf.h"
#include "losses.h"

namespace ganfast {

struct Dim {
  std::int64_t size, stride;
};

// One tensor of weights with what belongs to it: arrays of `count`, all of one dtype and in one order, but for a
// gradient that lies otherwise, which the dimensions of the weights, outermost first, lead through.
struct Weights {
  void* at[kArrays] = {};
  std::vector<Dim> grad_dims;
  std::int64_t count = 0;
  Dtype dtype = Dtype::f32;
  float* step32 = nullptr;  // the counter of its steps, in either width
  double* step64 = nullptr;

  double steps() const { return step64 ? *step64 : *step32; }
};

// What a step of a group does to each of its tensors.
template <class Options>
struct Task {
  Options options;
  Weights weights;
};

// `bound` as the tensor's dtype rounds it.
double bound_in(Dtype dtype, double bound);

// Every step: gradients, if write_gradients, are multiplied by gradient_scale in place (a GradScaler's
// unscaling), the weights and the optimizer's arrays are updated, the weights are clipped. Counters stay.
void rmsprop_step(const std::vector<Task<optim::Rmsprop>>& tasks, double unscale, int threads);
void adam_step(const std::vector<Task<optim::Adam>>& tasks, double unscale, int threads);

// Every weight brought into [-bound, bound]; if `count`, how many are then at the bound.
std::int64_t clip_weights(const std::vector<Weights>& tensors, double bound, bool count, int threads);

}  // namespace ganfast
