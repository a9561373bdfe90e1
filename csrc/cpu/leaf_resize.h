// What is compiled once per instruction set to resize images: weighted sums of rows, and of pixels of a row.
#pragma once

#include <cstdint>

namespace ganfast {

// Floats that `across` may read and write behind the last pixel: it moves four at a time.
constexpr std::int64_t kPixelPadding = 4;

// What becomes of a resized value: scale * min(max(value, low), high) + shift.
struct PixelScale {
  float low, high, scale, shift;
};

struct ResizeLoops {
  // out_i = sum_k weights_k rows_k[i]
  void (*blend_bytes)(const std::uint8_t* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                      float* out);
  // The same of floats, then scaled.
  void (*blend_rows)(const float* const* rows, const float* weights, std::int64_t taps, std::int64_t n,
                     const PixelScale& scale, float* out);
  // out_i = sum_k weights_(i, k) row_(starts_i + k) of n pixels of three floats
  void (*across)(const float* row, const std::int32_t* starts, const float* weights, std::int64_t taps,
                 std::int64_t n, float* out);
  // Three planes of n floats, `stride` apart -> pixels.
  void (*interleave)(const float* planes, std::int64_t stride, std::int64_t n, float* out);
};

}  // namespace ganfast
