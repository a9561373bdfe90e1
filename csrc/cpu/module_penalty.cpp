// The interpolation and the penalty for Python. Each returns False, having done nothing, if the samples of a
// tensor are not rows of memory as they stand, or if two tensors are laid out differently.
#include "interpolate.h"
#include "module_bind.h"
#include "module_dlpack.h"
#include "penalty.h"

namespace ganfast {
namespace {

double real_number(PyObject* number) {
  const double value = PyFloat_AsDouble(number);
  if (value == -1.0 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

// A tensor whose samples lie one behind the other, each one run of memory in some order of its elements: as in
// contiguous and channels_last tensors.
bool samples(PyObject* object, View& out) {
  return view(object, out) && out.ndim > 0 && out.dense() &&
         (out.shape[0] < 2 || out.count == 0 || out.strides[0] * out.shape[0] == out.count);
}

// A result like `samples`, or None, whose address is null.
bool result(PyObject* object, const View& samples, void*& address) {
  address = nullptr;
  if (object == Py_None) return true;
  View out;
  if (!view(object, out) || !out.laid_out_as(samples)) return false;
  address = out.data;
  return true;
}

// `samples` as `count` rows of equal length.
Rows rows_of(const View& samples, std::int64_t count) {
  if (count < 1 || samples.count % count != 0) throw std::invalid_argument("rows do not divide the elements");
  return {count, samples.count / count};
}

// Runs work(threads) on one thread if there is little of it, else on all and without the interpreter's lock.
template <class Work>
void run(Rows rows, int threads, Work work) {
  constexpr std::int64_t kGrain = 65536;  // fewer elements are done before a second thread has woken up
  if (rows.elements() < kGrain) return work(1);
  py::gil_scoped_release release;
  work(threads);
}

Mixture mixture_of(std::uint64_t key, PyObject* group, const View& samples) {
  return {rows_of(samples, samples.shape[0]), samples.dtype, static_cast<std::int64_t>(number(group)), key};
}

// key, threads, group, real, fake, out
PyObject* interpolated(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(6, count, [&] {
    View real, fake;
    void* out;
    if (!samples(items[3], real) || !view(items[4], fake) || !fake.laid_out_as(real) ||
        !result(items[5], real, out))
      return PyBool_FromLong(0);
    if (real.count == 0) return PyBool_FromLong(1);
    const Mixture mixture = mixture_of(number(items[0]), items[2], real);
    run(mixture.rows, static_cast<int>(number(items[1])),
        [&](int threads) { interpolate(mixture, real.data, fake.data, out, threads); });
    return PyBool_FromLong(1);
  });
}

// A tensor of 64 bits, taken from a list of spare ones: what is drawn into it is safe from other threads, since
// drawing gives up the interpreter's lock. There is none if the list is empty.
class Word {
 public:
  explicit Word(PyObject* spare) : spare_(spare) {
    if (!PyList_CheckExact(spare)) throw py::type_error("words come in a list");
    const Py_ssize_t last = PyList_GET_SIZE(spare) - 1;
    if (last < 0) return;
    word_ = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(spare, last));
    if (PyList_SetSlice(spare, last, last + 1, nullptr) != 0) throw py::error_already_set();
  }
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;
  ~Word() {
    if (word_ && PyList_Append(spare_, word_.ptr()) != 0) PyErr_Clear();
  }
  explicit operator bool() const { return static_cast<bool>(word_); }

  // The number that ganfast._philox.new_key draws from this generator.
  std::uint64_t draw(PyObject* generator) {
    static PyObject* const random = PyUnicode_InternFromString("random_");
    static PyObject* const keywords = PyTuple_Pack(1, PyUnicode_InternFromString("generator"));
    PyObject* const arguments[] = {word_.ptr(), generator};
    PyObject* drawn =
        PyObject_VectorcallMethod(random, arguments, 1, generator == Py_None ? nullptr : keywords);
    if (drawn == nullptr) throw py::error_already_set();
    Py_DECREF(drawn);
    dlpack::Tensor t;
    if (torch_().api->tensor_from_py_object(word_.ptr(), &t) != 0) throw py::error_already_set();
    return *reinterpret_cast<std::uint64_t*>(static_cast<char*>(t.data) + t.byte_offset);
  }

 private:
  PyObject* spare_;
  py::object word_;
};

// spare words, generator, threads, group, real, fake
PyObject* drawn_and_interpolated(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(6, count, [&]() -> PyObject* {
    View real, fake;
    if (!samples(items[4], real) || !view(items[5], fake) || !fake.laid_out_as(real)) Py_RETURN_NONE;
    Word word(items[0]);
    if (!word) Py_RETURN_NONE;
    py::object result = empty_like(items[4]);
    View out;
    if (!view(result.ptr(), out) || !out.laid_out_as(real)) Py_RETURN_NONE;
    const std::uint64_t key = word.draw(items[1]);
    if (real.count == 0) return result.release().ptr();
    const Mixture mixture = mixture_of(key, items[3], real);
    run(mixture.rows, static_cast<int>(number(items[2])),
        [&](int threads) { interpolate(mixture, real.data, fake.data, out.data, threads); });
    return result.release().ptr();
  });
}

// key, threads, group, grad, of_real, of_fake
PyObject* interpolated_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(6, count, [&] {
    View grad;
    void *of_real, *of_fake;
    if (!samples(items[3], grad) || !result(items[4], grad, of_real) || !result(items[5], grad, of_fake))
      return PyBool_FromLong(0);
    if (grad.count == 0) return PyBool_FromLong(1);
    const Mixture mixture = mixture_of(number(items[0]), items[2], grad);
    run(mixture.rows, static_cast<int>(number(items[1])),
        [&](int threads) { interpolate_gradient(mixture, grad.data, of_real, of_fake, threads); });
    return PyBool_FromLong(1);
  });
}

// What the three of the penalty begin with: threads, rows, target, one_sided, weight, x, norms.
template <Py_ssize_t kCount, class Body>
PyObject* on_penalty(PyObject* const* items, Py_ssize_t count, Body body) {
  return guarded(kCount, count, [&] {
    View x, norms;
    if (!samples(items[5], x) || !view(items[6], norms)) return PyBool_FromLong(0);
    const Penalty p{rows_of(x, static_cast<std::int64_t>(number(items[1]))), x.dtype, real_number(items[2]),
                    items[3] == Py_True, real_number(items[4])};
    if (norms.count != p.rows.count || !norms.dense()) return PyBool_FromLong(0);
    return PyBool_FromLong(body(p, x, norms.data, static_cast<int>(number(items[0])), items + 7));
  });
}

bool scalar(PyObject* object, Scalar& out) {
  View v;
  if (!view(object, v) || v.count != 1) return false;
  out = {v.data, v.dtype};
  return true;
}

// ..., out
PyObject* penalized(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_penalty<8>(items, count, [](const Penalty& p, const View& x, void* norms, int threads,
                                        PyObject* const* rest) {
    Scalar out;
    if (!scalar(rest[0], out)) return false;
    run(p.rows, threads, [&](int t) { penalty(p, x.data, norms, out, t); });
    return true;
  });
}

// ..., grad, out
PyObject* penalized_gradient(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_penalty<9>(items, count, [](const Penalty& p, const View& x, void* norms, int threads,
                                        PyObject* const* rest) {
    Scalar grad;
    void* out;
    if (!scalar(rest[0], grad) || !result(rest[1], x, out)) return false;
    run(p.rows, threads, [&](int t) { penalty_gradient(p, x.data, norms, grad, out, t); });
    return true;
  });
}

// ..., grad, v, of_grad, of_x
PyObject* penalized_second_order(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return on_penalty<11>(items, count, [](const Penalty& p, const View& x, void* norms, int threads,
                                         PyObject* const* rest) {
    Scalar grad, of_grad;
    void *v, *of_x;
    if (!scalar(rest[0], grad) || !result(rest[1], x, v) || !scalar(rest[2], of_grad) ||
        !result(rest[3], x, of_x))
      return false;
    run(p.rows, threads, [&](int t) { penalty_second_order(p, x.data, norms, grad, v, of_grad, of_x, t); });
    return true;
  });
}

}  // namespace

void bind_penalty(py::module_& m) {
  define<interpolated>(m, "interpolate", "(key, threads, group, real, fake, out) -> done");
  define<drawn_and_interpolated>(m, "draw_and_interpolate",
                                 "(spare words, generator, threads, group, real, fake) -> points or None");
  define<interpolated_gradient>(m, "interpolate_gradient",
                                "(key, threads, group, grad, of_real, of_fake) -> done");
  define<penalized>(m, "penalty", "(threads, rows, target, one_sided, weight, x, norms, out) -> done");
  define<penalized_gradient>(m, "penalty_gradient",
                             "(threads, rows, target, one_sided, weight, x, norms, grad, out) -> done");
  define<penalized_second_order>(
      m, "penalty_second_order",
      "(threads, rows, target, one_sided, weight, x, norms, grad, v, of_grad, of_x) -> done");
}

}  // namespace ganfast
