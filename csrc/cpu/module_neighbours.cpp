// Nearest neighbours and balls for Python; see ganfast/backends/cpu/neighbours.py.
#include "args.h"
#include "neighbours.h"

namespace ganfast {
namespace {

using PointViews = std::pair<View, View>;  // rows and squares

Points points_of(const PointViews& views) {
  const auto& [rows, squares] = views;
  rows.need(rows.ndim == 2 && rows.contiguous(), "is not contiguous rows");
  rows.need(rows.dtype == Dtype::f32 || rows.dtype == Dtype::f64 || rows.dtype == Dtype::f16,
            "has another dtype than the kernel");
  return {rows.data, rows.dtype, rows.shape[0], rows.shape[1], squares.as<float>(rows.shape[0])};
}

GramTile tile_of(const View& products, std::int64_t row, std::int64_t column, double scale, const Points& x,
                 const Points& y) {
  products.need(products.ndim == 2, "is not a matrix");
  const GramTile tile{products.as<float>(), row, products.shape[0], column, products.shape[1], scale};
  products.need(row >= 0 && column >= 0 && row + tile.rows <= x.count && column + tile.columns <= y.count,
                "reaches beyond the rows");
  return tile;
}

Candidates candidates_of(std::int64_t k, const View& intervals, const View& index, const View& filled,
                         const View& limit, const Points& x) {
  intervals.need(intervals.ndim == 3 && intervals.shape[0] == 2, "is not (2, n, capacity)");
  const std::int64_t capacity = intervals.shape[2], all = x.count * capacity;
  intervals.need(k > 0 && capacity > k, "has no room for k candidates");
  double* bounds = intervals.as<double>(2 * all);
  return {k,  capacity, bounds, bounds + all, index.as<std::int64_t>(all), filled.as<std::int64_t>(x.count),
          limit.as<double>(x.count)};
}

bool add(const PointViews& x, const View& products, std::int64_t row, std::int64_t column, double scale,
         std::int64_t k, const View& intervals, const View& index, const View& filled, const View& limit) {
  const Points points = points_of(x);
  const GramTile tile = tile_of(products, row, column, scale, points, points);
  const Candidates candidates = candidates_of(k, intervals, index, filled, limit, points);
  bool as_promised = true;
  run(products.count, [&](int threads) { as_promised = add_tile(points, tile, candidates, threads); });
  return as_promised;
}

bool take(const PointViews& x, double scale, std::int64_t k, const View& intervals, const View& index,
          const View& filled, const View& limit, const Output& out) {
  const Points points = points_of(x);
  const Candidates candidates = candidates_of(k, intervals, index, filled, limit, points);
  double* to = out.as<double>(points.count * k);
  bool as_promised = true;
  run(points.count * k * points.length,
      [&](int threads) { as_promised = take_nearest(points, scale, candidates, to, threads); });
  return as_promised;
}

using BallViews = std::pair<View, std::pair<View, View>>;  // limits; holds and inside

Balls balls_of(const BallViews& views, const Points& of, const Points& other) {
  const View& limits = views.first;
  limits.need(limits.ndim == 2 && limits.shape[1] == of.count, "is not (kinds, rows)");
  const std::int64_t kinds = limits.shape[0];
  return {kinds, limits.as<double>(), views.second.first.as<std::int64_t>(kinds * of.count),
          views.second.second.as<std::int64_t>(kinds * other.count)};
}

bool count(const PointViews& x, const PointViews& y, const View& products, std::int64_t row, std::int64_t column,
           double scale, const BallViews& around_x, const BallViews& around_y) {
  const Points rows = points_of(x), columns = points_of(y);
  y.first.need(rows.dtype == columns.dtype && rows.length == columns.length, "has other rows than x");
  const GramTile tile = tile_of(products, row, column, scale, rows, columns);
  const Balls of_x = balls_of(around_x, rows, columns), of_y = balls_of(around_y, columns, rows);
  bool as_promised = true;
  run(products.count, [&](int threads) { as_promised = count_tile(rows, columns, tile, of_x, of_y, threads); });
  return as_promised;
}

}  // namespace

void bind_neighbours(py::module_& m) {
  define<add>(m, "nearest_add",
              {"x", "products", "row", "column", "scale", "k", "intervals", "index", "filled", "limit"},
              "Candidates for the k nearest from a tile of products; False if a product is off by too much.");
  define<take>(m, "nearest_take", {"x", "scale", "k", "intervals", "index", "filled", "limit", "out"},
               "The squared distances from the k nearest into `out` (n, k); False as above.");
  define<count>(m, "ball_count", {"x", "y", "products", "row", "column", "scale", "around_x", "around_y"},
                "Adds what a tile of products has in the balls around either side; False as above.");
}

}  // namespace ganfast
