#include "leaf.h"

#include <cstring>

namespace ganfast {
namespace {

std::vector<const Isa*> find_supported() {
  std::vector<const Isa*> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  // The features of each level of the x86-64 psABI that the loops use.
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3")) found.push_back(&kIsaX86V2);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    found.push_back(&kIsaX86V3);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    found.push_back(&kIsaX86V4);
#else
  found.push_back(&kIsaGeneric);
#endif
  return found;
}

const Isa*& chosen() {
  static const Isa* isa = supported_isas().empty() ? nullptr : supported_isas().back();
  return isa;
}

}  // namespace

const std::vector<const Isa*>& supported_isas() {
  static const std::vector<const Isa*> isas = find_supported();
  return isas;
}

const Isa* current_isa() { return chosen(); }

bool use_isa(const char* name) {
  for (const Isa* isa : supported_isas())
    if (std::strcmp(isa->name, name) == 0) {
      chosen() = isa;
      return true;
    }
  return false;
}

}  // namespace ganfast
