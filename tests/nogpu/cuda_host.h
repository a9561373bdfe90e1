// CUDA's words on the host, so that the same .cu text runs without a GPU.
//
// The threads of a block are fibers of one thread of the host: each runs until it reaches a barrier or a
// shuffle, then the next one goes on, in an order that the caller chooses. So a run is fast and repeatable,
// two orders that disagree show a missing barrier, and a barrier that not everybody reaches is an error
// instead of a hang. Blocks run one after another. Shared memory starts as NaN in every block.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ thread_local  // `extern` or not, as __shared__ is

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

constexpr unsigned kWarp = 32;
constexpr size_t kStack = 1 << 17;
constexpr size_t kShared = 227 * 1024;
constexpr int kDeadlock = 1, kOutOfBounds = 2, kArguments = 16;

struct Fiber {
  ucontext_t context;  // where it starts; from then on it goes by `place`, which needs no system call
  jmp_buf place;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool started = false, done = false, waits = false;
  alignas(16) unsigned char slot[16];  // what it gives to the others in a shuffle
};

struct Barrier {
  std::vector<Fiber*> waiting;
};

struct Block {
  std::vector<Fiber> fibers;
  std::map<std::pair<unsigned, unsigned>, Barrier> warps;  // by warp and mask
  Barrier all;
  jmp_buf scheduler;
  void (*body)(const void*) = nullptr;
  const void* arguments = nullptr;
  unsigned self = 0, alive = 0;

  Fiber& me() { return fibers[self]; }

  // setjmp must not be inlined into a frame whose variables change.
  __attribute__((noinline)) void go_on(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.context);
  }

  __attribute__((noinline)) void pause() {
    if (!_setjmp(me().place)) _longjmp(scheduler, 1);
  }

  void wait(Barrier& barrier, size_t wanted) {
    barrier.waiting.push_back(&me());
    if (barrier.waiting.size() >= wanted) return release(barrier);
    me().waits = true;
    pause();
  }

  void release(Barrier& barrier) {
    for (Fiber* fiber : barrier.waiting) fiber->waits = false;
    barrier.waiting.clear();
  }

  void wait_for_block() { wait(all, alive); }

  void wait_for_warp(unsigned mask) {
    const unsigned first = self / kWarp * kWarp;
    const unsigned lanes = std::min<unsigned>(kWarp, static_cast<unsigned>(fibers.size()) - first);
    if (lanes < kWarp) mask &= (1u << lanes) - 1;
    wait(warps[{first, mask}], static_cast<size_t>(__builtin_popcount(mask)));
  }

  void leave() {
    me().done = true;
    --alive;
    if (!all.waiting.empty() && all.waiting.size() >= alive) release(all);
  }
};

static thread_local Block* block;

static void enter() {
  block->body(block->arguments);
  block->leave();
  block->pause();
}

// Runs every fiber of the block to its end: 0, or kDeadlock.
static int run_block(Block& b, const std::vector<unsigned>& order) {
  b.alive = static_cast<unsigned>(b.fibers.size());
  b.warps.clear();
  b.all.waiting.clear();
  for (Fiber& fiber : b.fibers) {
    fiber.started = fiber.done = fiber.waits = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack = {fiber.stack.get(), 0, kStack};
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  while (b.alive) {
    bool progress = false;
    for (unsigned i : order) {
      Fiber& fiber = b.fibers[i];
      if (fiber.done || fiber.waits) continue;
      progress = true;
      b.self = i;
      threadIdx.x = i;
      b.go_on(fiber);
    }
    if (!progress) return kDeadlock;
  }
  return 0;
}

// order: 0 from the first thread to the last, 1 backwards, others shuffled.
static std::vector<unsigned> permutation(unsigned threads, unsigned order) {
  std::vector<unsigned> result(threads);
  for (unsigned i = 0; i < threads; ++i) result[i] = order == 1 ? threads - 1 - i : i;
  uint64_t state = order;
  for (unsigned i = threads; order > 1 && i > 1; --i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(result[i - 1], result[(state >> 33) % i]);
  }
  return result;
}

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

  Block b;
  b.fibers = std::vector<Fiber>(launch.threads);
  b.arguments = &bound;
  b.body = [](const void* given) {
    const Bound& call = *static_cast<const Bound*>(given);
    call.kernel(*static_cast<std::remove_const_t<A>*>(call.values[I])...);
  };
  block = &b;
  blockDim.x = launch.threads;
  gridDim.x = launch.grid;
  const auto order = permutation(launch.threads, launch.order);
  unsigned char* bytes = static_cast<unsigned char*>(shared);
  for (unsigned i = 0; i < launch.grid; ++i) {
    blockIdx.x = i;
    if (bytes) std::memset(bytes, 0xff, kShared);
    if (int error = run_block(b, order)) return error;
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

// What every thread in a group gave, seen by all of them: barrier, read, barrier.
template <class T, class Read, class Wait>
auto exchange(T value, Wait wait, Read read) {
  static_assert(sizeof(T) <= sizeof(Fiber::slot), "a shuffle of at most 16 bytes");
  std::memcpy(block->me().slot, &value, sizeof value);
  wait();
  auto result = read();
  wait();
  return result;
}

template <class T>
T given_by(unsigned thread) {
  T value;
  std::memcpy(&value, block->fibers[thread].slot, sizeof value);
  return value;
}

template <class T>
T shuffle(unsigned mask, T value, unsigned lane, unsigned source) {
  const unsigned first = block->self - lane;
  const bool there = source < kWarp && (mask >> source & 1) && first + source < block->fibers.size();
  return exchange(
      value, [&] { block->wait_for_warp(mask); },
      [&] { return there ? given_by<T>(first + source) : value; });
}

inline unsigned ballot(unsigned mask, int predicate) {
  const unsigned first = block->self / kWarp * kWarp;
  return exchange(
      predicate != 0, [&] { block->wait_for_warp(mask); },
      [&] {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < kWarp && first + lane < block->fibers.size(); ++lane)
          if (mask >> lane & 1) votes |= static_cast<unsigned>(given_by<bool>(first + lane)) << lane;
        return votes;
      });
}

inline int votes_of_block(int predicate) {
  return exchange(
      predicate != 0, [] { block->wait_for_block(); },
      [] {
        int votes = 0;
        for (unsigned i = 0; i < block->fibers.size(); ++i)
          votes += !block->fibers[i].done && given_by<bool>(i);
        return votes;
      });
}

inline unsigned lane() { return block->self % kWarp; }

}  // namespace host

inline void __syncthreads() { host::block->wait_for_block(); }
inline int __syncthreads_count(int p) { return host::votes_of_block(p); }
inline int __syncthreads_or(int p) { return host::votes_of_block(p) > 0; }
inline int __syncthreads_and(int p) { return host::votes_of_block(!p) == 0; }
inline void __syncwarp(unsigned mask = ~0u) { host::block->wait_for_warp(mask); }
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
inline int __any_sync(unsigned mask, int p) { return host::ballot(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return host::ballot(mask, !p) == 0; }

template <class T, class U>
T atomicAdd(T* at, U value) {
  const T old = *at;
  *at = static_cast<T>(old + value);
  return old;
}
template <class T, class U>
T atomicMax(T* at, U value) {
  const T old = *at;
  *at = std::max<T>(old, value);
  return old;
}

using std::max;
using std::min;
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
template <class T>
T __ldg(const T* at) {
  return *at;
}
