// float16 and bfloat16 as bits, to float and back: for host and device, where neither has to have the type.
// float to half rounds to nearest even, with subnormals; a NaN stays one. Nothing here computes with a float32
// denormal, which CuPy's -ftz=true and torch.set_flush_denormal read as 0: a subnormal half is no such number.
#pragma once

#ifndef __CUDACC_RTC__
#include <cstdint>
#include <cstring>
#endif

#if defined(__CUDACC__)
#define HALF_FN __host__ __device__ static inline
#else
#define HALF_FN static inline
#endif

namespace half_bits {
namespace {  // not shared between translation units, which are compiled for different instruction sets

using Word = unsigned int;
using Short = unsigned short;

HALF_FN float as_float(Word word) {
  float x;
  memcpy(&x, &word, sizeof x);
  return x;
}

HALF_FN Word as_word(float x) {
  Word word;
  memcpy(&word, &x, sizeof word);
  return word;
}

HALF_FN float half_to_float(Short h) {
#ifdef __CUDA_ARCH__
  float x;  // one instruction
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
  return x;
#else
  const Word sign = static_cast<Word>(h & 0x8000u) << 16, rest = h & 0x7FFFu;
  float magnitude;
  if (rest >= 0x7C00u)
    magnitude = as_float(rest << 13 | 0x7F800000u);
  else if (rest >= 0x0400u)
    magnitude = as_float((rest << 13) + 0x38000000u);
  else  // subnormal, in units of 2^-24: the last bits of 1/2 and more
    magnitude = as_float(rest + 0x3F000000u) - 0.5f;
  return as_float(as_word(magnitude) | sign);
#endif
}

HALF_FN Short float_to_half(float x) {
#ifdef __CUDA_ARCH__
  Short h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
  return h;
#else
  const Word u = as_word(x), sign = (u >> 16) & 0x8000u;
  const Word magnitude = u & 0x7FFFFFFFu;
  Word half;
  if (magnitude > 0x7F800000u) {
    half = 0x7E00u;
  } else if (magnitude >= 0x477FF000u) {  // 65520 and more rounds to inf
    half = 0x7C00u;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, in units of 2^-24
    // Adding 1/2 leaves exactly those units as the last bits, rounded to nearest even by the addition.
    half = as_word(as_float(magnitude) + 0.5f) - 0x3F000000u;
  } else {
    half = (magnitude - 0x38000000u + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return static_cast<Short>(half | sign);
#endif
}

HALF_FN float bfloat_to_float(Short b) { return as_float(static_cast<Word>(b) << 16); }

HALF_FN Short float_to_bfloat(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  Short b;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(b) : "f"(x));
  return b;
#else
  const Word u = as_word(x);
  const Word rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  return static_cast<Short>((u & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
#endif
}

}  // namespace
}  // namespace half_bits
