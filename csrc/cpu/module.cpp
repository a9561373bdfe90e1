// ganfast._cpu: the C++ kernels for Python. No torch header: nothing here can break with a version of torch.
// Only ganfast/backends/cpu.py calls it, after checking dtypes and devices; it keeps the tensors alive.
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
// These are plain CPython functions, which read their arguments from an array and ask the tensors themselves
// for addresses and counts: on 64 logits, pybind11's own dispatch and a loop in Python cost more than the
// kernel. Nothing of torch is compiled in: data_ptr(), numel() and is_contiguous() are Python calls.
// They return False, having done nothing, if a tensor is not contiguous memory as it stands.

struct Names {
  PyObject* data_ptr = PyUnicode_InternFromString("data_ptr");
  PyObject* numel = PyUnicode_InternFromString("numel");
  PyObject* is_contiguous = PyUnicode_InternFromString("is_contiguous");
  PyObject* is_neg = PyUnicode_InternFromString("is_neg");
};

const Names& names() {
  static const Names names;
  return names;
}

py::object call(PyObject* tensor, PyObject* method) {
  PyObject* result = PyObject_CallMethodNoArgs(tensor, method);
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

std::uint64_t number(PyObject* integer) {
  const std::uint64_t value = PyLong_AsUnsignedLongLong(integer);
  if (value == static_cast<std::uint64_t>(-1) && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

void* address(PyObject* tensor) {
  return reinterpret_cast<void*>(number(call(tensor, names().data_ptr).ptr()));
}

// A view with a pending negation is the imaginary part of something, so it is contiguous only if it has one
// element: only then need it be asked.
bool is_plain(PyObject* tensor, std::int64_t count) {
  return call(tensor, names().is_contiguous).ptr() == Py_True &&
         !(count == 1 && call(tensor, names().is_neg).ptr() == Py_True);
}

// A tuple of tensors, some of them None.
class Tensors {
 public:
  Tensors() = default;
  explicit Tensors(PyObject* tuple) : tuple_(tuple) {
    if (!PyTuple_Check(tuple)) throw py::type_error("tensors come in a tuple");
  }
  std::size_t size() const { return tuple_ ? static_cast<std::size_t>(PyTuple_GET_SIZE(tuple_)) : 0; }
  PyObject* operator[](std::size_t i) const { return PyTuple_GET_ITEM(tuple_, static_cast<Py_ssize_t>(i)); }
  explicit operator bool() const { return tuple_ != nullptr; }

 private:
  PyObject* tuple_ = nullptr;
};

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
PyObject* guarded(PyObject* const* items, Py_ssize_t count, Body body) {
  try {
    if (count != kCount) throw py::type_error("wrong number of arguments");
    const Common common{*reinterpret_cast<const Loss*>(number(items[0])), number(items[1]),
                        static_cast<Dtype>(number(items[2])), static_cast<int>(number(items[3]))};
    return PyBool_FromLong(body(common, items + 4));
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  }
  return nullptr;
}

PyObject* reduced(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded<6>(items, count, [](const Common& c, PyObject* const* rest) {
    const auto segments = segments_of(c.loss, Tensors(rest[0]));
    if (!segments) return false;
    const Scalar out{address(rest[1]), c.dtype};
    run(*segments, c.threads, [&](int threads) { loss_reduced(c.loss, *segments, c.key, out, threads); });
    return true;
  });
}

PyObject* reduced_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded<7>(items, count, [](const Common& c, PyObject* const* rest) {
    const auto segments = segments_of(c.loss, Tensors(rest[0]), Tensors(rest[1]));
    if (!segments || !is_plain(rest[2], 1)) return false;
    const Scalar grad{address(rest[2]), c.dtype};
    run(*segments, c.threads,
        [&](int threads) { loss_reduced_gradient(c.loss, *segments, c.key, grad, threads); });
    return true;
  });
}

PyObject* values(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded<6>(items, count, [](const Common& c, PyObject* const* rest) {
    const auto segments = segments_of(c.loss, Tensors(rest[0]), Tensors(rest[1]));
    if (!segments) return false;
    run(*segments, c.threads,
        [&](int threads) { loss_values(c.loss, *segments, c.key, c.dtype, threads); });
    return true;
  });
}

PyObject* values_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded<7>(items, count, [](const Common& c, PyObject* const* rest) {
    const auto segments = segments_of(c.loss, Tensors(rest[0]), Tensors(rest[1]), Tensors(rest[2]));
    if (!segments) return false;
    run(*segments, c.threads,
        [&](int threads) { loss_values_gradient(c.loss, *segments, c.key, c.dtype, threads); });
    return true;
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
  m.doc() = "C++ kernels of ganfast for the CPU";

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
