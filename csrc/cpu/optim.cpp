#include "optim.h"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "leaf.h"

namespace ganfast {
namespace {

// Weights per block: small enough that five arrays of it, as float, stay in the L1 cache.
constexpr std::int64_t kWeights = 1024;

std::int64_t blocks_of(std::int64_t count) { return (count + kWeights - 1) / kWeights; }

template <class Real>
const OptimLoops<Real>& loops() {
  return leaf<Real>(*current_isa()).optim;
}

// Elements first .. first + n of a gradient in the order of its weights.
template <class T>
const T* gather(const Weights& w, std::int64_t first, std::int64_t n, T* out) {
  const std::vector<Dim>& dims = w.grad_dims;
  const std::size_t inner = dims.size() - 1;
  std::vector<std::int64_t> index(dims.size());
  const T* from = static_cast<const T*>(w.at[kGrad]);
  for (std::size_t d = dims.size(); d-- > 0; first /= dims[d].size) {
    index[d] = first % dims[d].size;
    from += index[d] * dims[d].stride;
  }
  const std::int64_t step = dims[inner].stride;
  for (T *to = out, *end = out + n; to < end;) {
    const std::int64_t run = std::min<std::int64_t>(end - to, dims[inner].size - index[inner]);
    for (std::int64_t i = 0; i < run; ++i) to[i] = from[i * step];
    to += run, from += run * step, index[inner] += run;
    for (std::size_t d = inner; d > 0 && index[d] == dims[d].size; --d) {
      from += dims[d - 1].stride - dims[d].size * dims[d].stride;
      index[d] = 0, ++index[d - 1];
    }
  }
  return out;
}

// Calls body(item, arrays, n) for every block of every item; the arrays hold float or double. Halves are
// converted on the way in, and all of them but an unwritten gradient on the way out. Each thread has one run
// of blocks: what it finds in its own cache is then what it left there in the last step.
template <class Item, class Weight, class Body>
void for_each_block(const std::vector<Item>& items, int threads, bool write_gradients, Weight weights_of,
                    Body body) {
  const Isa& isa = *current_isa();
  const auto block = [&](const Item& item, std::int64_t first, std::int64_t n) {
    const Weights& w = weights_of(item);
    with_real(w.dtype, [&](auto zero) {
      using Real = decltype(zero);
      Real* arrays[kArrays] = {};
      const bool strided = !w.grad_dims.empty();
      if (size_of(w.dtype) == sizeof(Real)) {
        for (int a = 0; a < kArrays; ++a)
          if (w.at[a]) arrays[a] = static_cast<Real*>(w.at[a]) + first;
        Real gathered[kWeights];
        if (strided) arrays[kGrad] = const_cast<Real*>(gather(w, first, n, gathered));
        return body(item, arrays, n);
      }
      std::uint16_t gathered[kWeights];
      alignas(64) Real buffers[kArrays][kWeights];
      for (int a = 0; a < kArrays; ++a)
        if (w.at[a])
          arrays[a] = const_cast<Real*>(read<Real>(
              isa, a == kGrad && strided ? gather(w, first, n, gathered) : at(w.at[a], w.dtype, first), w.dtype, n,
              buffers[a]));
      body(item, arrays, n);
      for (int a = 0; a < kArrays; ++a)
        if (w.at[a] && (a != kGrad || write_gradients))
          write<Real>(isa, arrays[a], at(w.at[a], w.dtype, first), w.dtype, n);
    });
  };
  std::int64_t total = 0;
  for (const Item& item : items) total += blocks_of(weights_of(item).count);
  in_team(threads, [&](int thread, int of) {
    const std::int64_t from = total * thread / of, to = total * (thread + 1) / of;
    std::int64_t before = 0;
    for (const Item& item : items) {
      if (before >= to) break;
      const std::int64_t count = weights_of(item).count, here = blocks_of(count);
      const std::int64_t begin = std::max<std::int64_t>(from - before, 0), end = std::min(to - before, here);
      for (std::int64_t b = begin; b < end; ++b)
        block(item, b * kWeights, std::min(kWeights, count - b * kWeights));
      before += here;
    }
  });
}

template <class Options, class Update>
void step(const std::vector<Task<Options>>& tasks, double unscale, int threads, Update update) {
  const bool scaled = unscale != 1;
  for_each_block(
      tasks, threads, scaled, [](const Task<Options>& task) -> const Weights& { return task.weights; },
      [&](const Task<Options>& task, auto* const* at, std::int64_t n) {
        using Real = std::remove_cv_t<std::remove_reference_t<decltype(**at)>>;
        if (scaled) loops<Real>().scale(static_cast<Real>(unscale), at[kGrad], n);
        update(task.options, at, n);
      });
}

}  // namespace

double bound_in(Dtype dtype, double bound) {
  std::uint64_t room;
  const Scalar rounded{&room, dtype};
  write_scalar(bound, rounded);
  return read_scalar(rounded);
}

void rmsprop_step(const std::vector<Task<optim::Rmsprop>>& tasks, double unscale, int threads) {
  step(tasks, unscale, threads, [](const optim::Rmsprop& o, auto* const* at, std::int64_t n) {
    using Real = std::remove_cv_t<std::remove_reference_t<decltype(**at)>>;
    loops<Real>().rmsprop[at[kState + 1] != nullptr][at[kState + 2] != nullptr](o, at, n);
  });
}

void adam_step(const std::vector<Task<optim::Adam>>& tasks, double unscale, int threads) {
  step(tasks, unscale, threads, [](const optim::Adam& o, auto* const* at, std::int64_t n) {
    using Real = std::remove_cv_t<std::remove_reference_t<decltype(**at)>>;
    loops<Real>().adam[at[kState + 2] != nullptr](o, at, n);
  });
}

std::int64_t clip_weights(const std::vector<Weights>& tensors, double bound, bool count, int threads) {
  std::atomic<std::int64_t> at_bound{0};
  for_each_block(
      tensors, threads, false, [](const Weights& weights) -> const Weights& { return weights; },
      [&](const Weights& weights, auto* const* at, std::int64_t n) {
        using Real = std::remove_cv_t<std::remove_reference_t<decltype(**at)>>;
        const Real limit = static_cast<Real>(bound_in(weights.dtype, bound));
        loops<Real>().clip(limit, at[kParam], n);
        if (count) at_bound += loops<Real>().count_at(limit, at[kParam], n);
      });
  return at_bound;
}

}  // namespace ganfast
