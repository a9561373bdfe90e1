#include "small_matrices.h"

#include <cstdlib>
#include <memory>

#include "leaf.h"

namespace ganfast {
namespace {

// Entries of the matrices that a thread takes at a time, at least.
constexpr std::int64_t kTogether = 256;

// Memory that a thread keeps: fresh pages for every call would cost as much as a small matrix. Null if there is none.
double* workspace(std::int64_t n) {
  struct Free {
    void operator()(double* p) const { std::free(p); }
  };
  static thread_local std::unique_ptr<double, Free> room;
  static thread_local std::int64_t size = 0;
  const std::int64_t stride = n + 16;  // no instruction set pads rows by more
  const std::int64_t wanted = (4 * n + 8) * stride;
  if (size < wanted) {
    const std::size_t bytes = (static_cast<std::size_t>(wanted) * sizeof(double) + 63) / 64 * 64;
    room.reset(static_cast<double*>(std::aligned_alloc(64, bytes)));
    size = room ? wanted : 0;
  }
  return room.get();
}

template <class One>
std::vector<std::int64_t> for_each(const Matrices& m, int threads, One one) {
  std::vector<std::uint8_t> outcomes(static_cast<std::size_t>(m.count));
  if (m.count == 1) threads = 1;
  const auto at = [&](std::int64_t i) {
    double* work = workspace(m.n);
    outcomes[static_cast<std::size_t>(i)] = work ? one(i, work) : kGaveUp;
  };
  if (threads == 1) {
    for (std::int64_t i = 0; i < m.count; ++i) at(i);
  } else {
    const int chunk = static_cast<int>(1 + kTogether / (m.n * m.n));
#pragma omp parallel for num_threads(threads) schedule(dynamic, chunk)
    for (std::int64_t i = 0; i < m.count; ++i) at(i);
  }
  std::vector<std::int64_t> gave_up;
  for (std::int64_t i = 0; i < m.count; ++i) {
    const std::uint8_t outcome = outcomes[static_cast<std::size_t>(i)];
    m.definite[i] = outcome != kIndefinite;
    if (outcome == kGaveUp) gave_up.push_back(i);
  }
  return gave_up;
}

}  // namespace

std::vector<std::int64_t> batch_sqrtm(const Matrices& m, int threads) {
  const auto root = current_isa()->matrix.root;
  const std::int64_t size = m.n * m.n;
  return for_each(m, threads, [&](std::int64_t i, double* work) {
    return root({m.n, m.sweeps}, m.a + i * size, m.tolerance_a, m.out + i * size, work);
  });
}

std::vector<std::int64_t> batch_trace_sqrtm(const Matrices& m, int threads) {
  const auto trace = current_isa()->matrix.trace;
  const std::int64_t size = m.n * m.n;
  return for_each(m, threads, [&](std::int64_t i, double* work) {
    return trace({m.n, m.sweeps}, m.a + i * size, m.b + i * size, m.tolerance_a, m.tolerance_b, m.out + i, work);
  });
}

}  // namespace ganfast
