// The table that a step on CUDA reads (csrc/cuda/optim.cu): where the tensors of a group are. It is made anew for
// every step and compared with the one before, so that none is ever out of date; made in Python, that would take
// longer than the step.
#include "args.h"

namespace ganfast {
namespace {

constexpr std::int64_t kChunk = 4096;  // as in csrc/cuda/optim.cu, and so are the rows
enum Row { kFirstChunk, kCount, kDtype, kSteps, kStepAt, kParam, kGrad, kState, kRows = kState + 3 };
constexpr int kMixed = 4;  // after the codes of the dtypes that a step takes

using Column = std::array<std::int64_t, kRows>;

std::int64_t address(const View& v) { return static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(v.data)); }

PyObject* get_or_none(PyObject* dict, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (value == nullptr && PyErr_Occurred()) throw py::error_already_set();
  return value == nullptr ? Py_None : value;
}

// Strings that are looked up again and again.
struct TableKeys {
  PyObject *grad = PyUnicode_InternFromString("grad"), *step = PyUnicode_InternFromString("step"),
           *is_cpu = PyUnicode_InternFromString("is_cpu");
};

const TableKeys& table_keys() {
  static const TableKeys keys;
  return keys;
}

// The tensors of one group, all of them checked. `beside` has their device.
struct Table {
  const Placed& beside;
  std::vector<Column> columns;
  py::list grads, touched, on_host, on_device, idle;  // the counters by where they are; idle: without a gradient
  std::int64_t chunks = 0, dtype = -1;
  double steps = 0;  // the number of the step that is to be done, by the first counter on the host

  explicit Table(const Placed& beside) : beside(beside) {}

  void add(PyObject* param, PyObject* state, const py::tuple& arrays, Py_ssize_t i) {
    const Placed p = this->param(param, {"params", i});
    py::object grad = checked(PyObject_GetAttr(param, table_keys().grad));
    if (grad.is_none()) return idle.append(py::handle(param));
    Column column{};
    column[kCount] = p.count, column[kDtype] = static_cast<std::int64_t>(p.dtype), column[kParam] = address(p);
    column[kGrad] = like(p, grad.ptr(), {"grad", i});
    PyObject* own = get_or_none(state, param);
    if (own == Py_None || !PyDict_Check(own) || PyDict_Size(own) == 0) throw NoState{};
    count(column, get_or_none(own, table_keys().step), i);
    touched.append(py::handle(param));
    for (py::ssize_t k = 0; k < 3; ++k) {
      PyObject* name = PyTuple_GET_ITEM(arrays.ptr(), k);
      if (name == Py_None) continue;
      PyObject* array = get_or_none(own, name);
      column[kState + k] = like(p, array, {PyUnicode_AsUTF8(name), i});
      touched.append(py::handle(array));
    }
    grads.append(std::move(grad));
    append(column);
  }

  // One that has neither a gradient nor state.
  void add_alone(PyObject* tensor, Py_ssize_t i) {
    const Placed p = param(tensor, {"tensors", i});
    Column column{};
    column[kCount] = p.count, column[kDtype] = static_cast<std::int64_t>(p.dtype), column[kParam] = address(p);
    append(column);
  }

  // By rows.
  py::object bytes() const {
    const std::size_t size = columns.size() * sizeof(Column);
    py::object made = checked(PyByteArray_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
    char* to = PyByteArray_AS_STRING(made.ptr());
    for (std::size_t row = 0; row < kRows; ++row)
      for (const Column& column : columns) to = std::copy_n(reinterpret_cast<const char*>(&column[row]), 8, to);
    return made;
  }

 private:
  Placed param(PyObject* object, Name name) const {
    const Placed p = view<Placed>(object, name);
    p.need(is_floating(p.dtype), "has a dtype that no kernel takes");
    p.need(p.beside(beside), "is on another device than the first one");
    p.need(p.dense(), "is not dense in memory, a layout that no kernel takes");
    return p;
  }

  void append(Column& column) {
    if (column[kCount] == 0) return;
    column[kFirstChunk] = chunks;
    chunks += (column[kCount] + kChunk - 1) / kChunk;
    dtype = dtype < 0 || dtype == column[kDtype] ? column[kDtype] : kMixed;
    columns.push_back(column);
  }

  // The address of what has to lie in memory as its parameter does.
  static std::int64_t like(const Placed& p, PyObject* object, Name name) {
    const Placed v = view<Placed>(object, name);
    v.need(v.laid_out_as(p) && v.beside(p), "has another layout, dtype or device than its parameter");
    return address(v);
  }

  void count(Column& column, PyObject* step, Py_ssize_t i) {
    const Placed v = view<Placed>(step, {"step", i});
    v.need(v.count == 1 && v.dtype == Dtype::f32, "is not one float32");
    if (checked(PyObject_GetAttr(step, table_keys().is_cpu)).ptr() != Py_True) {
      v.need(v.beside(beside), "is on another device than its parameter");
      on_device.append(py::handle(step));
      column[kStepAt] = address(v);
      return;
    }
    on_host.append(py::handle(step));
    const double now = *static_cast<const float*>(v.data) + 1.0;
    if (steps == 0) steps = now;
    column[kSteps] = static_cast<std::int64_t>(now - steps);
  }
};

py::tuple table(const Placed& first, const py::list& params, const py::dict& state, const py::tuple& arrays) {
  if (arrays.size() != 3) throw py::value_error("arrays: give three names or None");
  Table made(first);
  made.columns.reserve(params.size());
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(params.ptr()); ++i)
    made.add(PyList_GET_ITEM(params.ptr(), i), state.ptr(), arrays, i);
  return py::make_tuple(made.bytes(), made.chunks, made.dtype, made.steps, made.on_host, made.on_device, made.touched,
                        made.grads, made.idle);
}

py::tuple tensor_table(const py::list& tensors) {
  if (tensors.empty()) throw py::value_error("tensors: give at least one");
  const Placed first = view<Placed>(PyList_GET_ITEM(tensors.ptr(), 0), {"tensors", 0});
  Table made(first);
  made.columns.reserve(tensors.size());
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(tensors.ptr()); ++i) made.add_alone(PyList_GET_ITEM(tensors.ptr(), i), i);
  return py::make_tuple(made.bytes(), made.chunks, made.dtype < 0 ? 0 : made.dtype);
}

void count_steps(const py::list& counters) {
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(counters.ptr()); ++i)
    *view(PyList_GET_ITEM(counters.ptr(), i), {"counters", i}).as<float>(1) += 1;
}

}  // namespace

void bind_tables(py::module_& m) {
  define<table>(m, "step_table", {"first", "params", "state", "arrays"},
                "Where the tensors of a group are: the table by rows, its chunks, dtype and steps, the counters on the "
                "host and on the device, what is touched, the gradients, and what has none.");
  define<tensor_table>(m, "tensor_table", {"tensors"},
                       "Where tensors are that have neither gradients nor state: the table by rows, its chunks and "
                       "dtype.");
  define<count_steps>(m, "count_steps", {"counters"}, "Adds 1 to each of these counters in the host's memory.");
}

}  // namespace ganfast
