// The losses for Python.
#include "args.h"
#include "losses.h"

namespace ganfast {

// What make_loss() returns: a capsule that holds a Loss.
template <>
struct Argument<const Loss*> {
  static constexpr char kCapsule[] = "ganfast._cpu.Loss";
  static const Loss* get(PyObject* object, Name) {
    void* loss = PyCapsule_GetPointer(object, kCapsule);
    if (loss == nullptr) throw py::error_already_set();
    return static_cast<const Loss*>(loss);
  }
  static std::string type() { return "Any"; }
};

namespace {

py::capsule make_loss(std::int64_t phi, const std::string& reduction, std::int64_t heads, std::vector<double> targets,
                      double flip, double noise, bool paired) {
  if (phi < 0 || phi >= gan::kPhis) throw std::invalid_argument("phi: got " + std::to_string(phi));
  if (heads < 1 || targets.empty()) throw std::invalid_argument("heads, targets: got none");
  const Reduction how = reduction == "mean"  ? Reduction::mean
                        : reduction == "sum" ? Reduction::sum
                                             : Reduction::none;
  auto* loss = new Loss{static_cast<int>(phi), how, static_cast<int>(heads), std::move(targets), flip, noise, paired};
  return py::capsule(loss, Argument<const Loss*>::kCapsule, [](PyObject* capsule) {
    delete static_cast<Loss*>(PyCapsule_GetPointer(capsule, Argument<const Loss*>::kCapsule));
  });
}

Logits logits_of(const Loss& loss, const std::vector<View>& views) {
  const std::size_t segments = loss.targets.size();
  if (views.size() != segments * (loss.paired ? 2 : 1))
    throw py::type_error("logits: give one tensor for each target, or two of a pair");
  Logits logits{views[0].dtype, {}};
  for (std::size_t i = 0; i < views.size(); ++i) {
    const View& x = views[i];
    x.need(is_floating(x.dtype) && x.dtype == logits.dtype, "has another dtype than the kernel or the others");
    x.need(x.contiguous(), "is not contiguous");
    if (i < segments) {
      logits.segments.push_back({x.data, x.count});
    } else {
      x.need(x.count == logits.segments[i - segments].count, "has another size than its partner");
      logits.segments[i - segments].minus = x.data;
    }
  }
  return logits;
}

// The address of what belongs to the elements of a segment.
void* beside(const Segment& segment, const View& view, Dtype dtype) {
  view.need(view.dtype == dtype && view.count == segment.count, "does not belong to its logits");
  view.need(view.contiguous(), "is not contiguous");
  return view.data;
}

template <class V>
const std::vector<V>& for_each(const Logits& logits, const std::vector<V>& views, const char* name) {
  if (views.size() != logits.segments.size()) throw py::type_error(name + std::string(": give one for each logits"));
  return views;
}

std::int64_t elements(const Logits& logits) {
  std::int64_t total = 0;
  for (const Segment& segment : logits.segments) total += segment.count;
  return total;
}

using NoiseKey = std::optional<std::uint64_t>;

void value_of_loss(const Loss* loss, NoiseKey key, const std::vector<View>& views, const std::vector<Output>& outs,
           std::optional<Output> statistics) {
  Logits logits = logits_of(*loss, views);
  Scalar out{nullptr, outs.at(0).dtype};
  if (loss->reduction != Reduction::none)
    out = outs[0].scalar();
  else
    for (std::size_t i = 0; i < for_each(logits, outs, "outs").size(); ++i)
      logits.segments[i].out = beside(logits.segments[i], outs[i], out.dtype);
  LossStatistics found;
  if (statistics)
    statistics->need(statistics->count == 5 && statistics->contiguous() && loss->reduction != Reduction::none,
                     "statistics are five contiguous numbers of a loss that is reduced");
  run(elements(logits), [&](int threads) {
    loss_value(*loss, logits, key.value_or(0), out, statistics ? &found : nullptr, threads);
  });
  if (!statistics) return;
  const double numbers[] = {found.real_mean, found.fake_mean, found.real_mean - found.fake_mean, found.real_share,
                            found.fake_share};
  for (int i = 0; i < 5; ++i) write_scalar(numbers[i], {at(statistics->data, statistics->dtype, i), statistics->dtype});
}

void gradient_of_loss(const Loss* loss, NoiseKey key, const std::vector<View>& views, const std::vector<View>& grads,
              const std::vector<std::optional<Output>>& outs) {
  Logits logits = logits_of(*loss, views);
  Scalar grad{nullptr, grads.at(0).dtype};
  if (loss->reduction != Reduction::none)
    grad = grads[0].scalar();
  else
    for (std::size_t i = 0; i < for_each(logits, grads, "grads").size(); ++i)
      logits.segments[i].grad = beside(logits.segments[i], grads[i], grad.dtype);
  if (outs.size() != views.size()) throw py::type_error("outs: give one for each logits");
  const std::size_t segments = logits.segments.size();
  for (std::size_t i = 0; i < outs.size(); ++i) {
    if (!outs[i]) continue;
    Segment& segment = logits.segments[i % segments];
    (i < segments ? segment.out : segment.minus_out) = beside(segment, *outs[i], logits.dtype);
  }
  run(elements(logits), [&](int threads) { loss_gradient(*loss, logits, key.value_or(0), grad, threads); });
}

// phi (order 0) or its derivative in double, with the C library's exp: for the tests of the formulas themselves.
double evaluate(std::int64_t phi, std::int64_t order, double x, double t) {
  using A = gan::ScalarArithmetic<double>;
  if (order != 0 && order != 1) throw std::invalid_argument("order: got " + std::to_string(order) + "; give 0 or 1");
  switch (phi) {
#define GAN_CASE(Phi) \
  case gan::k##Phi: return order == 0 ? gan::Phi<A>::value(x, t) : gan::Phi<A>::slope(x, t);
    GAN_PHIS(GAN_CASE)
#undef GAN_CASE
    default: throw std::invalid_argument("phi: got " + std::to_string(phi));
  }
}

}  // namespace

void bind_losses(py::module_& m) {
  define<make_loss>(m, "loss", {"phi", "reduction", "heads", "targets", "flip", "noise", "paired"},
                    "games.LossSpec as the kernels have it.");
  define<value_of_loss>(m, "loss_value", {"loss", "key", "logits", "outs", "statistics"},
                "The loss, or with reduction \"none\" the phi of each element, into `outs`; and the statistics.");
  define<gradient_of_loss>(m, "loss_gradient", {"loss", "key", "logits", "grads", "outs"},
                   "The gradients with respect to the logits into those of `outs` that are there.");
  define<evaluate>(m, "evaluate", {"phi", "order", "x", "t"},
                   "phi(x, t) (order 0) or its derivative (1) by gan_math.h, in double.");
}

}  // namespace ganfast
