// Batches of small matrices for Python, in float64. Each function returns the numbers of those that did not converge.
#include "args.h"
#include "small_matrices.h"

namespace ganfast {
namespace {

// A matrix is as much work as 32 times its entries, since it waits for one rotation after another.
std::int64_t work_on(const Matrices& m) { return 32 * m.count * m.n * m.n; }

Matrices matrices(const View& a, const Output& definite, std::int64_t sweeps) {
  a.need(a.ndim == 3 && a.shape[1] == a.shape[2], "is not a batch of square matrices");
  Matrices m{};
  m.count = a.shape[0], m.n = a.shape[1], m.sweeps = sweeps;
  m.a = a.as<double>(), m.definite = definite.as<bool>(m.count);
  return m;
}

std::vector<std::int64_t> sqrtm(const View& a, double tolerance, std::int64_t sweeps, const Output& roots,
                                const Output& definite) {
  Matrices m = matrices(a, definite, sweeps);
  m.tolerance_a = tolerance, m.out = roots.as<double>(a.count);
  std::vector<std::int64_t> gave_up;
  run(work_on(m), [&](int threads) { gave_up = batch_sqrtm(m, threads); });
  return gave_up;
}

std::vector<std::int64_t> trace_sqrtm(const View& a, const View& b, double tolerance_a, double tolerance_b,
                                      std::int64_t sweeps, const Output& traces, const Output& definite) {
  Matrices m = matrices(a, definite, sweeps);
  m.b = b.as<double>(a.count), m.tolerance_a = tolerance_a, m.tolerance_b = tolerance_b;
  m.out = traces.as<double>(m.count);
  std::vector<std::int64_t> gave_up;
  run(work_on(m), [&](int threads) { gave_up = batch_trace_sqrtm(m, threads); });
  return gave_up;
}

}  // namespace

void bind_matrices(py::module_& m) {
  define<sqrtm>(m, "batch_sqrtm", {"a", "tolerance", "sweeps", "roots", "definite"},
                "The roots of a (count, n, n), and which are definite.");
  define<trace_sqrtm>(m, "batch_trace_sqrtm",
                      {"a", "b", "tolerance_a", "tolerance_b", "sweeps", "traces", "definite"},
                      "Tr (a b)^{1/2} for a and b (count, n, n), and which pairs are definite.");
}

}  // namespace ganfast
