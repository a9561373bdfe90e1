// The row buffer for Python: `packed` (panels, capacity, PANEL) holds rows of n numbers.
#include "args.h"
#include "leaf.h"
#include "syrk.h"

namespace ganfast {
namespace {

PackedRows rows_of(const View& packed, std::int64_t n, std::int64_t count) {
  packed.need(packed.ndim == 3 && packed.shape[2] == kPanel && packed.shape[0] * kPanel >= n && count >= 0 &&
                  count <= packed.shape[1],
              "has no room for such rows");
  return {packed.as<double>(), packed.shape[1], n};
}

bool pack(std::int64_t n, std::int64_t first, const View& rows, const View& packed) {
  rows.need(rows.ndim == 2 && rows.shape[1] == n, "has another shape than the rows before");
  rows.need(rows.dtype == Dtype::f32 || rows.dtype == Dtype::f64, "has another dtype than the kernel");
  rows.need(n == 1 || rows.strides[1] == 1, "has rows that are not contiguous");
  const std::int64_t k = rows.shape[0];
  const PackedRows to = rows_of(packed, n, first + k);
  bool finite = true;
  run(rows.count, [&](int threads) {
    finite = pack_rows(to, first, rows.data, rows.dtype == Dtype::f64, rows.strides[0], k, threads);
  });
  return finite;
}

void unpack(std::int64_t n, const View& packed, const Output& out) {
  const std::int64_t k = out.ndim ? out.shape[0] : 0;
  const PackedRows rows = rows_of(packed, n, k);
  double* to = out.as<double>(k * n);
  run(out.count, [&](int) { unpack_rows(rows, k, to); });
}

void centre(std::int64_t n, std::int64_t count, const View& packed, const Output& high, const Output& low) {
  const PackedRows rows = rows_of(packed, n, count);
  double *to_high = high.as<double>(n), *to_low = low.as<double>(n);
  run(count * n, [&](int threads) { centre_rows(rows, count, to_high, to_low, threads); });
}

void square(std::int64_t n, std::int64_t count, const View& packed, const View& matrix) {
  const PackedRows rows = rows_of(packed, n, count);
  double* c = matrix.as<double>(n * n);
  // 64 multiply-adds are as much work as one element of a loss.
  run(count * n * n / 64, [&](int threads) { syrk(rows, count, c, threads); });
}

}  // namespace

void bind_syrk(py::module_& m) {
  m.attr("PANEL") = kPanel;
  define<pack>(m, "pack_rows", {"n", "first", "rows", "packed"},
               "Writes rows behind the `first` ones; whether all of them are finite.");
  define<unpack>(m, "unpack_rows", {"n", "packed", "out"}, "The first rows into `out` (k, n).");
  define<centre>(m, "centre_rows", {"n", "count", "packed", "high", "low"},
                 "Subtracts from the first rows their mean, high + low.");
  define<square>(m, "syrk", {"n", "count", "packed", "matrix"},
                 "Adds the squares of the first rows to the lower triangle of `matrix` (n, n).");
}

}  // namespace ganfast
