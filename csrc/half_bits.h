// float16 and bfloat16 as bits, to float and back: for host and device, where neither has to have the type.
// float to half rounds to nearest even, with subnormals; a NaN stays one.
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
  // Shifted into place the exponent is too small by 112; a multiplication mends it, subnormals included.
  const Word sign = static_cast<Word>(h & 0x8000u) << 16;
  const Word rest = static_cast<Word>(h & 0x7FFFu) << 13;
  const bool special = (h & 0x7C00u) == 0x7C00u;
  const float magnitude = special ? as_float(rest | 0x7F800000u) : as_float(rest) * 0x1p112f;
  return as_float(as_word(magnitude) | sign);
}

HALF_FN Short float_to_half(float x) {
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
}

HALF_FN float bfloat_to_float(Short b) { return as_float(static_cast<Word>(b) << 16); }

HALF_FN Short float_to_bfloat(float x) {
  const Word u = as_word(x);
  const Word rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  return static_cast<Short>((u & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
}

}  // namespace
}  // namespace half_bits
