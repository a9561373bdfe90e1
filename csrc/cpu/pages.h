// Huge pages for large results.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ganfast {

// A fresh allocation of many megabytes is mapped page by page as it is first written, and with 4 KiB pages
// that costs more than the writing. Asks for 2 MiB pages inside [address, address + bytes); a refusal, or
// pages that are mapped already, cost nothing. Small ranges are left alone: they come from reused memory.
inline void ask_for_huge_pages(void* address, std::int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kHuge = std::uintptr_t{1} << 21;
  if (address == nullptr || bytes < static_cast<std::int64_t>(16 * kHuge)) return;
  const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(address) + kHuge - 1) & ~(kHuge - 1);
  const std::uintptr_t last =
      (reinterpret_cast<std::uintptr_t>(address) + static_cast<std::uintptr_t>(bytes)) & ~(kHuge - 1);
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)address, (void)bytes;
#endif
}

}  // namespace ganfast
