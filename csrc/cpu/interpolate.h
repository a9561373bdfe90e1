// Points between real and fake samples.
#pragma once

#include <cstdint>

#include "rows.h"

namespace ganfast {

// One eps ~ U[0, 1) for each `group` neighbouring rows, drawn as ganfast/_philox.py says.
struct Mixture {
  Rows rows;
  Dtype dtype;
  std::int64_t group;
  std::uint64_t key;
};

// out_i = eps_i real_i + (1 - eps_i) fake_i
void interpolate(const Mixture& mixture, const void* real, const void* fake, void* out, int threads);

// of_real_i = eps_i grad_i, of_fake_i = (1 - eps_i) grad_i; a null one is not wanted
void interpolate_gradient(const Mixture& mixture, const void* grad, void* of_real, void* of_fake, int threads);

}  // namespace ganfast
