// What is compiled once per instruction set: loops over one block of elements, without threads.
#pragma once

#include <cstdint>

#include "gan_math.h"
#include "leaf_matrix.h"
#include "leaf_optim.h"
#include "leaf_resize.h"
#include "leaf_rows.h"
#include "leaf_syrk.h"

namespace ganfast {

// Elements per block: 8 KiB of float, so that a block's inputs, targets and outputs stay in the L1 cache.
// Sums are formed block by block in this fixed size, so they do not depend on the number of threads.
constexpr std::int64_t kBlock = 2048;

// Where the targets of a block come from.
enum Targets { kOneTarget = 0, kEachTarget = 1 };

// Loops over n <= kBlock elements. `t` is one target, or one for each element.
template <class Real>
struct PhiLoops {
  // sum_i phi(x_i, t_i)
  double (*sum)(const Real* x, const Real* t, std::int64_t n);
  // out_i = phi(x_i, t_i)
  void (*value)(const Real* x, const Real* t, Real* out, std::int64_t n);
  // out_i = scale * phi'(x_i, t_i)
  void (*slope)(const Real* x, const Real* t, Real scale, Real* out, std::int64_t n);
};

// How labels are made noisy; see ganfast/_philox.py.
struct Noise {
  std::uint64_t key;
  std::uint32_t stream;
  double flip;
  double noise;
};

template <class Real>
struct Leaf {
  PhiLoops<Real> phi[gan::kPhis][2];  // [Phi][Targets]
  // out_i = the noisy target of element first + i; `first` is even.
  void (*targets)(const Noise& noise, double target, std::int64_t first, Real* out, std::int64_t n);
  // out_i *= factor_i
  void (*multiply)(const Real* factor, Real* out, std::int64_t n);
};

struct Isa {
  const char* name;
  Leaf<float> f32;
  Leaf<double> f64;
  void (*from_half)(const std::uint16_t* x, float* out, std::int64_t n);
  void (*to_half)(const float* x, std::uint16_t* out, std::int64_t n);
  void (*from_bfloat)(const std::uint16_t* x, float* out, std::int64_t n);
  void (*to_bfloat)(const float* x, std::uint16_t* out, std::int64_t n);
  // out_i = scale * (x_i - sum_j weight_j rows[j * stride + i]), j < count
  void (*residual)(const double* x, const double* rows, std::int64_t stride, const double* weight,
                   std::int64_t count, double scale, double* out, std::int64_t n);
  MatrixLoops matrix;
  RowLoops<float> rows_f32;
  RowLoops<double> rows_f64;
  OptimLeaves optim;
  SyrkLoops syrk;
  ResizeLoops resize;
};

// One of these in each simd_*.cpp.
extern const Isa kIsaX86V2, kIsaX86V3, kIsaX86V4, kIsaGeneric;

}  // namespace ganfast
