// CUDA's words on the host, so that the same .cu text runs without a GPU.
//
// The threads of a block are fibers of one thread of the host: each runs until it reaches a barrier or a
// shuffle, then the next one goes on, in an order that the caller chooses. So a run is fast and repeatable,
// two orders that disagree show a missing barrier, and a barrier that not everybody reaches is an error
// instead of a hang. Blocks run one after another. Shared memory starts as NaN in every block.
//
// With HOST_THREADS they are threads of the host instead, for ThreadSanitizer to look at.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace host {
constexpr unsigned kWarp = 32;
constexpr size_t kShared = 227 * 1024;
constexpr int kDeadlock = 1, kOutOfBounds = 2, kArguments = 16;
}  // namespace host

#ifdef HOST_THREADS
#include "host_threads.h"
#else
#include "host_fibers.h"
#endif

namespace host {

struct Launch {
  unsigned grid, threads, order;
  size_t shared_bytes;
};

template <class... A, size_t... I>
int run(void (*kernel)(A...), const Launch& launch, void** values, const int* widths, int count,
        void* shared, std::index_sequence<I...>) {
  if (count != static_cast<int>(sizeof...(A))) return kArguments - 1;
  const int declared[] = {static_cast<int>(sizeof(A))..., 0};
  for (int i = 0; i < count; ++i)
    if (widths[i] != declared[i]) return kArguments + i;
  struct Bound {
    void (*kernel)(A...);
    void** values;
  } bound{kernel, values};

  const auto body = [](const void* given) {
    const Bound& call = *static_cast<const Bound*>(given);
    call.kernel(*static_cast<std::remove_const_t<A>*>(call.values[I])...);
  };
  blockDim.x = launch.threads;
  gridDim.x = launch.grid;
  Runner block(launch.threads, launch.order, body, &bound);
  unsigned char* bytes = static_cast<unsigned char*>(shared);
  for (unsigned i = 0; i < launch.grid; ++i) {
    blockIdx.x = i;
    if (bytes) std::memset(bytes, 0xff, kShared);
    if (int error = block.run()) return error;
    for (size_t at = launch.shared_bytes; bytes && at < kShared; ++at)
      if (bytes[at] != 0xff) return kOutOfBounds;
  }
  return 0;
}

template <class... A>
int run(void (*kernel)(A...), const Launch& launch, void** values, const int* widths, int count,
        void* shared) {
  return run(kernel, launch, values, widths, count, shared, std::index_sequence_for<A...>());
}

// What every thread in a group gave, seen by all of them: meet, read, meet.
template <class T, class Read, class Wait>
auto exchange(T value, Wait wait, Read read) {
  static_assert(sizeof(T) <= 8, "a shuffle of at most 8 bytes");
  give(value);
  wait();
  auto result = read();
  wait();
  return result;
}

template <class T>
T shuffle(unsigned mask, T value, unsigned lane, unsigned source) {
  const unsigned first = self() - lane;
  const bool there = source < kWarp && (mask >> source & 1) && first + source < threads();
  return exchange(
      value, [&] { meet_in_warp(mask); },
      [&] { return there ? given_by<T>(first + source) : value; });
}

inline unsigned ballot(unsigned mask, int predicate) {
  const unsigned first = self() / kWarp * kWarp;
  return exchange(
      predicate != 0, [&] { meet_in_warp(mask); },
      [&] {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < kWarp && first + lane < threads(); ++lane)
          if (mask >> lane & 1) votes |= static_cast<unsigned>(given_by<bool>(first + lane)) << lane;
        return votes;
      });
}

inline int votes_of_block(int predicate) {
  return exchange(
      predicate != 0, [] { wait_for_block(); },
      [] {
        int votes = 0;
        for (unsigned i = 0; i < threads(); ++i) votes += !gone(i) && given_by<bool>(i);
        return votes;
      });
}

inline unsigned lane() { return self() % kWarp; }

}  // namespace host

inline void __syncthreads() { host::wait_for_block(); }
inline int __syncthreads_count(int p) { return host::votes_of_block(p); }
inline int __syncthreads_or(int p) { return host::votes_of_block(p) > 0; }
inline int __syncthreads_and(int p) { return host::votes_of_block(!p) == 0; }
inline void __syncwarp(unsigned mask = ~0u) { host::wait_for_warp(mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned lane = host::lane(), segment = lane / width * width;
  return host::shuffle(mask, value, lane, segment + static_cast<unsigned>(source) % width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const unsigned lane = host::lane(), source = lane ^ static_cast<unsigned>(bits);
  return host::shuffle(mask, value, lane, source / width > lane / width ? lane : source);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned lane = host::lane(), source = lane + by;
  return host::shuffle(mask, value, lane, source / width == lane / width ? source : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned lane = host::lane(), inside = lane % width;
  return host::shuffle(mask, value, lane, inside >= by ? lane - by : lane);
}
inline unsigned __ballot_sync(unsigned mask, int p) { return host::ballot(mask, p); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __any_sync(unsigned mask, int p) { return host::ballot(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return host::ballot(mask, !p) == 0; }

namespace host {
template <class T, class Change>
T change(T* at, Change change) {
  T old, wanted;
  __atomic_load(at, &old, __ATOMIC_RELAXED);
  do wanted = change(old);
  while (!__atomic_compare_exchange(at, &old, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}
}  // namespace host

template <class T, class U>
T atomicAdd(T* at, U value) {
  return host::change(at, [=](T old) { return static_cast<T>(old + value); });
}
template <class T, class U>
T atomicMax(T* at, U value) {
  return host::change(at, [=](T old) { return std::max<T>(old, value); });
}

using std::max;
using std::min;
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
template <class T>
T __ldg(const T* at) {
  return *at;
}
