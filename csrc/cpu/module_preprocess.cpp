// The preprocessing of images for Python: addresses and sizes, which the caller has checked.
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "module_bind.h"
#include "preprocess.h"

namespace ganfast {
namespace {

namespace py = pybind11;

using Numbers = std::array<std::int64_t, 4>;

template <class T>
const T* pointer(std::int64_t address) {
  return reinterpret_cast<const T*>(static_cast<std::uintptr_t>(address));
}

Taps taps_of(const Numbers& n) { return {n[0], n[1], pointer<std::int32_t>(n[2]), pointer<float>(n[3])}; }

// at, count, (image, row and channel stride, 0), down, across
using Group = std::tuple<std::int64_t, std::int64_t, Numbers, Numbers, Numbers>;

void run(const std::vector<Group>& given, std::size_t out, int dtype, std::int64_t height, std::int64_t width,
         float scale, float shift, bool clip, int threads) {
  py::gil_scoped_release release;
  std::vector<ImageGroup> groups;
  for (const auto& [at, count, strides, down, across] : given)
    groups.push_back({pointer<std::uint8_t>(at), count, strides[0], strides[1], strides[2], taps_of(down),
                      taps_of(across)});
  constexpr float kAny = std::numeric_limits<float>::infinity();
  const PixelScale how{clip ? 0.0f : -kAny, clip ? 255.0f : kAny, scale, shift};
  preprocess(groups, how, {reinterpret_cast<void*>(out), static_cast<Dtype>(dtype), height, width}, threads);
}

}  // namespace

void bind_preprocess(py::module_& m) {
  m.def("preprocess", &run, "uint8 images -> channels_last pixels at `out`", py::arg("groups"), py::arg("out"),
        py::arg("dtype"), py::arg("height"), py::arg("width"), py::arg("scale"), py::arg("shift"),
        py::arg("clip"), py::arg("threads"));
}

}  // namespace ganfast
