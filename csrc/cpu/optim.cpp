#include "optim.h"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "isa.h"

namespace ganfast {
namespace {

// Weights per block: small enough that five arrays of it, as float, stay in the L1 cache.
constexpr std::int64_t kWeights = 1024;

std::int64_t blocks_of(std::int64_t count) { return (count + kWeights - 1) / kWeights; }

template <class Real>
const OptimLeaf<Real>& leaf() {
  if constexpr (sizeof(Real) == 4)
    return current_isa()->optim.f32;
  else
    return current_isa()->optim.f64;
}

void widen(Dtype dtype, const std::uint16_t* from, float* to, std::int64_t n) {
  (dtype == Dtype::f16 ? current_isa()->from_half : current_isa()->from_bfloat)(from, to, n);
}

void narrow(Dtype dtype, const float* from, std::uint16_t* to, std::int64_t n) {
  (dtype == Dtype::f16 ? current_isa()->to_half : current_isa()->to_bfloat)(from, to, n);
}

// Calls body(item, arrays, n) for every block of every item; the arrays hold float or double. Halves are
// converted on the way in, and all of them but an unwritten gradient on the way out. Each thread has one run
// of blocks: what it finds in its own cache is then what it left there in the last step.
template <class Item, class Weight, class Body>
void for_each_block(const std::vector<Item>& items, int threads, bool write_gradients, Weight weights_of,
                    Body body) {
  const auto block = [&](const Item& item, std::int64_t first, std::int64_t n) {
    const Weights& w = weights_of(item);
    if (w.dtype == Dtype::f64) {
      double* at[kArrays];
      for (int a = 0; a < kArrays; ++a) at[a] = w.at[a] ? static_cast<double*>(w.at[a]) + first : nullptr;
      return body(item, at, n);
    }
    float* at[kArrays] = {};
    if (w.dtype == Dtype::f32) {
      for (int a = 0; a < kArrays; ++a)
        if (w.at[a]) at[a] = static_cast<float*>(w.at[a]) + first;
      return body(item, at, n);
    }
    alignas(64) float buffers[kArrays][kWeights];
    for (int a = 0; a < kArrays; ++a)
      if (w.at[a]) {
        at[a] = buffers[a];
        widen(w.dtype, static_cast<std::uint16_t*>(w.at[a]) + first, at[a], n);
      }
    body(item, at, n);
    for (int a = 0; a < kArrays; ++a)
      if (at[a] && (a != kGrad || write_gradients))
        narrow(w.dtype, at[a], static_cast<std::uint16_t*>(w.at[a]) + first, n);
  };
  std::int64_t total = 0;
  for (const Item& item : items) total += blocks_of(weights_of(item).count);
  const auto share = [&](std::int64_t from, std::int64_t to) {
    std::int64_t before = 0;
    for (const Item& item : items) {
      if (before >= to) break;
      const std::int64_t count = weights_of(item).count, here = blocks_of(count);
      const std::int64_t begin = std::max<std::int64_t>(from - before, 0), end = std::min(to - before, here);
      for (std::int64_t b = begin; b < end; ++b)
        block(item, b * kWeights, std::min(kWeights, count - b * kWeights));
      before += here;
    }
  };
  if (threads == 1) return share(0, total);  // not through OpenMP, which costs more than a few weights
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; ++t) share(total * t / threads, total * (t + 1) / threads);
}

template <class Options, class Update>
void step(const std::vector<Task<Options>>& tasks, double unscale, int threads, Update update) {
  const bool scaled = unscale != 1;
  for_each_block(
      tasks, threads, scaled, [](const Task<Options>& task) -> const Weights& { return task.weights; },
      [&](const Task<Options>& task, auto* const* at, std::int64_t n) {
        using Real = std::remove_cv_t<std::remove_reference_t<decltype(**at)>>;
        if (scaled) leaf<Real>().scale(static_cast<Real>(unscale), at[kGrad], n);
        update(task.options, at, n);
      });
}

}  // namespace

double bound_in(Dtype dtype, double bound) {
  if (dtype == Dtype::f64) return bound;
  float single = static_cast<float>(bound);
  if (dtype == Dtype::f32) return single;
  std::uint16_t half;
  narrow(dtype, &single, &half, 1);
  widen(dtype, &half, &single, 1);
  return single;
}

void rmsprop_step(const std::vector<Task<optim::Rmsprop>>& tasks, double unscale, int threads) {
  step(tasks, unscale, threads, [](const optim::Rmsprop& o, auto* const* at, std::int64_t n) {
    using Real = std::remove_cv_t<std::remove_reference_t<decltype(**at)>>;
    leaf<Real>().rmsprop[at[kState + 1] != nullptr][at[kState + 2] != nullptr](o, at, n);
  });
}

void adam_step(const std::vector<Task<optim::Adam>>& tasks, double unscale, int threads) {
  step(tasks, unscale, threads, [](const optim::Adam& o, auto* const* at, std::int64_t n) {
    using Real = std::remove_cv_t<std::remove_reference_t<decltype(**at)>>;
    leaf<Real>().adam[at[kState + 2] != nullptr](o, at, n);
  });
}

std::int64_t clip_weights(const std::vector<Weights>& tensors, double bound, bool count, int threads) {
  std::atomic<std::int64_t> at_bound{0};
  for_each_block(
      tensors, threads, false, [](const Weights& weights) -> const Weights& { return weights; },
      [&](const Weights& weights, auto* const* at, std::int64_t n) {
        using Real = std::remove_cv_t<std::remove_reference_t<decltype(**at)>>;
        const Real limit = static_cast<Real>(bound_in(weights.dtype, bound));
        leaf<Real>().clip(limit, at[kParam], n);
        if (count) at_bound += leaf<Real>().count_at(limit, at[kParam], n);
      });
  return at_bound;
}

}  // namespace ganfast
