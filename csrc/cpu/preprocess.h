// uint8 images resized, scaled and written as pixels of three channels.
#pragma once

#include <cstdint>
#include <vector>

#include "elements.h"
#include "leaf.h"

namespace ganfast {

// One direction of a resize: output i is the sum of weights_(i, k) times input starts_i + k, k < taps. Every
// position is inside the input.
struct Taps {
  std::int64_t size, taps;
  const std::int32_t* starts;
  const float* weights;
};

// `count` images of one size. The bytes of a row, or of each of its channels, are one after the other in memory.
struct ImageGroup {
  const std::uint8_t* at;
  std::int64_t count;
  std::int64_t image_stride, row_stride;
  std::int64_t channel_stride;  // 0: pixels; else planes, so far apart
  Taps down, across;
};

// Where the images go, one after the other in the order of the groups.
struct NetworkInput {
  void* at;
  Dtype dtype;
  std::int64_t height, width;
};

// How much work it is, in values of the result: bytes are blended some four times as fast as those are made.
std::int64_t work_on(const std::vector<ImageGroup>& groups, const NetworkInput& out);

// The same bits for any number of threads: no output depends on how rows are shared out.
void preprocess(const std::vector<ImageGroup>& groups, const PixelScale& scale, const NetworkInput& out,
                int threads);

}  // namespace ganfast
