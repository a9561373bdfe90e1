// What is compiled once per instruction set: loops over one block of elements, without threads. And which
// instruction set is used: chosen once, when the module is loaded.
#pragma once

#include <cstdint>
#include <vector>

#include "gan_math.h"
#include "optim_math.h"

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

// ---- samples -------------------------------------------------------------------------------------------

// Loops over `rows` rows of `length` elements, one after the other in memory; a coefficient for each row.
template <class Real>
struct RowLoops {
  // out_ij = a_i x_ij + b_i y_ij
  void (*blend)(const Real* x, const Real* y, const Real* a, const Real* b, std::int64_t rows,
                std::int64_t length, Real* out);
  // The same for what comes from beyond the caches.
  void (*blend_far)(const Real* x, const Real* y, const Real* a, const Real* b, std::int64_t rows,
                    std::int64_t length, Real* out);
  // out_ij = a_i x_ij
  void (*scale)(const Real* x, const Real* a, std::int64_t rows, std::int64_t length, Real* out);
  // out_i = sum_j x_ij y_ij
  void (*dot)(const Real* x, const Real* y, std::int64_t rows, std::int64_t length, double* out);
};

// ---- pairs of features ---------------------------------------------------------------------------------

// How far apart two features are.
enum Distance { kL1 = 0, kL2 = 1 };

// Loops over n <= kBlock elements; e_i = fake_i - real_i.
template <class Real>
struct DistanceLoops {
  // sum_i d(e_i)
  double (*sum)(const Real* fake, const Real* real, std::int64_t n);
  // out_i = scale * d'(e_i)
  void (*slope)(const Real* fake, const Real* real, Real scale, Real* out, std::int64_t n);
};

// ---- weights and their optimizers -----------------------------------------------------------------------

// The arrays of a weight: itself, its gradient, and up to three of the optimizer's, null where there is none.
// RMSprop: square_avg, grad_avg, momentum_buffer. Adam: exp_avg, exp_avg_sq, max_exp_avg_sq.
constexpr int kParam = 0, kGrad = 1, kState = 2, kArrays = 5;

template <class Real>
struct OptimLoops {
  void (*rmsprop[2][2])(const optim::Rmsprop& o, Real* const* at, std::int64_t n);  // [centered][momentum]
  void (*adam[2])(const optim::Adam& o, Real* const* at, std::int64_t n);           // [amsgrad]
  // x_i brought into [-bound, bound]
  void (*clip)(Real bound, Real* x, std::int64_t n);
  // How many |x_i| are `bound`.
  std::int64_t (*count_at)(Real bound, const Real* x, std::int64_t n);
  // x_i *= factor
  void (*scale)(Real factor, Real* x, std::int64_t n);
};

// ---- the symmetric rank-k update -------------------------------------------------------------------------

// Columns of a panel of the rows, in float64 and row after row: a multiple of the width of every micro-kernel.
constexpr std::int64_t kPanel = 24;

struct SyrkLoops {
  // c (+)= a^T b for k rows of two panels; c is (24, 24). From zero if `first`, else onto what c holds.
  void (*multiply)(const double* a, const double* b, std::int64_t k, bool first, double* c);
  // Converts k rows of `columns` <= 24 numbers, `stride` numbers apart, into a panel, and fills it up with zeros.
  // True if all are finite.
  bool (*pack_float)(const float* x, std::int64_t stride, std::int64_t k, std::int64_t columns, double* panel);
  bool (*pack_double)(const double* x, std::int64_t stride, std::int64_t k, std::int64_t columns, double* panel);
  // Subtracts the mean of each column in place; `high` gets that mean, `low` what rounding left in it.
  void (*centre)(double* panel, std::int64_t k, double* high, double* low);
};

// ---- images: weighted sums of rows, and of pixels of a row --------------------------------------------------

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

// ---- small matrices: one at a time ------------------------------------------------------------------------

// How it went with one matrix, or one pair.
enum Outcome : std::uint8_t {
  kIndefinite = 0,  // an eigenvalue is below -tolerance times the largest
  kDone = 1,
  kGaveUp = 2,  // not converged within the cap on sweeps: nothing was written
};

// What all matrices of a batch share.
struct MatrixShape {
  std::int64_t n;
  std::int64_t sweeps;  // the cap: QR sweeps per eigenvalue, and Jacobi sweeps
};

// Matrices are contiguous (n, n) and symmetric; `work` holds 4 n + 8 rows of doubles, n padded to whole vectors.
struct MatrixLoops {
  Outcome (*root)(MatrixShape shape, const double* a, double tolerance, double* out, double* work);
  Outcome (*trace)(MatrixShape shape, const double* a, const double* b, double tolerance_a, double tolerance_b,
                   double* out, double* work);
};

// ---- all of them -----------------------------------------------------------------------------------------

template <class Real>
struct Leaf {
  PhiLoops<Real> phi[gan::kPhis][2];  // [Phi][Targets]
  // out_i = the noisy target of element first + i; `first` is even.
  void (*targets)(const Noise& noise, double target, std::int64_t first, Real* out, std::int64_t n);
  // out_i *= factor_i
  void (*multiply)(const Real* factor, Real* out, std::int64_t n);
  RowLoops<Real> rows;
  DistanceLoops<Real> distance[2];  // [Distance]
  OptimLoops<Real> optim;
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
  SyrkLoops syrk;
  ResizeLoops resize;
};

// One of these in each simd_*.cpp.
extern const Isa kIsaX86V2, kIsaX86V3, kIsaX86V4, kIsaGeneric;

// The sets that this build has and this processor can run, worst first; empty if there is none.
const std::vector<const Isa*>& supported_isas();

// The set in use: the best one, or the one that use_isa() asked for. Never null if supported_isas() is not empty.
const Isa* current_isa();

// Chooses a supported set by name, for tests and measurements. False if there is none of that name.
bool use_isa(const char* name);

}  // namespace ganfast
