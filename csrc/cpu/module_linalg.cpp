// The linear algebra for Python: addresses and sizes of contiguous tensors, which the caller has checked.
#include <cstdint>

#include "module_bind.h"
#include "module_tensors.h"
#include "pivoted_cholesky.h"
#include "symmetry.h"

namespace ganfast {
namespace {

std::int64_t panel(std::size_t rest, std::size_t order, std::size_t panel, std::size_t factor, std::int64_t n,
                   std::int64_t start, std::int64_t width, double cut, double floor, std::int64_t many) {
  const PivotedPanel p{reinterpret_cast<double*>(rest),
                       reinterpret_cast<std::int64_t*>(order),
                       reinterpret_cast<double*>(panel),
                       reinterpret_cast<double*>(factor),
                       n,
                       start,
                       width,
                       cut,
                       floor,
                       many};
  py::gil_scoped_release release;
  return pivoted_panel(p);
}

void facts(std::size_t a, std::int64_t count, std::int64_t n, int threads, std::size_t out) {
  py::gil_scoped_release release;
  symmetry(reinterpret_cast<const double*>(a), count, n, threads, reinterpret_cast<double*>(out));
}

}  // namespace

void bind_linalg(py::module_& m) {
  m.def("pivoted_panel", &panel, "the addresses of PivotedPanel's arrays and its numbers -> how many pivots",
        py::arg("rest"), py::arg("order"), py::arg("panel"), py::arg("factor"), py::arg("n"), py::arg("start"),
        py::arg("width"), py::arg("cut"), py::arg("floor"), py::arg("many"));
  m.def("symmetry", &facts, "the address of (count, n, n) -> at `out`, for each, its peak and its asymmetry",
        py::arg("a"), py::arg("count"), py::arg("n"), py::arg("threads"), py::arg("out"));
}

}  // namespace ganfast
