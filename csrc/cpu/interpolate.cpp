#include "interpolate.h"

#include <vector>

namespace ganfast {
namespace {

// More than this is not at hand in the caches of most machines.
constexpr std::int64_t kCached = std::int64_t{24} << 20;

// eps_i and 1 - eps_i of every row; both exact, since eps has 24 bits.
template <class Real>
struct Weights {
  std::vector<Real> of_real, of_fake;

  Weights(const Isa& isa, const Mixture& mixture)
      : of_real(static_cast<std::size_t>(mixture.rows.count)), of_fake(of_real.size()) {
    const std::int64_t rows = mixture.rows.count, groups = rows / mixture.group;
    // A label of 1/2 with noise up to 1/2 is U[0, 1): the losses' own draw serves.
    leaf<Real>(isa).targets(Noise{mixture.key, 0, 0.0, 0.5}, 0.5, 0, of_real.data(), groups);
    // From the last on, since the groups' eps lie in front of where they go.
    for (std::int64_t i = rows - 1; i >= 0; --i) {
      const auto row = static_cast<std::size_t>(i);
      of_real[row] = of_real[static_cast<std::size_t>(i / mixture.group)];
      of_fake[row] = Real(1) - of_real[row];
    }
  }
};

}  // namespace

void interpolate(const Mixture& mixture, const void* real, const void* fake, void* out, int threads) {
  const Isa& isa = *current_isa();
  with_real(mixture.dtype, [&](auto zero) {
    using Real = decltype(zero);
    const Weights<Real> weights(isa, mixture);
    const RowLoops<Real>& loops = leaf<Real>(isa).rows;
    const bool far = 3 * mixture.rows.elements() * size_of(mixture.dtype) > kCached;
    const auto blend = far ? loops.blend_far : loops.blend;
    for_each_chunk(mixture.rows, threads, [&](const Chunk& chunk) {
      alignas(64) Real real_buffer[kBlock];
      alignas(64) Real fake_buffer[kBlock];
      const Real* x = read_chunk<Real>(isa, real, mixture.dtype, chunk, real_buffer);
      const Real* y = read_chunk<Real>(isa, fake, mixture.dtype, chunk, fake_buffer);
      write_chunk<Real>(isa, out, mixture.dtype, mixture.rows, chunk, [&](Real* to) {
        blend(x, y, &weights.of_real[chunk.row], &weights.of_fake[chunk.row], chunk.rows, chunk.length, to);
      });
    });
  });
}

void interpolate_gradient(const Mixture& mixture, const void* grad, void* of_real, void* of_fake,
                          int threads) {
  const Isa& isa = *current_isa();
  with_real(mixture.dtype, [&](auto zero) {
    using Real = decltype(zero);
    const Weights<Real> weights(isa, mixture);
    for_each_chunk(mixture.rows, threads, [&](const Chunk& chunk) {
      alignas(64) Real buffer[kBlock];
      const Real* g = read_chunk<Real>(isa, grad, mixture.dtype, chunk, buffer);
      const auto scaled = [&](void* out, const std::vector<Real>& by) {
        if (out == nullptr) return;
        write_chunk<Real>(isa, out, mixture.dtype, mixture.rows, chunk, [&](Real* to) {
          leaf<Real>(isa).rows.scale(g, &by[chunk.row], chunk.rows, chunk.length, to);
        });
      };
      scaled(of_real, weights.of_real);
      scaled(of_fake, weights.of_fake);
    });
  });
}

}  // namespace ganfast
