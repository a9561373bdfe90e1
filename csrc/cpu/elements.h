// Elements of any dtype in memory: read and written a block at a time as what they are computed in.
#pragma once

#include <algorithm>
#include <cstdint>

#include "leaf.h"

namespace ganfast {

enum class Dtype { f32, f64, f16, bf16, u8, b8, i32, i64 };

inline bool is_floating(Dtype dtype) { return dtype <= Dtype::bf16; }

// A scalar in memory, of any dtype.
struct Scalar {
  void* address;
  Dtype dtype;
};

template <class Real>
const Leaf<Real>& leaf(const Isa& isa) {
  if constexpr (sizeof(Real) == 4)
    return isa.f32;
  else
    return isa.f64;
}

// Of a floating-point number.
inline std::int64_t size_of(Dtype dtype) {
  return dtype == Dtype::f64 ? 8 : dtype == Dtype::f32 ? 4 : 2;
}

inline const void* at(const void* base, Dtype dtype, std::int64_t index) {
  return static_cast<const char*>(base) + index * size_of(dtype);
}

inline void* at(void* base, Dtype dtype, std::int64_t index) {
  return static_cast<char*>(base) + index * size_of(dtype);
}

// n elements as Real: in place if they are that already, else converted into `buffer`.
template <class Real>
const Real* read(const Isa& isa, const void* from, Dtype dtype, std::int64_t n, Real* buffer) {
  if constexpr (sizeof(Real) == 8) {
    if (dtype == Dtype::f64) return static_cast<const double*>(from);
    float narrow[kBlock];
    const float* x = read<float>(isa, from, dtype, n, narrow);
    std::copy(x, x + n, buffer);
  } else {
    if (dtype == Dtype::f32) return static_cast<const float*>(from);
    if (dtype == Dtype::f16) isa.from_half(static_cast<const std::uint16_t*>(from), buffer, n);
    if (dtype == Dtype::bf16) isa.from_bfloat(static_cast<const std::uint16_t*>(from), buffer, n);
    if (dtype == Dtype::f64) {
      const double* x = static_cast<const double*>(from);
      for (std::int64_t i = 0; i < n; ++i) buffer[i] = static_cast<float>(x[i]);
    }
  }
  return buffer;
}

// Where n results go before write(): straight to the output if it holds Reals.
template <class Real>
Real* staging(void* to, Dtype dtype, Real* buffer) {
  return size_of(dtype) == sizeof(Real) ? static_cast<Real*>(to) : buffer;
}

template <class Real>
void write(const Isa& isa, const Real* from, void* to, Dtype dtype, std::int64_t n) {
  if (from == to) return;
  if constexpr (sizeof(Real) == 8) {
    for (std::int64_t i = 0; i < n; ++i) static_cast<float*>(to)[i] = static_cast<float>(from[i]);
  } else {
    if (dtype == Dtype::f16) isa.to_half(from, static_cast<std::uint16_t*>(to), n);
    if (dtype == Dtype::bf16) isa.to_bfloat(from, static_cast<std::uint16_t*>(to), n);
    if (dtype == Dtype::f64) std::copy(from, from + n, static_cast<double*>(to));
  }
}

inline double read_scalar(Scalar scalar) {
  float buffer;
  if (scalar.dtype == Dtype::f64) return *static_cast<const double*>(scalar.address);
  return *read<float>(*current_isa(), scalar.address, scalar.dtype, 1, &buffer);
}

inline void write_scalar(double value, Scalar scalar) {
  if (scalar.dtype == Dtype::f64) {
    *static_cast<double*>(scalar.address) = value;
    return;
  }
  const float narrow = static_cast<float>(value);
  if (scalar.dtype == Dtype::f32)
    *static_cast<float*>(scalar.address) = narrow;
  else
    write<float>(*current_isa(), &narrow, scalar.address, scalar.dtype, 1);
}

// Calls share(thread, threads) for each thread of a team.
template <class Share>
void in_team(int threads, Share share) {
  if (threads == 1) return share(0, 1);  // not through OpenMP, which costs more than the work on a few elements
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int thread = 0; thread < threads; ++thread) share(thread, threads);
}

// Calls f(Real{}) with the type that `dtype` is computed in.
template <class F>
void with_real(Dtype dtype, F f) {
  if (dtype == Dtype::f64)
    f(double{});
  else
    f(float{});
}

}  // namespace ganfast
