// The interpolation and the penalty for Python. Each returns False, having done nothing, if a tensor is not
// contiguous memory as it stands.
#include "interpolate.h"
#include "module_bind.h"
#include "module_tensors.h"
#include "penalty.h"

namespace ganfast {
namespace {

double real_number(PyObject* number) {
  const double value = PyFloat_AsDouble(number);
  if (value == -1.0 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

// The rows of a tensor of which there are `count`.
Rows rows_of(PyObject* tensor, PyObject* count) {
  const auto rows = static_cast<std::int64_t>(number(count));
  const auto elements = static_cast<std::int64_t>(number(call(tensor, names().numel).ptr()));
  if (rows < 1 || elements % rows != 0) throw std::invalid_argument("rows do not divide the elements");
  return {rows, elements / rows};
}

// None, or memory as it stands.
bool fits(PyObject* tensor, std::int64_t count) { return tensor == Py_None || is_plain(tensor, count); }

void* address_or_null(PyObject* tensor) { return tensor == Py_None ? nullptr : address(tensor); }

// Runs work(threads) on one thread if there is little of it, else on all and without the interpreter's lock.
template <class Work>
void run(Rows rows, int threads, Work work) {
  constexpr std::int64_t kGrain = 65536;  // fewer elements are done before a second thread has woken up
  if (rows.elements() < kGrain) return work(1);
  py::gil_scoped_release release;
  work(threads);
}

// key, dtype, threads, rows, group, real, fake, out
PyObject* interpolated(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(8, count, [&] {
    const Mixture mixture{rows_of(items[5], items[3]), static_cast<Dtype>(number(items[1])),
                          static_cast<std::int64_t>(number(items[4])), number(items[0])};
    const std::int64_t n = mixture.rows.elements();
    if (!is_plain(items[5], n) || !is_plain(items[6], n) || !is_plain(items[7], n)) return PyBool_FromLong(0);
    const void *real = address(items[5]), *fake = address(items[6]);
    void* out = address(items[7]);
    run(mixture.rows, static_cast<int>(number(items[2])),
        [&](int threads) { interpolate(mixture, real, fake, out, threads); });
    return PyBool_FromLong(1);
  });
}

// key, dtype, threads, rows, group, grad, of_real, of_fake
PyObject* interpolated_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(8, count, [&] {
    const Mixture mixture{rows_of(items[5], items[3]), static_cast<Dtype>(number(items[1])),
                          static_cast<std::int64_t>(number(items[4])), number(items[0])};
    const std::int64_t n = mixture.rows.elements();
    if (!is_plain(items[5], n) || !fits(items[6], n) || !fits(items[7], n)) return PyBool_FromLong(0);
    const void* grad = address(items[5]);
    void *of_real = address_or_null(items[6]), *of_fake = address_or_null(items[7]);
    run(mixture.rows, static_cast<int>(number(items[2])),
        [&](int threads) { interpolate_gradient(mixture, grad, of_real, of_fake, threads); });
    return PyBool_FromLong(1);
  });
}

// What the three of the penalty begin with: dtype, threads, rows, target, one_sided, weight, x, norms.
template <Py_ssize_t kCount, class Body>
PyObject* on_penalty(PyObject* const* items, Py_ssize_t count, Body body) {
  return guarded(kCount, count, [&] {
    const Penalty p{rows_of(items[6], items[2]), static_cast<Dtype>(number(items[0])), real_number(items[3]),
                    items[4] == Py_True, real_number(items[5])};
    if (!is_plain(items[6], p.rows.elements()) || !is_plain(items[7], p.rows.count)) return PyBool_FromLong(0);
    const Dtype scalars = p.dtype == Dtype::f64 ? Dtype::f64 : Dtype::f32;
    return PyBool_FromLong(body(p, address(items[6]), address(items[7]), scalars,
                                static_cast<int>(number(items[1])), items + 8));
  });
}

// ..., out
PyObject* penalized(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_penalty<9>(items, count, [](const Penalty& p, const void* x, void* norms, Dtype scalars,
                                        int threads, PyObject* const* rest) {
    const Scalar out{address(rest[0]), scalars};
    run(p.rows, threads, [&](int t) { penalty(p, x, norms, out, t); });
    return true;
  });
}

// ..., grad, out
PyObject* penalized_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_penalty<10>(items, count, [](const Penalty& p, const void* x, void* norms, Dtype scalars,
                                         int threads, PyObject* const* rest) {
    if (!is_plain(rest[0], 1) || !is_plain(rest[1], p.rows.elements())) return false;
    const Scalar grad{address(rest[0]), scalars};
    void* out = address(rest[1]);
    run(p.rows, threads, [&](int t) { penalty_gradient(p, x, norms, grad, out, t); });
    return true;
  });
}

// ..., grad, v, of_grad, of_x
PyObject* penalized_second_order(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_penalty<12>(items, count, [](const Penalty& p, const void* x, void* norms, Dtype scalars,
                                         int threads, PyObject* const* rest) {
    const std::int64_t n = p.rows.elements();
    if (!is_plain(rest[0], 1) || !is_plain(rest[1], n) || !is_plain(rest[3], n)) return false;
    const Scalar grad{address(rest[0]), scalars}, of_grad{address(rest[2]), scalars};
    const void* v = address(rest[1]);
    void* of_x = address(rest[3]);
    run(p.rows, threads, [&](int t) { penalty_second_order(p, x, norms, grad, v, of_grad, of_x, t); });
    return true;
  });
}

}  // namespace

void bind_penalty(py::module_& m) {
  define<interpolated>(m, "interpolate", "(key, dtype, threads, rows, group, real, fake, out) -> done");
  define<interpolated_gradient>(m, "interpolate_gradient",
                                "(key, dtype, threads, rows, group, grad, of_real, of_fake) -> done");
  define<penalized>(m, "penalty",
                    "(dtype, threads, rows, target, one_sided, weight, x, norms, out) -> done");
  define<penalized_gradient>(m, "penalty_gradient",
                             "(dtype, threads, rows, target, one_sided, weight, x, norms, grad, out) -> done");
  define<penalized_second_order>(
      m, "penalty_second_order",
      "(dtype, threads, rows, target, one_sided, weight, x, norms, grad, v, of_grad, of_x) -> done");
}

}  // namespace ganfast
