// The functions of the module, and what their arguments are made from.
//
// Each is an ordinary C++ function. The types of its parameters say what Python may give, define() says what they
// are called; the wrapper, the signature and the stub (ganfast/_cpu.pyi) follow from those.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "view.h"

namespace ganfast {

// Runs work(threads): on one thread if there are few elements, else on as many as torch uses and without the
// interpreter's lock. What takes longer for each element than a loss does counts it several times.
template <class Work>
void run(std::int64_t elements, Work work) {
  constexpr std::int64_t kGrain = 65536;  // fewer are done before a second thread has woken up
  if (elements < kGrain) return work(1);
  const auto threads = static_cast<int>(PyLong_AsLong(checked(PyObject_CallNoArgs(imports().threads)).ptr()));
  py::gil_scoped_release release;
  work(threads);
}

// ---- what an argument of each type is made from, and what Python calls that type --------------------------

template <class T>
struct Argument {  // what pybind11 converts
  static T get(PyObject* object, Name) { return py::handle(object).cast<T>(); }
  static std::string type() { return std::is_same_v<T, std::string> ? "str" : "Any"; }
};

// What a conversion of the C API gave, unless it raised.
template <class T>
T unless_raised(T value) {
  if (value == static_cast<T>(-1) && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

template <>
struct Argument<std::int64_t> {
  static std::int64_t get(PyObject* object, Name) { return unless_raised<std::int64_t>(PyLong_AsLongLong(object)); }
  static std::string type() { return "int"; }
};

template <>
struct Argument<std::uint64_t> {  // 64 bits, with or without a sign
  static std::uint64_t get(PyObject* object, Name) {
    return unless_raised<std::uint64_t>(PyLong_AsUnsignedLongLongMask(object));
  }
  static std::string type() { return "SupportsIndex"; }
};

template <>
struct Argument<double> {
  static double get(PyObject* object, Name) { return unless_raised(PyFloat_AsDouble(object)); }
  static std::string type() { return "float"; }
};

template <>
struct Argument<bool> {
  static bool get(PyObject* object, Name) { return unless_raised(PyObject_IsTrue(object)) == 1; }
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

template <>
struct Argument<Placed> {
  static Placed get(PyObject* object, Name name) { return view<Placed>(object, name); }
  static std::string type() { return "Tensor"; }
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
  if constexpr (std::is_void_v<T>) return "None";
  if constexpr (std::is_same_v<T, std::vector<std::int64_t>>) return "list[int]";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "list[str]";
  if constexpr (!std::is_void_v<T>) return Argument<T>::type();
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
