// The linear algebra for Python, in float64.
#include "args.h"
#include "pivoted_cholesky.h"
#include "symmetry.h"

namespace ganfast {
namespace {

std::int64_t panel(const View& rest, const View& order, const View& panel, const View& factor, std::int64_t start,
                   double cut, double floor, std::int64_t many) {
  rest.need(rest.ndim == 2, "is not a matrix");
  panel.need(panel.ndim == 2, "is not a matrix");
  const std::int64_t n = rest.shape[0], width = panel.shape[0];
  const PivotedPanel p{rest.as<double>(n * n), order.as<std::int64_t>(n), panel.as<double>(width * n),
                       factor.as<double>(n * n), n, start, width, cut, floor, many};
  std::int64_t pivots = 0;
  run(n * width, [&](int) { pivots = pivoted_panel(p); });
  return pivots;
}

void facts(const View& a, const Output& out) {
  a.need(a.ndim >= 2, "is no matrix");
  const std::int64_t n = a.shape[a.ndim - 1], count = n ? a.count / (n * n) : 0;
  const double* matrices = a.as<double>(count * n * n);
  double* found = out.as<double>();
  if (n == 0) return;
  out.need(out.count == 2 * count, "has another size than the other arguments");
  run(a.count, [&](int threads) { symmetry(matrices, count, n, threads, found); });
}

}  // namespace

void bind_linalg(py::module_& m) {
  define<panel>(m, "pivoted_panel", {"rest", "order", "panel", "factor", "start", "cut", "floor", "many"},
                "As ganfast.reference.linalg.pivoted_panel.");
  define<facts>(m, "symmetry", {"a", "out"},
                "The peak and the asymmetry of each of the matrices a (..., n, n) into `out` (..., 2).");
}

}  // namespace ganfast
