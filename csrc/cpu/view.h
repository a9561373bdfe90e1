// A tensor as it lies in memory: how every function of the module reads what Python gives.
//
// Nothing of torch is compiled in: tensors are read through DLPack's C exchange API (torch >= 2.10), which takes
// a tenth of the time of asking their attributes, or else by asking their attributes.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "elements.h"

namespace ganfast {

namespace py = pybind11;

// ganfast.errors.Refusal: this call cannot be served, and nothing has been done.
struct Refused {
  std::string reason;
};

// ganfast.errors.NoState: the same, until an optimizer has its state.
struct NoState {};

// What an argument, or an element of one, is called.
struct Name {
  const char* text;
  std::int64_t index = -1;

  std::string str() const { return index < 0 ? text : text + ("[" + std::to_string(index) + "]"); }
  [[noreturn]] void refuse(const std::string& why) const { throw Refused{str() + " " + why}; }
};

template <class T>
constexpr Dtype kDtypeOf = std::is_same_v<T, float>          ? Dtype::f32
                           : std::is_same_v<T, double>       ? Dtype::f64
                           : std::is_same_v<T, std::uint8_t> ? Dtype::u8
                           : std::is_same_v<T, bool>         ? Dtype::b8
                           : std::is_same_v<T, std::int32_t> ? Dtype::i32
                                                             : Dtype::i64;

// A CPU tensor as it lies in memory, of one of our dtypes and without a pending negation.
struct View {
  Name name{""};
  void* data = nullptr;
  std::int64_t count = 1;
  Dtype dtype = Dtype::f32;
  std::int32_t ndim = 0;
  const std::int64_t* shape = nullptr;
  const std::int64_t* strides = nullptr;        // in elements
  std::shared_ptr<const std::int64_t[]> sizes;  // both, where they are not the tensor's own

  // Whether the elements are one after the other in memory, in the order of their indices.
  bool contiguous() const {
    std::int64_t expected = 1;
    for (std::int32_t d = ndim - 1; d >= 0; --d) {
      if (shape[d] == 1) continue;
      if (strides[d] != expected) return count == 0;
      expected *= shape[d];
    }
    return true;
  }

  // Whether the elements fill one piece of memory without holes or overlaps, in whatever order.
  bool dense() const {
    if (contiguous()) return true;
    for (std::int64_t expected = 1; expected < count;) {  // find each next longer stride
      std::int32_t d = 0;
      while (d < ndim && (shape[d] == 1 || strides[d] != expected)) ++d;
      if (d == ndim) return false;
      expected *= shape[d];
    }
    return true;
  }

  // Whether both have the same shape and dtype.
  bool fits(const View& other) const {
    return dtype == other.dtype && ndim == other.ndim && std::equal(shape, shape + ndim, other.shape);
  }

  // Whether element i of both has the same place in memory: then any dense order will do.
  bool laid_out_as(const View& other) const {
    if (!fits(other)) return false;
    for (std::int32_t d = 0; d < ndim; ++d)
      if (shape[d] > 1 && strides[d] != other.strides[d]) return false;
    return true;
  }

  void need(bool holds, const char* else_why) const {
    if (!holds) name.refuse(else_why);
  }

  // The address of contiguous numbers of type T, `wanted` of them unless that is -1.
  template <class T>
  T* as(std::int64_t wanted = -1) const {
    need(dtype == kDtypeOf<T>, "has another dtype than the kernel");
    need(contiguous(), "is not contiguous");
    need(wanted < 0 || count == wanted, "has another size than the other arguments");
    return static_cast<T*>(data);
  }

  Scalar scalar() const {
    need(count == 1 && is_floating(dtype), "is not one floating-point number");
    return {data, dtype};
  }
};

// A tensor that the caller has just made for a result: it has no pending negation, which costs time to ask.
struct Output : View {};

// A tensor on whatever device: `data` is an address there. The numbers are DLPack's; 1 is the CPU, 2 is CUDA.
struct Placed : View {
  std::int32_t device_type = 1, device_id = 0;

  bool beside(const Placed& other) const {
    return device_type == other.device_type && device_id == other.device_id;
  }
};

// The structs of DLPack 1.3, as that protocol lays them down.
namespace dlpack {

struct Tensor {
  void* data;
  std::int32_t device_type, device_id;  // type 1: the CPU
  std::int32_t ndim;
  std::uint8_t code, bits;  // of the dtype
  std::uint16_t lanes;
  std::int64_t *shape, *strides;  // the tensor's own memory
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

// Our dtypes by their names in torch and by their codes and bits in DLPack, in the order of Dtype.
struct DtypeRow {
  const char* name;
  std::uint8_t code, bits;
};
constexpr DtypeRow kDtypes[] = {{"float32", 2, 32}, {"float64", 2, 64}, {"float16", 2, 16}, {"bfloat16", 4, 16},
                                {"uint8", 1, 8},    {"bool", 6, 8},     {"int32", 0, 32},   {"int64", 0, 64}};

// What is needed of Python, looked up once.
struct Imports {
  PyTypeObject *tensor, *parameter;
  PyObject *threads, *increment_version, *no_state, *refusal, *strided;
  PyObject* is_neg = PyUnicode_InternFromString("is_neg");
  PyObject* dtypes[std::size(kDtypes)];
  const dlpack::ExchangeApi* found = nullptr;  // null if this torch has none that we know
  const dlpack::ExchangeApi* api = nullptr;    // the one in use

  Imports() {
    const py::module_ torch = py::module_::import("torch");
    const auto keep = [](py::object object) { return object.release().ptr(); };
    const py::object type = torch.attr("Tensor");
    tensor = reinterpret_cast<PyTypeObject*>(keep(type));
    parameter = reinterpret_cast<PyTypeObject*>(keep(torch.attr("nn").attr("Parameter")));
    threads = keep(torch.attr("get_num_threads"));
    strided = keep(torch.attr("strided"));
    increment_version = keep(py::module_::import("torch.autograd.graph").attr("increment_version"));
    no_state = keep(py::module_::import("ganfast.errors").attr("NoState"));
    refusal = keep(py::module_::import("ganfast.errors").attr("Refusal"));
    for (std::size_t i = 0; i < std::size(kDtypes); ++i) dtypes[i] = keep(torch.attr(kDtypes[i].name));
    constexpr char kCapsule[] = "dlpack_exchange_api";
    const py::object capsule = py::getattr(type, "__dlpack_c_exchange_api__", py::none());
    if (!PyCapsule_IsValid(capsule.ptr(), kCapsule)) return;
    const auto* offered = static_cast<const dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), kCapsule));
    if (offered->major == 1 && offered->tensor_from_py_object != nullptr) found = api = offered;
  }
};

inline Imports* imports_ = nullptr;  // made when the module is; never freed, since Python may be gone by then
inline Imports& imports() { return *imports_; }

// A result of the C API, which is null where it raised.
inline py::object checked(PyObject* result) {
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

constexpr char kNoMemory[] = "has no strided memory on the CPU";

template <class V>
void read_by_exchange(PyObject* object, V& v) {
  dlpack::Tensor t;
  if (imports().api->tensor_from_py_object(object, &t) != 0) {
    PyErr_Clear();
    v.name.refuse(kNoMemory);
  }
  if constexpr (std::is_same_v<V, Placed>)
    v.device_type = t.device_type, v.device_id = t.device_id;
  else
    v.need(t.device_type == 1, kNoMemory);
  std::size_t i = 0;
  while (i < std::size(kDtypes) && (t.code != kDtypes[i].code || t.bits != kDtypes[i].bits)) ++i;
  v.need(i < std::size(kDtypes) && t.lanes == 1, "has a dtype that no kernel takes");
  v.dtype = static_cast<Dtype>(i);
  v.data = static_cast<char*>(t.data) + t.byte_offset;
  v.ndim = t.ndim, v.shape = t.shape, v.strides = t.strides;
}

template <class V>
void read_by_attributes(PyObject* object, V& v) {
  const py::handle x(object);
  const auto is = [&](const char* flag) { return py::object(x.attr(flag)).ptr() == Py_True; };
  bool there = is("is_cpu");
  if constexpr (std::is_same_v<V, Placed>)
    if (!there && (there = is("is_cuda"))) v.device_type = 2, v.device_id = x.attr("get_device")().cast<std::int32_t>();
  v.need(there && py::object(x.attr("layout")).ptr() == imports().strided, kNoMemory);
  const py::object dtype = x.attr("dtype");
  std::size_t i = 0;
  while (i < std::size(kDtypes) && dtype.ptr() != imports().dtypes[i]) ++i;
  v.need(i < std::size(kDtypes), "has a dtype that no kernel takes");
  v.dtype = static_cast<Dtype>(i);
  PyObject* address = PyObject_CallMethod(object, "data_ptr", nullptr);
  if (address == nullptr) PyErr_Clear(), v.name.refuse(kNoMemory);  // the batched gradients of is_grads_batched
  v.data = reinterpret_cast<void*>(checked(address).cast<std::uintptr_t>());
  const auto shape = x.attr("shape").cast<std::vector<std::int64_t>>();
  const auto strides = x.attr("stride")().cast<std::vector<std::int64_t>>();
  std::shared_ptr<std::int64_t[]> sizes(new std::int64_t[2 * shape.size() + 1]);
  std::copy(strides.begin(), strides.end(), std::copy(shape.begin(), shape.end(), sizes.get()));
  v.ndim = static_cast<std::int32_t>(shape.size());
  v.shape = sizes.get(), v.strides = v.shape + v.ndim, v.sizes = std::move(sizes);
}

template <class V = View>
V view(PyObject* object, Name name) {
  V v;
  v.name = name;
  const PyTypeObject* type = Py_TYPE(object);
  if (type != imports().tensor && type != imports().parameter)
    name.refuse(std::string("is a ") + type->tp_name + ", not a plain tensor");
  imports().api ? read_by_exchange(object, v) : read_by_attributes(object, v);
  bool neighbours = std::is_same_v<V, Output>;
  for (std::int32_t d = 0; d < v.ndim; ++d) {
    v.count *= v.shape[d];
    neighbours |= v.shape[d] > 1 && v.strides[d] == 1;
  }
  v.need(v.data != nullptr || v.count == 0, kNoMemory);  // torch's efficient zero tensors
  // What has a pending negation is the imaginary part of something, whose elements have no neighbours.
  v.need(neighbours || checked(PyObject_CallMethodNoArgs(object, imports().is_neg)).ptr() != Py_True,
         "has a pending negation");
  return v;
}

}  // namespace ganfast
