// The losses for Python. The functions on tensors return False, having done nothing, if one is not contiguous
// memory as it stands.
#include <optional>
#include <string>

#include "losses.h"
#include "module_bind.h"
#include "module_tensors.h"

namespace ganfast {
namespace {

Loss make_loss(int phi, int dtype, bool mean, int heads, std::vector<double> targets, double flip,
               double noise) {
  if (phi < 0 || phi >= gan::kPhis) throw std::invalid_argument("phi: got " + std::to_string(phi));
  if (dtype < 0 || dtype > 3) throw std::invalid_argument("dtype: got " + std::to_string(dtype));
  if (heads < 1 || targets.empty()) throw std::invalid_argument("heads, targets: got none");
  return {phi, static_cast<Dtype>(dtype), mean, heads, std::move(targets), flip, noise};
}

// phi (order 0), its first or its second derivative in double, with the C library's exp: for the tests of
// the formulas themselves.
double evaluate(int phi, int order, double x, double t) {
  using A = gan::ScalarArithmetic<double>;
  const auto pick = [&](auto f) {
    using F = decltype(f);
    return order == 0 ? F::value(x, t) : order == 1 ? F::slope(x, t) : F::curvature(x, t);
  };
  switch (phi) {
    case gan::kCrossEntropy: return pick(gan::CrossEntropy<A>{});
    case gan::kNegativeCrossEntropy: return pick(gan::NegativeCrossEntropy<A>{});
    case gan::kLinear: return pick(gan::Linear<A>{});
    case gan::kHinge: return pick(gan::Hinge<A>{});
    case gan::kHalfSquare: return pick(gan::HalfSquare<A>{});
    case gan::kNegativeExponential: return pick(gan::NegativeExponential<A>{});
    default: throw std::invalid_argument("phi: got " + std::to_string(phi));
  }
}

// One segment for each tensor of logits; nothing if some tensor is not plain memory.
std::optional<std::vector<Segment>> segments_of(const Loss& loss, Tensors logits, Tensors outs = {},
                                                Tensors grads = {}) {
  const std::size_t n = loss.targets.size();
  if (logits.size() != n || (outs && outs.size() != n) || (grads && grads.size() != n))
    throw py::type_error("as many tensors are needed as the loss has targets");
  std::vector<Segment> segments(n);
  for (std::size_t i = 0; i < n; ++i) {
    Segment& segment = segments[i];
    segment.count = static_cast<std::int64_t>(number(call(logits[i], names().numel).ptr()));
    if (!is_plain(logits[i], segment.count)) return std::nullopt;
    if (grads && !is_plain(grads[i], segment.count)) return std::nullopt;
    segment.logits = address(logits[i]);
    if (outs && outs[i] != Py_None) segment.out = address(outs[i]);
    if (grads) segment.grad = address(grads[i]);
  }
  return segments;
}

// Runs work(threads) on one thread if there is little of it, else on all and without the interpreter's lock.
template <class Work>
void run(const std::vector<Segment>& segments, int threads, Work work) {
  constexpr std::int64_t kGrain = 65536;  // fewer elements are done before a second thread has woken up
  std::int64_t total = 0;
  for (const Segment& segment : segments) total += segment.count;
  if (total < kGrain) return work(1);
  py::gil_scoped_release release;
  work(threads);
}

// The arguments that all of them begin with: loss, key, dtype (of out or grad), threads.
struct Common {
  const Loss& loss;
  std::uint64_t key;
  Dtype dtype;
  int threads;
};

template <Py_ssize_t kCount, class Body>
PyObject* on_loss(PyObject* const* items, Py_ssize_t count, Body body) {
  return guarded(kCount, count, [&] {
    const Common common{*reinterpret_cast<const Loss*>(number(items[0])), number(items[1]),
                        static_cast<Dtype>(number(items[2])), static_cast<int>(number(items[3]))};
    return PyBool_FromLong(body(common, items + 4));
  });
}

PyObject* reduced(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_loss<6>(items, count, [](const Common& c, PyObject* const* rest) {
    const auto segments = segments_of(c.loss, Tensors(rest[0]));
    if (!segments) return false;
    const Scalar out{address(rest[1]), c.dtype};
    run(*segments, c.threads, [&](int threads) { loss_reduced(c.loss, *segments, c.key, out, threads); });
    return true;
  });
}

PyObject* reduced_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_loss<7>(items, count, [](const Common& c, PyObject* const* rest) {
    const auto segments = segments_of(c.loss, Tensors(rest[0]), Tensors(rest[1]));
    if (!segments || !is_plain(rest[2], 1)) return false;
    const Scalar grad{address(rest[2]), c.dtype};
    run(*segments, c.threads,
        [&](int threads) { loss_reduced_gradient(c.loss, *segments, c.key, grad, threads); });
    return true;
  });
}

PyObject* values(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_loss<6>(items, count, [](const Common& c, PyObject* const* rest) {
    const auto segments = segments_of(c.loss, Tensors(rest[0]), Tensors(rest[1]));
    if (!segments) return false;
    run(*segments, c.threads,
        [&](int threads) { loss_values(c.loss, *segments, c.key, c.dtype, threads); });
    return true;
  });
}

PyObject* values_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_loss<7>(items, count, [](const Common& c, PyObject* const* rest) {
    const auto segments = segments_of(c.loss, Tensors(rest[0]), Tensors(rest[1]), Tensors(rest[2]));
    if (!segments) return false;
    run(*segments, c.threads,
        [&](int threads) { loss_values_gradient(c.loss, *segments, c.key, c.dtype, threads); });
    return true;
  });
}

}  // namespace

void bind_losses(py::module_& m) {
  py::class_<Loss>(m, "Loss", "games.LossSpec for logits of one dtype (0 f32, 1 f64, 2 f16, 3 bf16)")
      .def(py::init(&make_loss))
      .def_property_readonly("handle", [](const Loss& loss) { return reinterpret_cast<std::size_t>(&loss); });
  define<reduced>(m, "reduced", "(loss, key, dtype of out, threads, logits, out) -> done");
  define<reduced_gradient>(m, "reduced_gradient",
                           "(loss, key, dtype of grad, threads, logits, outs, grad) -> done");
  define<values>(m, "values", "(loss, key, dtype of outs, threads, logits, outs) -> done");
  define<values_gradient>(m, "values_gradient",
                          "(loss, key, dtype of grads, threads, logits, outs, grads) -> done");

  m.def("evaluate", &evaluate, "phi(x, t) (order 0) or a derivative of it (1, 2) by gan_math.h, in double",
        py::arg("phi"), py::arg("order"), py::arg("x"), py::arg("t"));
}

}  // namespace ganfast
