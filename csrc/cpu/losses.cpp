#include "losses.h"

#include <algorithm>

#include "leaf.h"
#include "pages.h"

namespace ganfast {
namespace {

// Elements whose memory is mapped at a time: few enough that they are still in the cache when written.
constexpr std::int64_t kMapped = 64 * kBlock;

double weight(const Loss& loss, const Segment& segment) {
  const double heads = loss.heads;
  return loss.reduction == Reduction::mean ? 1.0 / (heads * static_cast<double>(segment.count)) : 1.0 / heads;
}

std::int64_t blocks_of(const Segment& segment) { return (segment.count + kBlock - 1) / kBlock; }

std::int64_t blocks_of(const std::vector<Segment>& segments) {
  std::int64_t total = 0;
  for (const Segment& segment : segments) total += blocks_of(segment);
  return total;
}

// A block of one segment; `number` counts through all of them.
struct Block {
  std::int64_t number;
  std::int64_t first;
  std::int64_t count;
};

// The logits of a block as they were given: of a pair, both.
template <class Real>
struct Given {
  const Real* x;
  const Real* minus;
};

// Once for each thread and not in the frame of each block: the compiler touches every page of a frame.
template <class Real>
struct PairBuffers {
  alignas(64) Real minus[kBlock];
  alignas(64) Real difference[kBlock];
};

// Calls body(segment, block, loops, x, t, given) for every block; x and t are ready to use. One parallel region
// serves both sides and all heads. In it each segment is divided among the threads, as torch divides a tensor
// among them: the lines that a thread finds in its own cache, or leaves there, are then those of its own part.
template <class Real, class Body>
void for_each_block(const Loss& loss, const Logits& logits, std::uint64_t key, int threads, Body body) {
  const std::vector<Segment>& segments = logits.segments;
  const Isa& isa = *current_isa();
  const Leaf<Real>& table = leaf<Real>(isa);
  const PhiLoops<Real>& loops = table.phi[loss.phi][loss.noisy() ? kEachTarget : kOneTarget];
  const auto one_block = [&](std::size_t s, Block block, PairBuffers<Real>& pair) {
    const Segment& segment = segments[s];
    alignas(64) Real x_buffer[kBlock];
    alignas(64) Real t_buffer[kBlock];
    const Real* x = read<Real>(isa, at(segment.logits, logits.dtype, block.first), logits.dtype, block.count,
                               x_buffer);
    Given<Real> given{x, nullptr};
    if (segment.minus) {
      const Real one = 1, minus_one = -1;
      given.minus = read<Real>(isa, at(segment.minus, logits.dtype, block.first), logits.dtype, block.count,
                               pair.minus);
      table.rows.blend(x, given.minus, &one, &minus_one, 1, block.count, pair.difference);
      x = pair.difference;
    }
    t_buffer[0] = static_cast<Real>(loss.targets[s]);
    if (loss.noisy()) {
      const Noise noise{key, static_cast<std::uint32_t>(s), loss.flip, loss.noise};
      table.targets(noise, loss.targets[s], block.first, t_buffer, block.count);
    }
    body(segment, block, loops, x, t_buffer, given);
  };
  in_team(threads, [&](int thread, int of) {
    PairBuffers<Real> pair;
    std::int64_t before = 0;
    for (std::size_t s = 0; s < segments.size(); ++s) {
      const std::int64_t count = segments[s].count, blocks = blocks_of(segments[s]);
      for (std::int64_t b = blocks * thread / of; b < blocks * (thread + 1) / of; ++b)
        one_block(s, Block{before + b, b * kBlock, std::min(kBlock, count - b * kBlock)}, pair);
      before += blocks;
    }
  });
}

// Of one block: the sum of phi, and of the logits of a side, the sum and how many have the sign it should have.
struct Sums {
  double phi;
  double logits[2], right[2];  // [is fake]
};

template <class Real>
void add_statistics(const Leaf<Real>& table, const Real* x, bool fake, std::int64_t n, Sums& sums) {
  const Real zero = 0;
  sums.logits[fake] = table.phi[gan::kLinear][kOneTarget].sum(x, &zero, n);  // phi(x, 0) = x
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < n; ++i) right += fake ? x[i] < 0 : x[i] > 0;
  sums.right[fake] = static_cast<double>(right);
}

template <class Real>
void reduced(const Loss& loss, const Logits& logits, std::uint64_t key, Scalar out, LossStatistics* statistics,
             int threads) {
  // One sum for each block, added up in the order of the blocks: the same bits for any number of threads.
  constexpr std::int64_t kFew = 256;
  Sums few[kFew];
  const std::int64_t blocks = blocks_of(logits.segments);
  std::vector<Sums> many(blocks > kFew ? static_cast<std::size_t>(blocks) : 0);
  Sums* sums = many.empty() ? few : many.data();
  const Leaf<Real>& table = leaf<Real>(*current_isa());
  for_each_block<Real>(loss, logits, key, threads,
                       [&](const Segment& segment, Block block, const PhiLoops<Real>& loops, const Real* x,
                           const Real* t, Given<Real> given) {
                         Sums& here = sums[block.number] = {};
                         here.phi = loops.sum(x, t, block.count);
                         if (statistics == nullptr) return;
                         const bool fake = &segment - logits.segments.data() >= loss.heads;
                         add_statistics(table, given.x, fake, block.count, here);
                         if (given.minus) add_statistics(table, given.minus, true, block.count, here);
                       });
  double total = 0;
  std::int64_t b = 0;
  for (const Segment& segment : logits.segments) {
    Sums sum{};
    for (std::int64_t first = 0; first < segment.count; first += kBlock, ++b) {
      sum.phi += sums[b].phi;
      if (statistics)
        for (int side : {0, 1}) sum.logits[side] += sums[b].logits[side], sum.right[side] += sums[b].right[side];
    }
    if (segment.count > 0) total += weight(loss, segment) * sum.phi;
    if (statistics) {  // 0/0 of an empty tensor, as its mean is
      const double count = static_cast<double>(segment.count) * loss.heads;
      const bool fake = &segment - logits.segments.data() >= loss.heads;
      if (!fake) statistics->real_mean += sum.logits[0] / count, statistics->real_share += sum.right[0] / count;
      if (fake || loss.paired)
        statistics->fake_mean += sum.logits[1] / count, statistics->fake_share += sum.right[1] / count;
    }
  }
  write_scalar(total, out);
}

template <class Real>
void each(const Loss& loss, const Logits& logits, std::uint64_t key, Dtype dtype, int threads) {
  const Isa& isa = *current_isa();
  for_each_block<Real>(loss, logits, key, threads,
                       [&](const Segment& segment, Block block, const PhiLoops<Real>& loops, const Real* x,
                           const Real* t, Given<Real>) {
                         alignas(64) Real buffer[kBlock];
                         void* to = at(segment.out, dtype, block.first);
                         Real* out = staging<Real>(to, dtype, buffer);
                         loops.value(x, t, out, block.count);
                         write<Real>(isa, out, to, dtype, block.count);
                       });
}

template <class Real>
void gradient(const Loss& loss, Logits logits, std::uint64_t key, Scalar grad, int threads) {
  const Isa& isa = *current_isa();
  const double of_all = grad.address ? read_scalar(grad) : 1.0;
  for (Segment& segment : logits.segments)  // emptied, not dropped: a segment's place is its noise's stream
    if (segment.out == nullptr && segment.minus_out == nullptr) segment.count = 0;
  for_each_block<Real>(
      loss, logits, key, threads,
      [&](const Segment& segment, Block block, const PhiLoops<Real>& loops, const Real* x, const Real* t,
          Given<Real>) {
        alignas(64) Real buffer[kBlock];
        const auto place = [&](void* out) {
          void* to = at(out, logits.dtype, block.first);
          const std::int64_t left = (segment.count - block.first) * size_of(logits.dtype);
          if (segment.count * size_of(logits.dtype) >= kAlwaysFresh && block.first % kMapped == 0)
            map_pages(to, std::min(left, kMapped * size_of(logits.dtype)));
          return to;
        };
        void* to = segment.out ? place(segment.out) : nullptr;
        Real* out = to ? staging<Real>(to, logits.dtype, buffer) : buffer;
        const double scale = segment.grad ? 1.0 : of_all * weight(loss, segment);
        loops.slope(x, t, static_cast<Real>(scale), out, block.count);
        if (segment.grad) {
          alignas(64) Real factor_buffer[kBlock];
          const Real* factor =
              read<Real>(isa, at(segment.grad, grad.dtype, block.first), grad.dtype, block.count, factor_buffer);
          leaf<Real>(isa).multiply(factor, out, block.count);
        }
        if (to) write<Real>(isa, out, to, logits.dtype, block.count);
        if (segment.minus_out) {
          alignas(64) Real negative[kBlock];
          const Real minus_one = -1;
          void* minus_to = place(segment.minus_out);
          Real* minus = staging<Real>(minus_to, logits.dtype, negative);
          leaf<Real>(isa).rows.scale(out, &minus_one, 1, block.count, minus);
          write<Real>(isa, minus, minus_to, logits.dtype, block.count);
        }
      });
}

}  // namespace

void loss_value(const Loss& loss, const Logits& logits, std::uint64_t key, Scalar out, LossStatistics* statistics,
                int threads) {
  with_real(logits.dtype, [&](auto real) {
    if (loss.reduction == Reduction::none)
      each<decltype(real)>(loss, logits, key, out.dtype, threads);
    else
      reduced<decltype(real)>(loss, logits, key, out, statistics, threads);
  });
}

void loss_gradient(const Loss& loss, const Logits& logits, std::uint64_t key, Scalar grad, int threads) {
  with_real(logits.dtype, [&](auto real) { gradient<decltype(real)>(loss, logits, key, grad, threads); });
}

}  // namespace ganfast
