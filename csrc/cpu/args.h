// How what Python gives comes into C++: the one place where tensors are read, and where a kernel says no.
//
// Each function of the module is an ordinary C++ function. The types of its parameters say what Python may give,
// define() says what they are called; wrapper, signature and stub (ganfast/_cpu.pyi) follow from those.
// Nothing of torch is compiled in: tensors are read through DLPack's C exchange API (torch >= 2.10), which takes
// a tenth of the time of asking their attributes, or else by asking their attributes.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
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
constexpr Dtype kDtypeOf = Dtype::f32;
template <>
constexpr Dtype kDtypeOf<double> = Dtype::f64;
template <>
constexpr Dtype kDtypeOf<std::uint8_t> = Dtype::u8;
template <>
constexpr Dtype kDtypeOf<bool> = Dtype::b8;
template <>
constexpr Dtype kDtypeOf<std::int32_t> = Dtype::i32;
template <>
constexpr Dtype kDtypeOf<std::int64_t> = Dtype::i64;

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

  // Whether element i of both has the same place in memory: then any dense order will do.
  bool laid_out_as(const View& other) const {
    if (ndim != other.ndim || dtype != other.dtype) return false;
    for (std::int32_t d = 0; d < ndim; ++d)
      if (shape[d] != other.shape[d] || (shape[d] > 1 && strides[d] != other.strides[d])) return false;
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
  PyObject *get_num_threads, *increment_version, *no_state, *refusal, *strided;
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
    get_num_threads = keep(torch.attr("get_num_threads"));
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

inline void read_by_exchange(PyObject* object, View& v) {
  dlpack::Tensor t;
  if (imports().api->tensor_from_py_object(object, &t) != 0) {
    PyErr_Clear();
    v.name.refuse(kNoMemory);
  }
  v.need(t.device_type == 1, kNoMemory);
  std::size_t i = 0;
  while (i < std::size(kDtypes) && (t.code != kDtypes[i].code || t.bits != kDtypes[i].bits)) ++i;
  v.need(i < std::size(kDtypes) && t.lanes == 1, "has a dtype that no kernel takes");
  v.dtype = static_cast<Dtype>(i);
  v.data = static_cast<char*>(t.data) + t.byte_offset;
  v.ndim = t.ndim, v.shape = t.shape, v.strides = t.strides;
}

inline void read_by_attributes(PyObject* object, View& v) {
  const py::handle x(object);
  v.need(py::object(x.attr("layout")).ptr() == imports().strided && py::object(x.attr("is_cpu")).ptr() == Py_True,
         kNoMemory);
  const py::object dtype = x.attr("dtype");
  std::size_t i = 0;
  while (i < std::size(kDtypes) && dtype.ptr() != imports().dtypes[i]) ++i;
  v.need(i < std::size(kDtypes), "has a dtype that no kernel takes");
  v.dtype = static_cast<Dtype>(i);
  v.data = reinterpret_cast<void*>(x.attr("data_ptr")().cast<std::uintptr_t>());
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
  // What has a pending negation is the imaginary part of something, whose elements have no neighbours.
  v.need(neighbours || checked(PyObject_CallMethodNoArgs(object, imports().is_neg)).ptr() != Py_True,
         "has a pending negation");
  return v;
}

// Runs work(threads): on one thread if there are few elements, else on as many as torch uses and without the
// interpreter's lock. What takes longer for each element than a loss does counts it several times.
template <class Work>
void run(std::int64_t elements, Work work) {
  constexpr std::int64_t kGrain = 65536;  // fewer are done before a second thread has woken up
  if (elements < kGrain) return work(1);
  const auto threads = static_cast<int>(PyLong_AsLong(checked(PyObject_CallNoArgs(imports().get_num_threads)).ptr()));
  py::gil_scoped_release release;
  work(threads);
}

// ---- what an argument of each type is made from, and what Python calls that type --------------------------

template <class T>
struct Argument {  // what pybind11 converts
  static T get(PyObject* object, Name) { return py::handle(object).cast<T>(); }
  static std::string type() { return std::is_same_v<T, std::string> ? "str" : "Any"; }
};

template <>
struct Argument<std::int64_t> {
  static std::int64_t get(PyObject* object, Name) {
    const std::int64_t value = PyLong_AsLongLong(object);
    if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
    return value;
  }
  static std::string type() { return "int"; }
};

template <>
struct Argument<std::uint64_t> {  // 64 bits
  static std::uint64_t get(PyObject* object, Name) {
    const std::uint64_t value = PyLong_AsUnsignedLongLongMask(object);
    if (value == static_cast<std::uint64_t>(-1) && PyErr_Occurred()) throw py::error_already_set();
    return value;
  }
  static std::string type() { return "SupportsIndex"; }
};

template <>
struct Argument<double> {
  static double get(PyObject* object, Name) {
    const double value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred()) throw py::error_already_set();
    return value;
  }
  static std::string type() { return "float"; }
};

template <>
struct Argument<bool> {
  static bool get(PyObject* object, Name) {
    const int value = PyObject_IsTrue(object);
    if (value < 0) throw py::error_already_set();
    return value == 1;
  }
  static std::string type() { return "bool"; }
};

template <>
struct Argument<View> {
  static View get(PyObject* object, Name name) { return view(object, name); }
  static std::string type() { return "Tensor"; }
};

template <>
struct Argument<Output> : Argument<View> {
  static Output get(PyObject* object, Name name) { return view<Output>(object, name); }
};

template <class T>
struct Argument<std::optional<T>> {
  static std::optional<T> get(PyObject* object, Name name) {
    if (object == Py_None) return std::nullopt;
    return Argument<T>::get(object, name);
  }
  static std::string type() { return Argument<T>::type() + " | None"; }
};

template <class T>
struct Argument<std::vector<T>> {
  static std::vector<T> get(PyObject* object, Name name) {
    const py::object items = checked(PySequence_Fast(object, "give a list or a tuple"));
    std::vector<T> values;
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(items.ptr());
    values.reserve(static_cast<std::size_t>(count));
    for (Py_ssize_t i = 0; i < count; ++i)
      values.push_back(Argument<T>::get(PySequence_Fast_GET_ITEM(items.ptr(), i), {name.text, i}));
    return values;
  }
  static std::string type() { return "Sequence[" + Argument<T>::type() + "]"; }
};

template <class A, class B>
struct Argument<std::pair<A, B>> {
  static std::pair<A, B> get(PyObject* object, Name name) {
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 2) throw py::type_error(name.str() + ": give a pair");
    return {Argument<A>::get(PyTuple_GET_ITEM(object, 0), name), Argument<B>::get(PyTuple_GET_ITEM(object, 1), name)};
  }
  static std::string type() { return "tuple[" + Argument<A>::type() + ", " + Argument<B>::type() + "]"; }
};

// ---- functions ------------------------------------------------------------------------------------------

// Runs body, which returns what Python gets; a C++ exception becomes a Python one.
template <class Body>
PyObject* guarded(Body body) {
  try {
    return body();
  } catch (const Refused& refused) {
    PyErr_SetString(imports().refusal, refused.reason.c_str());
  } catch (const NoState&) {
    PyErr_SetNone(imports().no_state);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  }
  return nullptr;
}

template <class T>
std::string result_type() {
  if constexpr (std::is_void_v<T>)
    return "None";
  else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>)
    return "list[int]";
  else if constexpr (std::is_same_v<T, std::vector<std::string>>)
    return "list[str]";
  else
    return Argument<T>::type();
}

template <class Function>
struct Signature;

template <class Result, class... Arguments>
struct Signature<Result (*)(Arguments...)> {
  static constexpr std::size_t kCount = sizeof...(Arguments);
  using Names = std::array<const char*, kCount>;

  template <std::size_t... I>
  static PyObject* call(Result (*function)(Arguments...), const Names& names, PyObject* const* items,
                        std::index_sequence<I...>) {
    // In braces: from left to right.
    std::tuple<std::decay_t<Arguments>...> arguments{
        Argument<std::decay_t<Arguments>>::get(items[I], Name{names[I]})...};
    if constexpr (std::is_void_v<Result>) {
      std::apply(function, std::move(arguments));
      Py_RETURN_NONE;
    } else if constexpr (std::is_base_of_v<py::object, Result>) {
      return std::apply(function, std::move(arguments)).release().ptr();
    } else {
      return py::cast(std::apply(function, std::move(arguments))).release().ptr();
    }
  }

  static std::string text(const Names& names) {
    std::string out = "(";
    std::size_t i = 0;
    ((out += names[i++] + (": " + Argument<std::decay_t<Arguments>>::type()) + ", "), ...);
    return out + (kCount ? "/" : "") + ") -> " + result_type<Result>();
  }
};

// Adds a function to the module, as a plain CPython function: on 64 logits pybind11's own dispatch costs more than
// the kernel. Its documentation begins with its line in the stub.
template <auto kFunction>
void define(py::module_& m, const char* name, typename Signature<decltype(kFunction)>::Names names,
            const char* about) {
  using Of = Signature<decltype(kFunction)>;
  static const typename Of::Names kNames = names;
  static const std::string kDoc = name + Of::text(names) + "\n\n" + about;
  constexpr auto function = [](PyObject*, PyObject* const* items, Py_ssize_t count) {
    return guarded([&] {
      if (count != static_cast<Py_ssize_t>(Of::kCount)) throw py::type_error("give " + kDoc);
      return Of::call(kFunction, kNames, items, std::make_index_sequence<Of::kCount>{});
    });
  };
  using FastCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);
  static PyMethodDef definition = {
      name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(static_cast<FastCall>(function))),
      METH_FASTCALL, kDoc.c_str()};
  m.attr(name) = checked(PyCFunction_New(&definition, nullptr));
}

}  // namespace ganfast
