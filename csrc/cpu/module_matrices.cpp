// Batches of small matrices for Python: addresses and sizes of contiguous tensors, which the caller has checked.
#include <cstdint>

#include "module_bind.h"
#include "module_tensors.h"
#include "small_matrices.h"

namespace ganfast {
namespace {

std::vector<std::int64_t> sqrtm(std::size_t a, std::size_t out, std::size_t definite, std::int64_t count,
                                std::int64_t n, double tolerance, std::int64_t sweeps, int threads) {
  const Matrices m{reinterpret_cast<const double*>(a),
                   nullptr,
                   tolerance,
                   0,
                   reinterpret_cast<double*>(out),
                   reinterpret_cast<bool*>(definite),
                   count,
                   n,
                   sweeps};
  py::gil_scoped_release release;
  return batch_sqrtm(m, threads);
}

std::vector<std::int64_t> trace_sqrtm(std::size_t a, std::size_t b, std::size_t out, std::size_t definite,
                                      std::int64_t count, std::int64_t n, double tolerance_a, double tolerance_b,
                                      std::int64_t sweeps, int threads) {
  const Matrices m{reinterpret_cast<const double*>(a),
                   reinterpret_cast<const double*>(b),
                   tolerance_a,
                   tolerance_b,
                   reinterpret_cast<double*>(out),
                   reinterpret_cast<bool*>(definite),
                   count,
                   n,
                   sweeps};
  py::gil_scoped_release release;
  return batch_trace_sqrtm(m, threads);
}

}  // namespace

void bind_matrices(py::module_& m) {
  m.def("batch_sqrtm", &sqrtm, "addresses of (count, n, n) matrices, of roots and of bools -> what did not converge",
        py::arg("a"), py::arg("out"), py::arg("definite"), py::arg("count"), py::arg("n"), py::arg("tolerance"),
        py::arg("sweeps"), py::arg("threads"));
  m.def("batch_trace_sqrtm", &trace_sqrtm,
        "addresses of two batches (count, n, n), of doubles and of bools -> what did not converge", py::arg("a"),
        py::arg("b"), py::arg("out"), py::arg("definite"), py::arg("count"), py::arg("n"),
        py::arg("tolerance_a"), py::arg("tolerance_b"), py::arg("sweeps"), py::arg("threads"));
}

}  // namespace ganfast
