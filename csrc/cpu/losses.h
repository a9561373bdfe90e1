// The adversarial loss over tensors of logits: blocks and threads around the leaf loops.
#pragma once

#include <cstdint>
#include <vector>

#include "elements.h"
#include "gan_math.h"

namespace ganfast {

enum class Reduction { mean, sum, none };

// games.LossSpec. Tensor j has weight 1/(heads * count_j) for a mean, 1/heads for a sum. If `paired`, phi is taken
// of the differences of two tensors.
struct Loss {
  int phi;
  Reduction reduction;
  int heads;
  std::vector<double> targets;
  double flip;
  double noise;
  bool paired;

  bool noisy() const { return flip > 0 || noise > 0; }
};

// One tensor of contiguous logits, and what belongs to its elements. Addresses are of arrays of `count`.
struct Segment {
  const void* logits;
  std::int64_t count;
  const void* grad = nullptr;  // grad_output of each element; null where one scalar serves all
  void* out = nullptr;         // phi, or the gradient; null: not wanted
  const void* minus = nullptr;  // of a pair: what is subtracted from the logits
  void* minus_out = nullptr;    // its gradient; null: not wanted
};

// What the reference's loss_statistics() has, of a discriminator's logits.
struct LossStatistics {
  double real_mean = 0, fake_mean = 0, real_share = 0, fake_share = 0;
};

struct Logits {
  Dtype dtype;
  std::vector<Segment> segments;
};

// out = sum_j weight_j sum_i phi(x_ji, t_ji); without a reduction the `out` of each segment, of out.dtype, is
// phi(x_ji, t_ji). With a reduction, `statistics` are formed in the same pass if they are not null.
void loss_value(const Loss& loss, const Logits& logits, std::uint64_t key, Scalar out, LossStatistics* statistics,
                int threads);

// The `out` of each segment, of the logits' dtype, is grad * weight_j * phi'(x_ji, t_ji); without a reduction
// grad_ji * phi'(x_ji, t_ji), where grad_ji is of grad.dtype.
void loss_gradient(const Loss& loss, const Logits& logits, std::uint64_t key, Scalar grad, int threads);

}  // namespace ganfast
