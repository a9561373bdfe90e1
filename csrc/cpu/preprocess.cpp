// What it costs: an image is read once, 3 bytes a pixel, and its result written once (299 x 299 pixels in float32
// are 1.07 MB); rows in between stay in the L1 cache. A bilinear resize takes 2 multiply-adds a value in each
// direction and an enlarging bicubic one 4, so for 299 x 299 about 1 or 2 Mflop: less time than memory takes to
// accept the result, which is the limit. (50 float32 results are 54 MB; where they are fresh pages, mapping those
// takes longest.) Where images shrink, a bicubic resize has 4 taps for each source row: 16 flops a source value.
#include "preprocess.h"

#include <algorithm>

#include "leaf.h"
#include "pages.h"

namespace ganfast {
namespace {

// Rows that a thread takes at least where rows at the edge of a band are resized across by both neighbours.
constexpr std::int64_t kFewestRows = 16;

// Whichever direction shrinks goes first.
bool across_first(const ImageGroup& group, const NetworkInput& out) { return group.down.size < out.height; }

std::int64_t padded(std::int64_t pixels) { return (3 * pixels + kPixelPadding + 15) / 16 * 16; }

// A thread's buffers, and the rows of one image made with them.
class Resizer {
 public:
  Resizer(const ImageGroup& group, const std::uint8_t* image, const PixelScale& scale, const NetworkInput& out)
      : loops_(current_isa()->resize), group_(group), image_(image), scale_(scale), out_(out) {
    const std::int64_t in = group.across.size, taps = group.down.taps;
    // In a ring the rows that were resized across wait for their last use.
    ring_ = across_first(group, out) ? taps : 1;
    const std::int64_t planes = group.channel_stride ? 3 * padded(in) : 0;
    memory_.resize(static_cast<std::size_t>(padded(in) + planes + (ring_ + 1) * padded(out.width)));
    line_ = memory_.data();
    planes_ = line_ + padded(in);
    rows_ = planes_ + planes;
    staging_ = rows_ + ring_ * padded(out.width);
    bytes_.resize(static_cast<std::size_t>(taps));
    floats_.resize(static_cast<std::size_t>(taps));
  }

  // Rows [first, last) of the result, which begins at `to` with row 0.
  void run(std::int64_t first, std::int64_t last, void* to) {
    const Isa& isa = *current_isa();
    const std::int64_t values = 3 * out_.width;
    std::int64_t made = 0;  // source rows before this one are in the ring, or were
    for (std::int64_t y = first; y < last; ++y) {
      const std::int64_t start = group_.down.starts[y], taps = group_.down.taps;
      const float* weights = group_.down.weights + y * taps;
      void* row = at(to, out_.dtype, y * values);
      float* result = staging<float>(row, out_.dtype, staging_);
      if (across_first(group_, out_)) {
        for (made = std::max(made, start); made < start + taps; ++made) make(made, &kOne, 1, ring_row(made));
        for (std::int64_t k = 0; k < taps; ++k) floats_[static_cast<std::size_t>(k)] = ring_row(start + k);
        loops_.blend_rows(floats_.data(), weights, taps, values, scale_, result);
      } else {
        make(start, weights, taps, rows_);
        loops_.blend_rows(&rows_, &kOne, 1, values, scale_, result);
      }
      write<float>(isa, result, row, out_.dtype, values);
    }
  }

 private:
  static constexpr float kOne = 1.0f;

  float* ring_row(std::int64_t y) { return rows_ + y % ring_ * padded(out_.width); }

  // Source rows start, start + 1, ... blended, then resized across.
  void make(std::int64_t start, const float* weights, std::int64_t taps, float* to) {
    const std::int64_t in = group_.across.size;
    float* line = in == out_.width ? to : line_;
    const std::uint8_t* row = image_ + start * group_.row_stride;
    if (group_.channel_stride == 0) {
      blend(row, weights, taps, 3 * in, line);
    } else {
      for (int c = 0; c < 3; ++c)
        blend(row + c * group_.channel_stride, weights, taps, in, planes_ + c * padded(in));
      loops_.interleave(planes_, padded(in), in, line);
    }
    if (line != to)
      loops_.across(line, group_.across.starts, group_.across.weights, group_.across.taps, out_.width, to);
  }

  void blend(const std::uint8_t* row, const float* weights, std::int64_t taps, std::int64_t n, float* to) {
    for (std::int64_t k = 0; k < taps; ++k) bytes_[static_cast<std::size_t>(k)] = row + k * group_.row_stride;
    loops_.blend_bytes(bytes_.data(), weights, taps, n, to);
  }

  const ResizeLoops& loops_;
  const ImageGroup& group_;
  const std::uint8_t* image_;
  const PixelScale& scale_;
  const NetworkInput& out_;
  std::int64_t ring_;
  std::vector<float> memory_;
  float *line_, *planes_, *rows_, *staging_;
  std::vector<const std::uint8_t*> bytes_;
  std::vector<const float*> floats_;
};

// Rows [first, last) of the result of one image.
struct Band {
  const ImageGroup* group;
  const std::uint8_t* image;
  void* to;  // row 0
  std::int64_t first, last;
};

}  // namespace

std::int64_t work_on(const std::vector<ImageGroup>& groups, const NetworkInput& out) {
  std::int64_t work = 0;
  for (const ImageGroup& group : groups) {
    const std::int64_t blended = across_first(group, out) ? 0 : group.down.taps * group.across.size;
    work += group.count * 3 * out.height * (out.width + blended / 4);
  }
  return work;
}

void preprocess(const std::vector<ImageGroup>& groups, const PixelScale& scale, const NetworkInput& out,
                int threads) {
  std::int64_t images = 0;
  for (const ImageGroup& group : groups) images += group.count;
  const std::int64_t values = 3 * out.width * out.height;
  // An image is divided only where there are few of them for the threads.
  const std::int64_t wanted = threads == 1 || images == 0 ? 1 : (4 * threads + images - 1) / images;
  std::vector<Band> bands;
  std::int64_t number = 0;
  for (const ImageGroup& group : groups) {
    const std::int64_t most = across_first(group, out) ? out.height / kFewestRows : out.height;
    const std::int64_t count = std::max<std::int64_t>(1, std::min(wanted, most));
    for (std::int64_t i = 0; i < group.count; ++i, ++number)
      for (std::int64_t b = 0; b < count; ++b)
        bands.push_back({&group, group.at + i * group.image_stride, at(out.at, out.dtype, number * values),
                         out.height * b / count, out.height * (b + 1) / count});
  }
  const bool fresh = images * values * size_of(out.dtype) >= kAlwaysFresh;
  const auto one = [&](const Band& band) {
    const std::int64_t row = 3 * out.width, rows = band.last - band.first;
    if (fresh) map_pages(at(band.to, out.dtype, band.first * row), rows * row * size_of(out.dtype));
    Resizer(*band.group, band.image, scale, out).run(band.first, band.last, band.to);
  };
  const std::int64_t count = static_cast<std::int64_t>(bands.size());
  if (threads == 1) {
    for (const Band& band : bands) one(band);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t i = 0; i < count; ++i) one(bands[static_cast<std::size_t>(i)]);
}

}  // namespace ganfast
