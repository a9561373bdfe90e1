// The launch of a compiled kernel by the driver's own function, for what is launched again and again in one way: the
// kernel, its grid and its numbers are kept, and a launch fills in the addresses. In Python, the checks, the
// arguments and Triton's own launcher take longer than the kernel of a small loss.
//
// No header of CUDA is needed: the two functions are looked up in the driver's library when they are first wanted.
#include <dlfcn.h>

#include "args.h"

namespace ganfast {
namespace {

struct Driver {
  int (*launch)(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                unsigned block_z, unsigned shared, void* stream, void** parameters, void** extra) = nullptr;
  int (*device)(int* device) = nullptr;  // that of the current context
};
Driver driver;

template <class Function>
bool look_up(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool use_driver(const std::string& library) {
  Driver found;
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  const bool there = handle != nullptr && look_up(handle, "cuLaunchKernel", found.launch) &&
                     look_up(handle, "cuCtxGetDevice", found.device);
  driver = there ? found : Driver{};
  return there;
}

constexpr std::size_t kMost = 64;  // parameters, and tensors

// What a tensor has to be for the kernel to have been compiled for it, and for the numbers to be its own.
struct Kind {
  Dtype dtype;
  std::int32_t device_type, device_id;
  std::int64_t count;

  bool operator==(const Kind& other) const {
    return dtype == other.dtype && count == other.count && device_id == other.device_id &&
           device_type == other.device_type;
  }
};

struct Tensors {
  std::array<Kind, kMost> kinds;
  std::array<void*, kMost> addresses;
  std::size_t count = 0;

  // Throws Refused if one is not plain, contiguous and aligned memory.
  explicit Tensors(const py::tuple& tensors) {
    const auto size = static_cast<std::size_t>(PyTuple_GET_SIZE(tensors.ptr()));
    if (imports().api == nullptr) throw Refused{"this torch has no fast way to say where a tensor is"};
    if (size > kMost) throw Refused{"there are too many tensors"};
    for (; count < size; ++count) {
      const auto index = static_cast<Py_ssize_t>(count);
      const Placed v = view<Placed>(PyTuple_GET_ITEM(tensors.ptr(), index), {"tensors", index});
      v.need(v.count > 0 && v.contiguous(), "is empty or not contiguous");
      v.need(reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0, "is not aligned to 16 bytes");
      kinds[count] = {v.dtype, v.device_type, v.device_id, v.count};
      addresses[count] = v.data;
    }
  }
};

struct Launch {
  void* function;
  unsigned grid, threads, shared;
  py::object current_stream;          // of a device, by its number
  std::vector<std::int64_t> numbers;  // each parameter's bits, the low ones first
  std::vector<std::int64_t> places;   // which tensor's address each parameter is; -1 for a number
  std::vector<Kind> kinds;

  bool takes(const Tensors& tensors) const {
    return tensors.count == kinds.size() && std::equal(kinds.begin(), kinds.end(), tensors.kinds.begin());
  }

  // False, and nothing is done, if the current device is another one or has no context yet.
  bool run(const Tensors& tensors) const {
    const std::int32_t device = kinds[0].device_id;
    int current = -1;
    if (driver.launch == nullptr || driver.device(&current) != 0 || current != device) return false;
    const py::object stream = checked(PyObject_CallFunction(current_stream.ptr(), "i", device));
    void* const on = reinterpret_cast<void*>(unless_raised<std::int64_t>(PyLong_AsLongLong(stream.ptr())));
    std::array<std::int64_t, kMost> values;
    std::array<void*, kMost> parameters;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const std::int64_t place = places[i];
      values[i] = place < 0 ? numbers[i] : reinterpret_cast<std::intptr_t>(tensors.addresses[place]);
      parameters[i] = &values[i];
    }
    int failed;
    {
      py::gil_scoped_release release;  // it waits where a thousand launches are waiting already
      failed = driver.launch(function, grid, 1, 1, threads, 1, 1, shared, on, parameters.data(), nullptr);
    }
    if (failed == 0) return true;
    PyErr_Format(PyExc_RuntimeError, "cuLaunchKernel: CUDA error %d", failed);
    throw py::error_already_set();
  }
};

constexpr char kCapsule[] = "ganfast._cpu.Launch";

py::capsule kept_launch(std::int64_t function, std::int64_t grid, std::int64_t threads, std::int64_t shared,
                        const py::object& current_stream, std::vector<std::int64_t> numbers,
                        std::vector<std::int64_t> places, const py::tuple& tensors) {
  const Tensors now(tensors);
  if (numbers.size() != places.size() || numbers.size() > kMost) throw std::invalid_argument("numbers, places");
  for (const std::int64_t place : places)
    if (place >= static_cast<std::int64_t>(now.count)) throw std::invalid_argument("places");
  if (now.count == 0) throw Refused{"there is no tensor"};
  auto* made = new Launch{reinterpret_cast<void*>(function),
                          static_cast<unsigned>(grid),
                          static_cast<unsigned>(threads),
                          static_cast<unsigned>(shared),
                          current_stream,
                          std::move(numbers),
                          std::move(places),
                          {now.kinds.begin(), now.kinds.begin() + now.count}};
  return py::capsule(made, kCapsule, [](PyObject* capsule) {
    delete static_cast<Launch*>(PyCapsule_GetPointer(capsule, kCapsule));
  });
}

bool launch(const py::list& launches, const py::tuple& tensors) {
  try {
    const Tensors now(tensors);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(launches.ptr()); ++i) {
      void* each = PyCapsule_GetPointer(PyList_GET_ITEM(launches.ptr(), i), kCapsule);
      if (each == nullptr) throw py::error_already_set();
      const auto& kept = *static_cast<const Launch*>(each);
      if (kept.takes(now)) return kept.run(now);
    }
  } catch (const Refused&) {
  }
  return false;
}

}  // namespace

void bind_launch(py::module_& m) {
  define<use_driver>(m, "use_driver", {"library"},
                     "Whether this library of the CUDA driver has what launch() needs; from now on it is that one.");
  define<kept_launch>(m, "kept_launch",
                      {"function", "grid", "threads", "shared", "current_stream", "numbers", "places", "tensors"},
                      "A launch of a kernel on tensors like these, which numbers and addresses are the parameters of.");
  define<launch>(m, "launch", {"launches", "tensors"},
                 "Whether one of these launches takes these tensors, and has been done on them.");
}

}  // namespace ganfast
