// The preprocessing of images for Python.
#include <limits>

#include "args.h"
#include "preprocess.h"

namespace ganfast {
namespace {

using TapViews = std::pair<View, View>;  // starts and weights, as in ganfast.reference.preprocess.Taps

// From `size` to `out_size` pixels.
Taps taps_of(const TapViews& views, std::int64_t size, std::int64_t out_size) {
  const auto& [starts, weights] = views;
  const std::int64_t taps = out_size ? weights.count / out_size : 0;
  return {size, taps, starts.as<std::int32_t>(out_size), weights.as<float>(taps * out_size)};
}

// Of pixels (n, h, w, 3) or (h, w, 3) in which a row is contiguous, or each of its channels is.
ImageGroup group_of(const View& x, const TapViews& down, const TapViews& across, const NetworkInput& out) {
  x.need(x.dtype == Dtype::u8 && (x.ndim == 3 || x.ndim == 4), "is not uint8 images");
  const std::int64_t* shape = x.shape + x.ndim - 3;
  const std::int64_t* strides = x.strides + x.ndim - 3;
  const bool pixels = strides[2] == 1 && (strides[1] == 3 || shape[1] == 1);
  x.need(shape[2] == 3 && (pixels || (strides[1] == 1 && strides[2] != 0)), "has rows that are not contiguous");
  ImageGroup group{static_cast<const std::uint8_t*>(x.data), 1, 0, strides[0], pixels ? 0 : strides[2],
                   taps_of(down, shape[0], out.height), taps_of(across, shape[1], out.width)};
  if (x.ndim == 4) group.count = x.shape[0], group.image_stride = x.strides[0];
  return group;
}

void preprocess_all(const std::vector<View>& images, const std::vector<TapViews>& down,
                    const std::vector<TapViews>& across, double scale, double shift, bool clip, const Output& out) {
  out.need(out.ndim == 4 && is_floating(out.dtype) && out.contiguous(), "is not contiguous pixels");
  const NetworkInput input{out.data, out.dtype, out.shape[1], out.shape[2]};
  std::vector<ImageGroup> groups;
  std::int64_t count = 0;
  for (std::size_t i = 0; i < images.size(); ++i) {
    groups.push_back(group_of(images[i], down.at(i), across.at(i), input));
    count += groups.back().count;
  }
  out.need(out.shape[0] == count && out.shape[3] == 3, "has another size than the images");
  constexpr float kAny = std::numeric_limits<float>::infinity();
  const PixelScale how{clip ? 0.0f : -kAny, clip ? 255.0f : kAny, static_cast<float>(scale),
                       static_cast<float>(shift)};
  run(work_on(groups, input) / 2, [&](int threads) { preprocess(groups, how, input, threads); });
}

}  // namespace

void bind_preprocess(py::module_& m) {
  define<preprocess_all>(m, "preprocess", {"images", "down", "across", "scale", "shift", "clip", "out"},
                         "uint8 images, each with its taps in both directions, into `out` (n, h, w, 3).");
}

}  // namespace ganfast
