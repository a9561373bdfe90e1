// The adversarial loss over tensors of logits: blocks and threads around the leaf loops.
#pragma once

#include <cstdint>
#include <vector>

#include "elements.h"
#include "gan_math.h"

namespace ganfast {

// games.LossSpec, plus the dtype of the logits. Tensor j has weight 1/(heads * count_j) for a mean, 1/heads
// for a sum.
struct Loss {
  int phi;
  Dtype dtype;
  bool mean;
  int heads;
  std::vector<double> targets;
  double flip;
  double noise;

  bool noisy() const { return flip > 0 || noise > 0; }
};

// One tensor of contiguous logits, and what belongs to its elements. Addresses are of arrays of `count`.
struct Segment {
  const void* logits;
  std::int64_t count;
  const void* grad = nullptr;  // grad_output of each element; null where one scalar serves all
  void* out = nullptr;         // phi, or the gradient; null: not wanted
};

// out = sum_j weight_j sum_i phi(x_ji, t_ji)
void loss_reduced(const Loss& loss, const std::vector<Segment>& segments, std::uint64_t key, Scalar out,
                  int threads);

// out_ji = phi(x_ji, t_ji), of dtype out_dtype
void loss_values(const Loss& loss, const std::vector<Segment>& segments, std::uint64_t key, Dtype out_dtype,
                 int threads);

// out_ji = grad * weight_j * phi'(x_ji, t_ji), of the logits' dtype
void loss_reduced_gradient(const Loss& loss, const std::vector<Segment>& segments, std::uint64_t key,
                           Scalar grad, int threads);

// out_ji = grad_ji * phi'(x_ji, t_ji), of the logits' dtype; grad_ji is of dtype grad_dtype
void loss_values_gradient(const Loss& loss, const std::vector<Segment>& segments, std::uint64_t key,
                          Dtype grad_dtype, int threads);

}  // namespace ganfast
