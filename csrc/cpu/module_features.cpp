// Feature matching for Python.
#include "args.h"
#include "features.h"

namespace ganfast {
namespace {

// Of tensors that fill their memory in one and the same order, whatever it is.
std::vector<Pair> pairs_of(const std::vector<double>& weights, const std::vector<View>& reals,
                           const std::vector<View>& fakes) {
  if (reals.size() != weights.size() || fakes.size() != weights.size())
    throw py::type_error("weights, real, fake: give one of each for each pair");
  std::vector<Pair> pairs;
  pairs.reserve(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const View &real = reals[i], &fake = fakes[i];
    fake.need(is_floating(fake.dtype), "has a dtype that no kernel takes");
    fake.need(fake.dense(), "has holes or overlaps in memory");
    real.need(real.laid_out_as(fake), "is laid out otherwise in memory");
    pairs.push_back({real.data, fake.data, fake.count, fake.dtype, weights[i]});
  }
  return pairs;
}

Distance distance_of(bool square) { return square ? kL2 : kL1; }

std::int64_t elements(const std::vector<Pair>& pairs) {
  std::int64_t total = 0;
  for (const Pair& pair : pairs) total += pair.count;
  return total;
}

void value(bool square, const std::vector<double>& weights, const std::vector<View>& reals,
           const std::vector<View>& fakes, const Output& out) {
  const std::vector<Pair> pairs = pairs_of(weights, reals, fakes);
  const Scalar to = out.scalar();
  run(elements(pairs), [&](int threads) { distance_value(distance_of(square), pairs, to, threads); });
}

void gradient(bool square, const std::vector<double>& weights, const std::vector<View>& reals,
              const std::vector<View>& fakes, const View& grad, const std::vector<std::optional<Output>>& outs) {
  std::vector<Pair> pairs = pairs_of(weights, reals, fakes);
  if (outs.size() != pairs.size()) throw py::type_error("outs: give one for each pair");
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!outs[i]) continue;
    outs[i]->need(outs[i]->laid_out_as(fakes[i]), "is laid out otherwise in memory");
    pairs[i].out = outs[i]->data;
  }
  const Scalar of_all = grad.scalar();
  run(elements(pairs), [&](int threads) { distance_gradient(distance_of(square), pairs, of_all, threads); });
}

}  // namespace

void bind_features(py::module_& m) {
  define<value>(m, "distance_value", {"square", "weights", "real", "fake", "out"},
                "The sum over all pairs of weight * sum |fake - real|, or its square, into `out`.");
  define<gradient>(m, "distance_gradient", {"square", "weights", "real", "fake", "grad", "outs"},
                   "Its gradients with respect to `fake` into those of `outs` that are there.");
}

}  // namespace ganfast
