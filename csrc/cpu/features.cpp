#include "features.h"

#include "pages.h"

namespace ganfast {
namespace {

// Elements whose memory is mapped at a time; see losses.cpp.
constexpr std::int64_t kMapped = 64 * kBlock;

std::int64_t blocks_of(const Pair& pair) { return (pair.count + kBlock - 1) / kBlock; }

// Calls body(pair, number of the block among all, first element, elements) for every block, in one parallel
// region. Each pair is divided among the threads, as torch divides a tensor among them; see losses.cpp.
template <class Body>
void for_each_block(const std::vector<Pair>& pairs, int threads, Body body) {
  in_team(threads, [&](int thread, int of) {
    std::int64_t before = 0;
    for (const Pair& pair : pairs) {
      const std::int64_t blocks = blocks_of(pair);
      for (std::int64_t b = blocks * thread / of; b < blocks * (thread + 1) / of; ++b)
        body(pair, before + b, b * kBlock, std::min(kBlock, pair.count - b * kBlock));
      before += blocks;
    }
  });
}

// Calls body(loops, fake, real) with both sides of one block ready to use.
template <class Body>
void with_block(Distance distance, const Pair& pair, std::int64_t first, std::int64_t n, Body body) {
  const Isa& isa = *current_isa();
  with_real(pair.dtype, [&](auto zero) {
    using Real = decltype(zero);
    alignas(64) Real fake_buffer[kBlock];
    alignas(64) Real real_buffer[kBlock];
    const Real* fake = read<Real>(isa, at(pair.fake, pair.dtype, first), pair.dtype, n, fake_buffer);
    const Real* real = read<Real>(isa, at(pair.real, pair.dtype, first), pair.dtype, n, real_buffer);
    body(leaf<Real>(isa).distance[distance], fake, real);
  });
}

}  // namespace

void distance_value(Distance distance, const std::vector<Pair>& pairs, Scalar out, int threads) {
  std::int64_t blocks = 0;
  for (const Pair& pair : pairs) blocks += blocks_of(pair);
  // One sum for each block, added up in the order of the blocks: the same bits for any number of threads.
  std::vector<double> sums(static_cast<std::size_t>(blocks));
  for_each_block(pairs, threads, [&](const Pair& pair, std::int64_t number, std::int64_t first, std::int64_t n) {
    with_block(distance, pair, first, n, [&](const auto& loops, const auto* fake, const auto* real) {
      sums[static_cast<std::size_t>(number)] = loops.sum(fake, real, n);
    });
  });
  double total = 0;
  std::size_t b = 0;
  for (const Pair& pair : pairs) {
    double sum = 0;
    for (std::int64_t k = blocks_of(pair); k > 0; --k) sum += sums[b++];
    total += pair.weight * sum;
  }
  write_scalar(total, out);
}

void distance_gradient(Distance distance, const std::vector<Pair>& pairs, Scalar grad, int threads) {
  const Isa& isa = *current_isa();
  const double of_all = read_scalar(grad);
  for_each_block(pairs, threads, [&](const Pair& pair, std::int64_t, std::int64_t first, std::int64_t n) {
    if (pair.out == nullptr) return;
    void* to = at(pair.out, pair.dtype, first);
    const std::int64_t size = size_of(pair.dtype);
    if (pair.count * size >= kAlwaysFresh && first % kMapped == 0)
      map_pages(to, std::min(pair.count - first, kMapped) * size);
    with_block(distance, pair, first, n, [&](const auto& loops, const auto* fake, const auto* real) {
      using Real = std::decay_t<decltype(*fake)>;
      alignas(64) Real buffer[kBlock];
      Real* out = staging<Real>(to, pair.dtype, buffer);
      loops.slope(fake, real, static_cast<Real>(of_all * pair.weight), out, n);
      write<Real>(isa, out, to, pair.dtype, n);
    });
  });
}

}  // namespace ganfast
