// Fresh memory for large results.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif
#endif

namespace ganfast {

// From this size on the C library maps every allocation afresh, however often one like it was made before.
constexpr std::int64_t kAlwaysFresh = std::int64_t{32} << 20;

// Maps the pages in [address, address + bytes) for writing, all in one system call. Otherwise each 4 KiB page
// is mapped by a fault of its own as it is first written, which costs more than the writing. Where the kernel
// does not know this it refuses, and nothing is lost. (Huge pages would need fewer faults still, but on a
// virtual machine that returns free memory to its host they made every fourth step five times as long.)
inline void map_pages(void* address, std::int64_t bytes) {
#if defined(__linux__)
  constexpr std::uintptr_t kPage = 4096;
  const std::uintptr_t from = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t first = (from + kPage - 1) & ~(kPage - 1);
  const std::uintptr_t last = (from + static_cast<std::uintptr_t>(bytes)) & ~(kPage - 1);
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_POPULATE_WRITE);
#else
  (void)address, (void)bytes;
#endif
}

}  // namespace ganfast
