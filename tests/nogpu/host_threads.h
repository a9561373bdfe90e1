// The threads of a block as threads of the host, for ThreadSanitizer: see cuda_host.h.
//
// __syncthreads and __syncwarp order memory; a shuffle or a vote of a warp does not, so its threads meet
// through relaxed atomics, which ThreadSanitizer does not take for an order.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>

#define __shared__ static
#define __dynamic_shared__

static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

constexpr unsigned kMost = 1024;

struct Meeting {
  std::atomic<unsigned> count{0}, round{0};
};

static Meeting of_block, of_warp[kMost / kWarp], at_shuffle[kMost / kWarp];
static std::atomic<uint64_t> slots[kMost];
static std::atomic<bool> stuck{false};
static unsigned size_of_block;

// The kernel's own sleep, which ThreadSanitizer does not know and so does not take for an order. Threads that only
// yielded would keep every processor busy, at a barrier of a hundred of them for the most part with each other.
inline void sleep_while(std::atomic<unsigned>& word, unsigned value) {
  const timespec second{1, 0};
  syscall(SYS_futex, reinterpret_cast<unsigned*>(&word), FUTEX_WAIT_PRIVATE, value, &second, nullptr, 0);
}
inline void wake_all(std::atomic<unsigned>& word) {
  syscall(SYS_futex, reinterpret_cast<unsigned*>(&word), FUTEX_WAKE_PRIVATE, kMost, nullptr, nullptr, 0);
}

// If not everybody comes, it gives up after five minutes.
template <std::memory_order come, std::memory_order tell, std::memory_order hear>
void meet(Meeting& m, unsigned wanted) {
  const unsigned round = m.round.load(std::memory_order_relaxed);
  if (m.count.fetch_add(1, come) + 1 == wanted) {
    m.count.store(0, std::memory_order_relaxed);
    m.round.store(round + 1, tell);
    return wake_all(m.round);
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(5);
  while (m.round.load(hear) == round) {
    sleep_while(m.round, round);
    if (stuck.load() || std::chrono::steady_clock::now() > until) return stuck.store(true);
  }
}

inline unsigned self() { return threadIdx.x; }
inline unsigned threads() { return size_of_block; }
inline bool gone(unsigned) { return false; }

inline unsigned lanes(unsigned mask) {
  const unsigned there = std::min(kWarp, threads() - self() / kWarp * kWarp);
  return static_cast<unsigned>(__builtin_popcount(there < kWarp ? mask & ((1u << there) - 1) : mask));
}

inline void wait_for_block() {
  meet<std::memory_order_acq_rel, std::memory_order_release, std::memory_order_acquire>(of_block, threads());
}
inline void wait_for_warp(unsigned mask) {
  meet<std::memory_order_acq_rel, std::memory_order_release, std::memory_order_acquire>(
      of_warp[self() / kWarp], lanes(mask));
}
inline void meet_in_warp(unsigned mask) {
  meet<std::memory_order_relaxed, std::memory_order_relaxed, std::memory_order_relaxed>(
      at_shuffle[self() / kWarp], lanes(mask));
}

template <class T>
void give(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  slots[self()].store(bits, std::memory_order_relaxed);
}
template <class T>
T given_by(unsigned thread) {
  const uint64_t bits = slots[thread].load(std::memory_order_relaxed);
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Runs `body` in every thread of a block: 0, or kDeadlock. The order is the operating system's.
class Runner {
 public:
  Runner(unsigned threads, unsigned, void (*body)(const void*), const void* arguments)
      : threads_(threads), body_(body), arguments_(arguments) {}

  int run() {
    size_of_block = threads_;
    for (Meeting* m : {of_warp, at_shuffle})
      for (unsigned i = 0; i < kMost / kWarp; ++i) m[i].count = 0;
    of_block.count = 0;
    const dim3 at = blockIdx, size = blockDim, grid = gridDim;
    std::vector<std::thread> all;
    for (unsigned i = 0; i < threads_; ++i)
      all.emplace_back([=] {
        threadIdx.x = i;
        blockIdx = at, blockDim = size, gridDim = grid;
        body_(arguments_);
      });
    for (std::thread& each : all) each.join();
    return stuck.exchange(false) ? kDeadlock : 0;
  }

 private:
  unsigned threads_;
  void (*body_)(const void*);
  const void* arguments_;
};

}  // namespace host
