// ganfast._cpu: the C++ kernels for Python. Raw addresses in, no torch header: nothing here can break with a
// version of torch. Only ganfast/backends/cpu.py calls it, after checking dtypes, devices and contiguity; it
// keeps the tensors alive during the call.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "isa.h"
#include "losses.h"

namespace py = pybind11;

namespace ganfast {
namespace {

void* address(PyObject* integer) {
  const std::size_t value = PyLong_AsSize_t(integer);
  if (value == static_cast<std::size_t>(-1) && PyErr_Occurred()) throw py::error_already_set();
  return reinterpret_cast<void*>(value);
}

std::int64_t count(PyObject* integer) {
  const std::int64_t value = PyLong_AsLongLong(integer);
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

// Segments from tuples of integers; `grads` and `outs` may be null.
std::vector<Segment> segments_of(const py::tuple& logits, const py::tuple& counts,
                                 const py::tuple* grads = nullptr, const py::tuple* outs = nullptr) {
  const std::size_t n = logits.size();
  if (counts.size() != n || (grads && grads->size() != n) || (outs && outs->size() != n))
    throw std::invalid_argument("addresses and counts must be as many as the tensors");
  std::vector<Segment> segments(n);
  for (std::size_t i = 0; i < n; ++i) {
    segments[i].logits = address(PyTuple_GET_ITEM(logits.ptr(), i));
    segments[i].count = count(PyTuple_GET_ITEM(counts.ptr(), i));
    if (grads) segments[i].grad = address(PyTuple_GET_ITEM(grads->ptr(), i));
    if (outs) segments[i].out = address(PyTuple_GET_ITEM(outs->ptr(), i));
  }
  return segments;
}

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

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "C++ kernels of ganfast for the CPU: raw addresses in, threads as told";

  py::class_<Loss>(m, "Loss", "games.LossSpec for logits of one dtype (0 f32, 1 f64, 2 f16, 3 bf16)")
      .def(py::init(&make_loss))
      .def("reduced",
           [](const Loss& loss, const py::tuple& logits, const py::tuple& counts, std::uint64_t key,
              std::size_t out, int out_dtype, int threads) {
             const auto segments = segments_of(logits, counts);
             py::gil_scoped_release release;
             loss_reduced(loss, segments, key,
                          {reinterpret_cast<void*>(out), static_cast<Dtype>(out_dtype)}, threads);
           })
      .def("values",
           [](const Loss& loss, const py::tuple& logits, const py::tuple& counts, std::uint64_t key,
              const py::tuple& outs, int out_dtype, int threads) {
             const auto segments = segments_of(logits, counts, nullptr, &outs);
             py::gil_scoped_release release;
             loss_values(loss, segments, key, static_cast<Dtype>(out_dtype), threads);
           })
      .def("reduced_gradient",
           [](const Loss& loss, const py::tuple& logits, const py::tuple& counts, std::uint64_t key,
              std::size_t grad, int grad_dtype, const py::tuple& outs, int threads) {
             const auto segments = segments_of(logits, counts, nullptr, &outs);
             py::gil_scoped_release release;
             loss_reduced_gradient(loss, segments, key,
                                   {reinterpret_cast<void*>(grad), static_cast<Dtype>(grad_dtype)}, threads);
           })
      .def("values_gradient",
           [](const Loss& loss, const py::tuple& logits, const py::tuple& counts, std::uint64_t key,
              const py::tuple& grads, int grad_dtype, const py::tuple& outs, int threads) {
             const auto segments = segments_of(logits, counts, &grads, &outs);
             py::gil_scoped_release release;
             loss_values_gradient(loss, segments, key, static_cast<Dtype>(grad_dtype), threads);
           });

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
