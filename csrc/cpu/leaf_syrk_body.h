// The loops of leaf.h, compiled by each simd_*.cpp for its instruction set.
#pragma once

#include "leaf.h"
#include "simd.h"

namespace ganfast {
namespace {

// The micro-kernel's tile of the product is kept in registers: kRows broadcast numbers of a by kVectors vectors
// of b. AVX-512 has 32 registers (24 sums), AVX2 and SSE have 16 (12 and 8 sums).
#if defined(__AVX512F__)
constexpr int kRows = 8, kVectors = 3;
#elif defined(__AVX2__)
constexpr int kRows = 4, kVectors = 3;
#elif defined(__x86_64__)
constexpr int kRows = 4, kVectors = 2;
#else
constexpr int kRows = 4, kVectors = 4;
#endif
constexpr int kTile = kVectors * kLanes<double>;
static_assert(kPanel % kRows == 0 && kPanel % kTile == 0, "micro-kernels divide a panel");

static inline void micro(const double* a, const double* b, std::int64_t k, bool first, double* c) {
  using V = Vector<double>;
  V sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sums[i][v] = first ? V{} : load<V>(c + i * kPanel + v * kLanes<double>);
  for (std::int64_t r = 0; r < k; ++r, a += kPanel, b += kPanel) {
    __builtin_prefetch(b + 8 * kPanel);
    V row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = load<V>(b + v * kLanes<double>);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const double x = a[i];  // times a vector it is broadcast; V{} + x would be one more addition
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[i][v] += x * row[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(c + i * kPanel + v * kLanes<double>, sums[i][v]);
}

static void multiply_panels(const double* a, const double* b, std::int64_t k, bool first, double* c) {
  for (int j = 0; j < kPanel; j += kTile)
    for (int i = 0; i < kPanel; i += kRows) micro(a + i, b + j, k, first, c + i * kPanel + j);
}

template <class Real>
static bool pack(const Real* x, std::int64_t stride, std::int64_t k, std::int64_t columns, double* panel) {
  // 0 * x is 0 of either sign, or NaN for NaN and inf: a sum of these can't overflow.
  double check[kPanel] = {};
  if (columns == kPanel) {
    for (std::int64_t r = 0; r < k; ++r, x += stride, panel += kPanel) {
      // A row of a batch is a page further: the processor does not fetch it ahead by itself.
      __builtin_prefetch(x + 16 * stride);
      __builtin_prefetch(x + 16 * stride + kPanel - 1);
      for (int i = 0; i < kPanel; ++i) {
        const double y = static_cast<double>(x[i]);
        panel[i] = y;
        check[i] += 0.0 * y;
      }
    }
  } else {
    for (std::int64_t r = 0; r < k; ++r, x += stride, panel += kPanel)
      for (std::int64_t i = 0; i < kPanel; ++i) {
        panel[i] = i < columns ? static_cast<double>(x[i]) : 0.0;
        check[i] += 0.0 * panel[i];
      }
  }
  double sum = 0;
  for (const double c : check) sum += c;
  return sum == 0;
}

static void centre(double* panel, std::int64_t k, double* high, double* low) {
  const double count = static_cast<double>(k);
  double sums[kPanel] = {};
  for (std::int64_t r = 0; r < k; ++r)
    for (int i = 0; i < kPanel; ++i) sums[i] += panel[r * kPanel + i];
  double mean[kPanel], rest[kPanel] = {};
  for (int i = 0; i < kPanel; ++i) mean[i] = sums[i] / count;
  for (std::int64_t r = 0; r < k; ++r)
    for (int i = 0; i < kPanel; ++i) {
      const double y = panel[r * kPanel + i] - mean[i];
      panel[r * kPanel + i] = y;
      rest[i] += y;
    }
  for (int i = 0; i < kPanel; ++i) {
    high[i] = mean[i];
    low[i] = rest[i] / count;
  }
}

constexpr SyrkLoops syrk_loops() { return {multiply_panels, pack<float>, pack<double>, centre}; }

}  // namespace
}  // namespace ganfast
