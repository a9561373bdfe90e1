// Packed rows for Python: addresses and sizes, which the caller has checked.
#include <cstdint>

#include "leaf_syrk.h"
#include "module_bind.h"
#include "syrk.h"

namespace ganfast {
namespace {

namespace py = pybind11;

PackedRows rows_at(std::size_t at, std::int64_t capacity, std::int64_t n) {
  return {reinterpret_cast<double*>(at), capacity, n};
}

bool pack(std::size_t at, std::int64_t capacity, std::int64_t n, std::int64_t first, std::size_t x,
          bool is_double, std::int64_t stride, std::int64_t k, int threads) {
  py::gil_scoped_release release;
  return pack_rows(rows_at(at, capacity, n), first, reinterpret_cast<const void*>(x), is_double, stride, k,
                   threads);
}

void unpack(std::size_t at, std::int64_t capacity, std::int64_t n, std::int64_t k, std::size_t out) {
  py::gil_scoped_release release;
  unpack_rows(rows_at(at, capacity, n), k, reinterpret_cast<double*>(out));
}

void centre(std::size_t at, std::int64_t capacity, std::int64_t n, std::int64_t k, std::size_t high,
            std::size_t low, int threads) {
  py::gil_scoped_release release;
  centre_rows(rows_at(at, capacity, n), k, reinterpret_cast<double*>(high), reinterpret_cast<double*>(low),
              threads);
}

void square(std::size_t at, std::int64_t capacity, std::int64_t n, std::int64_t k, std::size_t c, int threads) {
  py::gil_scoped_release release;
  syrk(rows_at(at, capacity, n), k, reinterpret_cast<double*>(c), threads);
}

}  // namespace

void bind_syrk(py::module_& m) {
  m.attr("PANEL") = kPanel;
  m.def("pack_rows", &pack, "rows at `x` into packed rows -> whether all are finite", py::arg("at"),
        py::arg("capacity"), py::arg("n"), py::arg("first"), py::arg("x"), py::arg("is_double"),
        py::arg("stride"), py::arg("k"), py::arg("threads"));
  m.def("unpack_rows", &unpack, "the first k packed rows to `out` (k, n)", py::arg("at"), py::arg("capacity"),
        py::arg("n"), py::arg("k"), py::arg("out"));
  m.def("centre_rows", &centre, "subtract from the first k packed rows their mean, high + low", py::arg("at"),
        py::arg("capacity"), py::arg("n"), py::arg("k"), py::arg("high"), py::arg("low"), py::arg("threads"));
  m.def("syrk", &square, "add the squares of the first k packed rows to the lower triangle of c (n, n)",
        py::arg("at"), py::arg("capacity"), py::arg("n"), py::arg("k"), py::arg("c"), py::arg("threads"));
}

}  // namespace ganfast
