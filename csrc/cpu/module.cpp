// ganfast._cpu: the C++ kernels for Python. Raw addresses in, no torch header: nothing here can break with a
// version of torch. Only ganfast/backends/cpu.py calls it, after checking dtypes, devices and contiguity; it
// keeps the tensors alive during the call.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "isa.h"
#include "losses.h"

namespace py = pybind11;

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

// ---- the functions on hot paths --------------------------------------------------------------------------
//
// These are plain CPython functions that read their arguments from an array: on 64 logits, pybind11's own
// dispatch and the tuples it would need cost twice the kernel. All arguments are integers; the first few are
// named beside each function, the rest come in groups, one group for each tensor of logits.

struct Arguments {
  PyObject* const* items;
  Py_ssize_t count;
  Py_ssize_t next = 0;

  std::uint64_t number() {
    if (next == count) throw py::type_error("too few arguments");
    PyObject* item = items[next++];
    const std::uint64_t value = PyLong_AsUnsignedLongLong(item);
    if (value == static_cast<std::uint64_t>(-1) && PyErr_Occurred()) throw py::error_already_set();
    return value;
  }
  void* address() { return reinterpret_cast<void*>(number()); }
  const Loss& loss() { return *static_cast<const Loss*>(address()); }
  Dtype dtype() { return static_cast<Dtype>(number()); }
  int threads() { return static_cast<int>(number()); }

  // The rest: (logits, count) for each tensor, then out and grad if there are that many fields.
  std::vector<Segment> segments(const Loss& loss, int fields) {
    if (count - next != static_cast<Py_ssize_t>(loss.targets.size()) * fields)
      throw py::type_error("as many groups of arguments are needed as the loss has targets");
    std::vector<Segment> segments(loss.targets.size());
    for (Segment& segment : segments) {
      segment.logits = address();
      segment.count = static_cast<std::int64_t>(number());
      if (fields > 2) segment.out = address();
      if (fields > 3) segment.grad = address();
    }
    return segments;
  }
};

// Runs `work` without the interpreter's lock if it will take longer than letting go of it.
template <class Work>
void run(const std::vector<Segment>& segments, Work work) {
  std::int64_t total = 0;
  for (const Segment& segment : segments) total += segment.count;
  std::optional<py::gil_scoped_release> release;
  if (total > 4 * kBlock) release.emplace();
  work();
}

template <class Body>
PyObject* guarded(PyObject* const* items, Py_ssize_t count, Body body) {
  try {
    body(Arguments{items, count});
    Py_RETURN_NONE;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  }
  return nullptr;
}

// reduced(loss, key, out, dtype of out, threads, [logits, count]...)
PyObject* reduced(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(items, count, [](Arguments a) {
    const Loss& loss = a.loss();
    const std::uint64_t key = a.number();
    void* out = a.address();
    const Dtype dtype = a.dtype();
    const int threads = a.threads();
    const auto segments = a.segments(loss, 2);
    run(segments, [&] { loss_reduced(loss, segments, key, {out, dtype}, threads); });
  });
}

// reduced_gradient(loss, key, grad, dtype of grad, threads, [logits, count, out]...)
PyObject* reduced_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(items, count, [](Arguments a) {
    const Loss& loss = a.loss();
    const std::uint64_t key = a.number();
    void* grad = a.address();
    const Dtype dtype = a.dtype();
    const int threads = a.threads();
    const auto segments = a.segments(loss, 3);
    run(segments, [&] { loss_reduced_gradient(loss, segments, key, {grad, dtype}, threads); });
  });
}

// values(loss, key, dtype of out, threads, [logits, count, out]...)
PyObject* values(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(items, count, [](Arguments a) {
    const Loss& loss = a.loss();
    const std::uint64_t key = a.number();
    const Dtype dtype = a.dtype();
    const int threads = a.threads();
    const auto segments = a.segments(loss, 3);
    run(segments, [&] { loss_values(loss, segments, key, dtype, threads); });
  });
}

// values_gradient(loss, key, dtype of grad, threads, [logits, count, out, grad]...)
PyObject* values_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(items, count, [](Arguments a) {
    const Loss& loss = a.loss();
    const std::uint64_t key = a.number();
    const Dtype dtype = a.dtype();
    const int threads = a.threads();
    const auto segments = a.segments(loss, 4);
    run(segments, [&] { loss_values_gradient(loss, segments, key, dtype, threads); });
  });
}

using FastCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

template <FastCall kFunction>
void define(py::module_& m, const char* name, const char* doc) {
  static PyMethodDef definition = {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(kFunction)),
                                   METH_FASTCALL, doc};
  m.attr(name) = py::reinterpret_steal<py::object>(PyCFunction_New(&definition, nullptr));
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "C++ kernels of ganfast for the CPU: raw addresses in, threads as told";

  py::class_<Loss>(m, "Loss", "games.LossSpec for logits of one dtype (0 f32, 1 f64, 2 f16, 3 bf16)")
      .def(py::init(&make_loss))
      .def_property_readonly("handle", [](const Loss& loss) { return reinterpret_cast<std::size_t>(&loss); });
  define<reduced>(m, "reduced", "(loss, key, out, dtype of out, threads, [logits, count]...)");
  define<reduced_gradient>(m, "reduced_gradient",
                           "(loss, key, grad, dtype of grad, threads, [logits, count, out]...)");
  define<values>(m, "values", "(loss, key, dtype of out, threads, [logits, count, out]...)");
  define<values_gradient>(m, "values_gradient",
                          "(loss, key, dtype of grad, threads, [logits, count, out, grad]...)");

  m.def("evaluate", &evaluate, "phi(x, t) (order 0) or a derivative of it (1, 2) by gan_math.h, in double",
        py::arg("phi"), py::arg("order"), py::arg("x"), py::arg("t"));
  m.def("isa", [] { return current_isa() ? current_isa()->name : ""; },
        "the instruction set in use; empty if this processor has none that was built");
  m.def("supported_isas", [] {
    std::vector<std::string> names;
    for (const Isa* isa : supported_isas()) names.emplace_back(isa->name);
    return names;
  });
  m.def("use_isa", [](const std::string& name) {
    if (!use_isa(name.c_str())) throw std::invalid_argument("isa: got '" + name + "', which is not supported here");
  });
}

}  // namespace ganfast
