// How the binding files read their arguments: tensors, asked from C++ for their addresses and counts.
//
// The functions on hot paths are plain CPython functions, which read their arguments from an array and ask the
// tensors themselves: on 64 logits, pybind11's own dispatch and a loop in Python cost more than the kernel.
// Nothing of torch is compiled in: data_ptr(), numel() and is_contiguous() are Python calls.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>

namespace ganfast {

namespace py = pybind11;

struct Names {
  PyObject* data_ptr = PyUnicode_InternFromString("data_ptr");
  PyObject* numel = PyUnicode_InternFromString("numel");
  PyObject* is_contiguous = PyUnicode_InternFromString("is_contiguous");
  PyObject* is_neg = PyUnicode_InternFromString("is_neg");
};

inline const Names& names() {
  static const Names names;
  return names;
}

inline py::object call(PyObject* tensor, PyObject* method) {
  PyObject* result = PyObject_CallMethodNoArgs(tensor, method);
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

inline std::uint64_t number(PyObject* integer) {
  const std::uint64_t value = PyLong_AsUnsignedLongLong(integer);
  if (value == static_cast<std::uint64_t>(-1) && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

inline void* address(PyObject* tensor) {
  return reinterpret_cast<void*>(number(call(tensor, names().data_ptr).ptr()));
}

// A view with a pending negation is the imaginary part of something, so it is contiguous only if it has one
// element: only then need it be asked.
inline bool is_plain(PyObject* tensor, std::int64_t count) {
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

// Runs body, which returns what Python gets; a C++ exception becomes a Python one.
template <class Body>
PyObject* guarded(Py_ssize_t wanted, Py_ssize_t count, Body body) {
  try {
    if (count != wanted) throw py::type_error("wrong number of arguments");
    return body();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  }
  return nullptr;
}

using FastCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

template <FastCall kFunction>
void define(py::module_& m, const char* name, const char* doc) {
  static PyMethodDef definition = {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(kFunction)),
                                   METH_FASTCALL, doc};
  m.attr(name) = py::reinterpret_steal<py::object>(PyCFunction_New(&definition, nullptr));
}

}  // namespace ganfast
