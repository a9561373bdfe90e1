// The interpolation and the penalty for Python.
#include "args.h"
#include "interpolate.h"
#include "penalty.h"

namespace ganfast {
namespace {

// Of a tensor whose samples lie one behind the other, each one run of memory in some order of its elements, as in
// contiguous and channels_last tensors: as `count` rows of equal length.
Rows rows_of(const View& samples, std::int64_t count) {
  samples.need(is_floating(samples.dtype), "has a dtype that no kernel takes");
  samples.need(samples.ndim > 0 && samples.dense() &&
                   (samples.shape[0] < 2 || samples.count == 0 ||
                    samples.strides[0] * samples.shape[0] == samples.count),
               "has samples that are not rows of memory");
  if (count < 1 || samples.count % count != 0) throw std::invalid_argument("rows: do not divide the elements");
  return {count, samples.count / count};
}

void* alike(const View& view, const View& samples) {
  view.need(view.laid_out_as(samples), "is laid out otherwise in memory");
  return view.data;
}

void* alike(const std::optional<Output>& view, const View& samples) { return view ? alike(*view, samples) : nullptr; }

Mixture mixture_of(const View& samples, std::int64_t group, std::uint64_t key) {
  const std::int64_t count = samples.ndim > 0 ? samples.shape[0] : 0;
  return {rows_of(samples, std::max<std::int64_t>(count, 1)), samples.dtype, group, key};
}

void blend(std::uint64_t key, std::int64_t group, const View& real, const View& fake, const Output& out) {
  const Mixture mixture = mixture_of(real, group, key);
  void *with = alike(fake, real), *to = alike(out, real);
  if (real.count == 0) return;
  run(real.count, [&](int threads) { interpolate(mixture, real.data, with, to, threads); });
}

void blend_gradient(std::uint64_t key, std::int64_t group, const View& grad, const std::optional<Output>& of_real,
                    const std::optional<Output>& of_fake) {
  const Mixture mixture = mixture_of(grad, group, key);
  void *real = alike(of_real, grad), *fake = alike(of_fake, grad);
  if (grad.count == 0) return;
  run(grad.count, [&](int threads) { interpolate_gradient(mixture, grad.data, real, fake, threads); });
}

Penalty penalty_of(std::int64_t rows, double target, bool one_sided, double weight, const View& x, const View& norms) {
  const Penalty p{rows_of(x, rows), x.dtype, target, one_sided, weight};
  norms.need(norms.count == rows && norms.contiguous(), "is not one number for each row");
  norms.need(norms.dtype == (x.dtype == Dtype::f64 ? Dtype::f64 : Dtype::f32), "has another dtype than the kernel");
  return p;
}

void value_of_penalty(std::int64_t rows, double target, bool one_sided, double weight, const View& x, const Output& norms,
           const Output& out) {
  const Penalty p = penalty_of(rows, target, one_sided, weight, x, norms);
  const Scalar to = out.scalar();
  run(x.count, [&](int threads) { penalty(p, x.data, norms.data, to, threads); });
}

void gradient_of_penalty(std::int64_t rows, double target, bool one_sided, double weight, const View& x, const View& norms,
              const View& grad, const Output& out) {
  const Penalty p = penalty_of(rows, target, one_sided, weight, x, norms);
  const Scalar by = grad.scalar();
  void* to = alike(out, x);
  run(x.count, [&](int threads) { penalty_gradient(p, x.data, norms.data, by, to, threads); });
}

void second_order(std::int64_t rows, double target, bool one_sided, double weight, const View& x, const View& norms,
                  const View& grad, const View& v, const Output& of_grad, const Output& of_x) {
  const Penalty p = penalty_of(rows, target, one_sided, weight, x, norms);
  const Scalar by = grad.scalar(), to_grad = of_grad.scalar();
  void *direction = alike(v, x), *to_x = alike(of_x, x);
  run(x.count, [&](int threads) {
    penalty_second_order(p, x.data, norms.data, by, direction, to_grad, to_x, threads);
  });
}

}  // namespace

void bind_penalty(py::module_& m) {
  define<blend>(m, "interpolate", {"key", "group", "real", "fake", "out"}, "eps real + (1 - eps) fake into `out`.");
  define<blend_gradient>(m, "interpolate_gradient", {"key", "group", "grad", "of_real", "of_fake"},
                         "eps grad and (1 - eps) grad into what is there.");
  define<value_of_penalty>(m, "penalty", {"rows", "target", "one_sided", "weight", "x", "norms", "out"},
                "The norms of the rows of x into `norms`, the penalty into `out`.");
  define<gradient_of_penalty>(m, "penalty_gradient", {"rows", "target", "one_sided", "weight", "x", "norms", "grad", "out"},
                   "grad * d penalty / dx into `out`.");
  define<second_order>(
      m, "penalty_second_order",
      {"rows", "target", "one_sided", "weight", "x", "norms", "grad", "v", "of_grad", "of_x"},
      "The derivatives of <v, grad * d penalty / dx> with respect to grad and x into `of_grad` and `of_x`.");
}

}  // namespace ganfast
