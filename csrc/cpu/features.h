// Feature matching: the distance between pairs of tensors, summed over all pairs.
#pragma once

#include <cstdint>
#include <vector>

#include "elements.h"

namespace ganfast {

// Two arrays of `count` elements of one dtype, of which the sum of distances is multiplied by `weight`.
struct Pair {
  const void *real, *fake;
  std::int64_t count;
  Dtype dtype;
  double weight;
  void* out = nullptr;  // the gradient with respect to `fake`, of its dtype; null: not wanted
};

// out = sum_j weight_j sum_i d(fake_ji - real_ji)
void distance_value(Distance distance, const std::vector<Pair>& pairs, Scalar out, int threads);

// The `out` of each pair is grad * weight_j * d'(fake_ji - real_ji).
void distance_gradient(Distance distance, const std::vector<Pair>& pairs, Scalar grad, int threads);

}  // namespace ganfast
