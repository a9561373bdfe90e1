// The threads of a block as fibers of one thread of the host: see cuda_host.h.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <map>
#include <memory>
#include <utility>

#define __shared__ thread_local
#define __dynamic_shared__ thread_local

static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

constexpr size_t kStack = 1 << 17;

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

// Runs `body` in every thread of a block: 0, or kDeadlock.
class Runner {
 public:
  Runner(unsigned threads, unsigned order, void (*body)(const void*), const void* arguments)
      : order_(permutation(threads, order)) {
    block_.fibers = std::vector<Fiber>(threads);
    block_.body = body;
    block_.arguments = arguments;
    block = &block_;
  }
  int run() { return run_block(block_, order_); }

 private:
  Block block_;
  std::vector<unsigned> order_;
};

inline unsigned self() { return block->self; }
inline unsigned threads() { return static_cast<unsigned>(block->fibers.size()); }
inline bool gone(unsigned thread) { return block->fibers[thread].done; }
inline void wait_for_block() { block->wait_for_block(); }
inline void wait_for_warp(unsigned mask) { block->wait_for_warp(mask); }
inline void meet_in_warp(unsigned mask) { block->wait_for_warp(mask); }

template <class T>
void give(T value) {
  std::memcpy(block->me().slot, &value, sizeof value);
}
template <class T>
T given_by(unsigned thread) {
  T value;
  std::memcpy(&value, block->fibers[thread].slot, sizeof value);
  return value;
}

}  // namespace host
