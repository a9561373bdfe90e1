// Tensors by DLPack's C exchange API (version 1.3; torch.Tensor has it from 2.10 on): address, shape, strides and
// dtype in one call of a C function. Asking a tensor's methods one by one costs ten times as much, and an
// optimizer asks five tensors for each weight. The structs below are what that protocol lays down.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

#include "losses.h"
#include "module_tensors.h"

namespace ganfast {
namespace dlpack {

struct Device {
  std::int32_t type;  // 1: the CPU
  std::int32_t id;
};

struct DataType {
  std::uint8_t code;  // 2: IEEE floating point, 4: bfloat
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;    // both are the tensor's own memory
  std::int64_t* strides;  // in elements
  std::uint64_t byte_offset;
};

struct ExchangeApi {
  std::uint32_t major, minor;
  ExchangeApi* previous;
  void* functions_before[3];
  int (*tensor_from_py_object)(void* object, Tensor* out);  // not owned; -1 and a Python error if it fails
  void* functions_after[1];
};

}  // namespace dlpack

// What is needed of torch, looked up once. `api` is null if this torch has none that we know.
struct Torch {
  PyTypeObject* tensor;
  PyTypeObject* parameter;
  PyObject* increment_version;
  PyObject* empty_like;
  const dlpack::ExchangeApi* api = nullptr;

  Torch() {
    const py::module_ module = py::module_::import("torch");
    const py::object type = module.attr("Tensor");
    empty_like = py::object(module.attr("empty_like")).inc_ref().ptr();
    const py::object parameter_type = py::module_::import("torch.nn").attr("Parameter");
    tensor = reinterpret_cast<PyTypeObject*>(type.inc_ref().ptr());
    parameter = reinterpret_cast<PyTypeObject*>(py::object(parameter_type).inc_ref().ptr());
    increment_version =
        py::object(py::module_::import("torch.autograd.graph").attr("increment_version")).inc_ref().ptr();
    if (!py::hasattr(type, "__dlpack_c_exchange_api__")) return;
    const py::object capsule = type.attr("__dlpack_c_exchange_api__");
    if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) return;
    const auto* found =
        static_cast<const dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (found->major == 1 && found->tensor_from_py_object != nullptr) api = found;
  }
};

inline const Torch& torch_() {
  static const Torch* torch = new Torch;  // never freed: the interpreter may be gone by then
  return *torch;
}

// A plain CPU tensor of one of our dtypes, as it lies in memory.
struct View {
  void* data;
  std::int64_t count;
  Dtype dtype;
  std::int32_t ndim;
  const std::int64_t* shape;
  const std::int64_t* strides;

  // Whether element i of both has the same place in memory: then any dense order will do.
  bool laid_out_as(const View& other) const {
    if (ndim != other.ndim || dtype != other.dtype) return false;
    for (std::int32_t d = 0; d < ndim; ++d)
      if (shape[d] != other.shape[d] || (shape[d] > 1 && strides[d] != other.strides[d])) return false;
    return true;
  }

  // Whether the elements fill one piece of memory without holes or overlaps, in whatever order.
  bool dense() const {
    if (count == 0) return true;
    std::int64_t expected = 1, left = count;
    for (std::int32_t d = ndim - 1; d >= 0 && left > 1; --d) {  // contiguous: the usual case
      if (shape[d] == 1) continue;
      if (strides[d] != expected) break;
      expected *= shape[d];
      left /= shape[d];
    }
    if (left == 1) return true;
    for (expected = 1; expected < count;) {  // find each next longer stride
      std::int32_t d = 0;
      while (d < ndim && (shape[d] == 1 || strides[d] != expected)) ++d;
      if (d == ndim) return false;
      expected *= shape[d];
    }
    return true;
  }
};

// False if the object is anything but a tensor on the CPU with memory of its own, of a dtype that we have.
inline bool view(PyObject* object, View& out) {
  const Torch& torch = torch_();
  if (Py_TYPE(object) != torch.tensor && Py_TYPE(object) != torch.parameter) return false;
  dlpack::Tensor t;
  if (torch.api == nullptr) return false;
  if (torch.api->tensor_from_py_object(object, &t) != 0) {
    PyErr_Clear();
    return false;
  }
  if (t.device.type != 1 || t.dtype.lanes != 1) return false;
  const bool ieee = t.dtype.code == 2;
  if (ieee && t.dtype.bits == 32)
    out.dtype = Dtype::f32;
  else if (ieee && t.dtype.bits == 64)
    out.dtype = Dtype::f64;
  else if (ieee && t.dtype.bits == 16)
    out.dtype = Dtype::f16;
  else if (t.dtype.code == 4 && t.dtype.bits == 16)
    out.dtype = Dtype::bf16;
  else
    return false;
  out.data = static_cast<char*>(t.data) + t.byte_offset;
  out.ndim = t.ndim, out.shape = t.shape, out.strides = t.strides;
  out.count = 1;
  for (std::int32_t d = 0; d < t.ndim; ++d) out.count *= t.shape[d];
  // A pending negation needs a stride of 2, so only one element can hide it: see is_plain().
  return out.count != 1 || call(object, names().is_neg).ptr() != Py_True;
}

inline py::object empty_like(PyObject* tensor) {
  PyObject* result = PyObject_CallOneArg(torch_().empty_like, tensor);
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// Tells autograd that the tensors in `list` were changed in place.
inline void increment_versions(const py::list& list) {
  PyObject* result = PyObject_CallOneArg(torch_().increment_version, list.ptr());
  if (result == nullptr) throw py::error_already_set();
  Py_DECREF(result);
}

}  // namespace ganfast
