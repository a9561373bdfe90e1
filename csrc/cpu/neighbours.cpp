#include "neighbours.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

namespace ganfast {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kLook = 32;     // products that are compared before one is looked at
constexpr std::int64_t kTogether = 16;  // columns that are transposed: a line of the cache

// Relative to |a|^2 + |b|^2. An inner product in float32 is off by at most n units of |a| |b|, in any order of
// summation, and so are the squares; centring adds 4 units, roots, sums and the comparison in float32 the others.
double bound(std::int64_t length) { return static_cast<double>(2 * length + 48) * 0x1p-24; }
constexpr double kNormal = 1e-290;
constexpr double kTiny = 1e-30;  // what underflow may have lost

// Eight sums, of which number i % 8 has the square of the difference i.
template <class Real>
void add_squares(const Real* a, const Real* b, std::int64_t n, double* sums) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (std::int64_t lane = 0; lane < 8; ++lane) {
      const double difference = static_cast<double>(a[i + lane]) - static_cast<double>(b[i + lane]);
      sums[lane] += difference * difference;
    }
  for (; i < n; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sums[i % 8] += difference * difference;
  }
}

// The squared distance of row i of x from row j of y; the same number for (y, j) and (x, i), and for rows of half
// precision and their copies in single.
double exact(const Points& x, std::int64_t i, const Points& y, std::int64_t j) {
  const std::int64_t n = x.length;
  const void *a = at(x.rows, x.dtype, i * n), *b = at(y.rows, y.dtype, j * n);
  double sums[8] = {};
  if (x.dtype == Dtype::f64) {
    add_squares(static_cast<const double*>(a), static_cast<const double*>(b), n, sums);
  } else if (x.dtype == Dtype::f32) {
    add_squares(static_cast<const float*>(a), static_cast<const float*>(b), n, sums);
  } else {
    const Isa& isa = *current_isa();
    alignas(64) float a_buffer[kBlock], b_buffer[kBlock];
    for (std::int64_t first = 0; first < n; first += kBlock) {
      const std::int64_t part = std::min(kBlock, n - first);
      add_squares(read<float>(isa, at(a, x.dtype, first), x.dtype, part, a_buffer),
                  read<float>(isa, at(b, y.dtype, first), y.dtype, part, b_buffer), part, sums);
    }
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

struct Interval {
  double low, high;
};

inline Interval interval(double square_a, double square_b, double product, double bound) {
  const double middle = square_a + square_b - 2 * product;
  const double error = bound * (square_a + square_b) + kTiny;
  return {middle - error, middle + error};
}

// The squares of some rows, less what the bound takes.
std::vector<float> lowered(const float* squares, std::int64_t count, double bound) {
  std::vector<float> out(static_cast<std::size_t>(count));
  for (std::int64_t j = 0; j < count; ++j) out[j] = static_cast<float>((1 - bound) * squares[j]);
  return out;
}

// ---- the k nearest ------------------------------------------------------------------------------------------

// One row of the candidates.
class Row {
 public:
  Row(const Points& x, std::int64_t row, double scale, const Candidates& all)
      : x_(x), row_(row), scale_(scale), k_(all.k), capacity_(all.capacity), low_(all.low + row * all.capacity),
        high_(all.high + row * all.capacity), index_(all.index + row * all.capacity), filled_(all.filled[row]),
        limit_(all.limit[row]) {}

  // Looks at `count` rows from `first` on: their products with this one, their squares, and these lowered.
  void look(const float* products, const float* squares, const float* lowered, std::int64_t first,
            std::int64_t count) {
    const double square = x_.squares[row_], relative = bound(x_.length);
    for (std::int64_t start = 0; start < count && limit_ >= 0; start += kLook) {
      const std::int64_t end = std::min(start + kLook, count);
      const auto cut = static_cast<float>((1 - relative) * square - kTiny - limit_);
      int any = 0;
      for (std::int64_t j = start; j < end; ++j) any |= 2 * products[j] - lowered[j] >= cut;
      if (!any) continue;
      for (std::int64_t j = start; j < end; ++j) {
        const Interval found = interval(square, squares[j], products[j], relative);
        if (found.low > limit_ || first + j == row_) continue;
        if (filled_ == capacity_) compact();
        low_[filled_] = found.low, high_[filled_] = found.high, index_[filled_] = first + j;
        ++filled_;
      }
    }
  }

  bool take(double* out) {
    if (filled_ < k_) return false;
    drop();
    refine();
    for (std::int64_t i = 0; i < k_; ++i)  // a power of two changes no digit, but for underflow
      out[i] = low_[i] > kNormal ? low_[i] / scale_ / scale_ : exact(x_, row_, x_, index_[i]);
    std::sort(out, out + k_);
    return as_promised_;
  }

  bool as_promised() const { return as_promised_; }

 private:
  // Makes room.
  void compact() {
    drop();
    if (filled_ > capacity_ - capacity_ / 4) refine();
  }

  // Leaves out what is farther than k others for certain.
  void drop() {
    std::vector<double> highs(high_, high_ + filled_);
    std::nth_element(highs.begin(), highs.begin() + (k_ - 1), highs.end());
    limit_ = highs[k_ - 1];
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < filled_; ++i) {
      if (low_[i] > limit_) continue;
      low_[kept] = low_[i], high_[kept] = high_[i], index_[kept] = index_[i];
      ++kept;
    }
    filled_ = kept;
  }

  // Leaves the k nearest, their distances exact; of those that are equally far, any.
  void refine() {
    std::vector<std::pair<double, std::int64_t>> found;
    for (std::int64_t i = 0; i < filled_; ++i) {
      const double distance = low_[i] == high_[i] ? low_[i] : exact(x_, row_, x_, index_[i]) * scale_ * scale_;
      as_promised_ = as_promised_ && low_[i] <= distance && distance <= high_[i];
      found.emplace_back(distance, index_[i]);
    }
    std::nth_element(found.begin(), found.begin() + (k_ - 1), found.end());
    limit_ = found[k_ - 1].first;
    if (limit_ == 0) limit_ = -1;  // k duplicates: nothing is nearer
    for (filled_ = 0; filled_ < k_; ++filled_)
      low_[filled_] = high_[filled_] = found[filled_].first, index_[filled_] = found[filled_].second;
  }

  const Points& x_;
  const std::int64_t row_;
  const double scale_;
  const std::int64_t k_, capacity_;
  double *low_, *high_;
  std::int64_t *index_, &filled_;
  double& limit_;
  bool as_promised_ = true;
};

}  // namespace

bool add_tile(const Points& x, const GramTile& tile, const Candidates& candidates, int threads) {
  const double relative = bound(x.length);
  std::atomic<bool> as_promised{true};
  const float *row_squares = x.squares + tile.row, *column_squares = x.squares + tile.column;
  const std::vector<float> row_lowered = lowered(row_squares, tile.rows, relative);
  const std::vector<float> column_lowered = lowered(column_squares, tile.columns, relative);
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    Row row(x, tile.row + i, tile.scale, candidates);
    row.look(tile.products + i * tile.columns, column_squares, column_lowered.data(), tile.column, tile.columns);
    if (!row.as_promised()) as_promised = false;
  }
  if (tile.row == tile.column) return as_promised;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t start = 0; start < tile.columns; start += kTogether) {
    const std::int64_t width = std::min(kTogether, tile.columns - start);
    std::vector<float> turned(static_cast<std::size_t>(width * tile.rows));
    for (std::int64_t i = 0; i < tile.rows; ++i)
      for (std::int64_t j = 0; j < width; ++j)
        turned[j * tile.rows + i] = tile.products[i * tile.columns + start + j];
    for (std::int64_t j = 0; j < width; ++j) {
      Row row(x, tile.column + start + j, tile.scale, candidates);
      row.look(turned.data() + j * tile.rows, row_squares, row_lowered.data(), tile.row, tile.rows);
      if (!row.as_promised()) as_promised = false;
    }
  }
  return as_promised;
}

bool take_nearest(const Points& x, double scale, const Candidates& candidates, double* out, int threads) {
  std::atomic<bool> as_promised{true};
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (std::int64_t i = 0; i < x.count; ++i)
    if (!Row(x, i, scale, candidates).take(out + i * candidates.k)) as_promised = false;
  return as_promised;
}

// ---- balls --------------------------------------------------------------------------------------------------

namespace {

// The largest scaled limit of row i; none is inside where there are no balls.
double farthest(const Balls& balls, std::int64_t count, std::int64_t i, double unit) {
  double found = -kInfinity;
  for (std::int64_t kind = 0; kind < balls.kinds; ++kind)
    found = std::max(found, balls.limits[kind * count + i] * unit);
  return found;
}

}  // namespace

bool count_tile(const Points& x, const Points& y, const GramTile& tile, const Balls& around_x, const Balls& around_y,
                int threads) {
  const double relative = bound(x.length), unit = tile.scale * tile.scale;
  std::atomic<bool> as_promised{true};
  const std::vector<float> column_lowered = lowered(y.squares + tile.column, tile.columns, relative);
  std::vector<float> reach(static_cast<std::size_t>(tile.columns));
  for (std::int64_t j = 0; j < tile.columns; ++j)
    reach[j] = static_cast<float>(farthest(around_y, y.count, tile.column + j, unit));
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const std::int64_t i = tile.row + r;
    const float* products = tile.products + r * tile.columns;
    const double square = x.squares[i];
    const auto own = static_cast<float>(farthest(around_x, x.count, i, unit));
    const auto cut = static_cast<float>((1 - relative) * square - kTiny);
    for (std::int64_t start = 0; start < tile.columns; start += kLook) {
      const std::int64_t end = std::min(start + kLook, tile.columns);
      int any = 0;
      for (std::int64_t c = start; c < end; ++c)
        any |= 2 * products[c] - column_lowered[c] + (reach[c] > own ? reach[c] : own) >= cut;
      if (!any) continue;
      for (std::int64_t c = start; c < end; ++c) {
        const std::int64_t j = tile.column + c;
        const Interval found = interval(square, y.squares[j], products[c], relative);
        double distance = -1;  // not known yet
        const auto inside = [&](double limit) {
          if (found.low > limit * unit) return false;
          if (distance < 0 && found.high <= limit * unit) return true;
          if (distance < 0) {
            distance = exact(x, i, y, j);
            if (!(found.low <= distance * unit && distance * unit <= found.high)) as_promised = false;
          }
          return distance <= limit;
        };
        for (std::int64_t kind = 0; kind < around_x.kinds; ++kind)
          if (inside(around_x.limits[kind * x.count + i])) {
            ++around_x.holds[kind * x.count + i];
            std::int64_t& of_y = around_x.inside[kind * y.count + j];
#pragma omp atomic
            ++of_y;
          }
        for (std::int64_t kind = 0; kind < around_y.kinds; ++kind)
          if (inside(around_y.limits[kind * y.count + j])) {
            ++around_y.inside[kind * x.count + i];
            std::int64_t& of_y = around_y.holds[kind * y.count + j];
#pragma omp atomic
            ++of_y;
          }
      }
    }
  }
  return as_promised;
}

}  // namespace ganfast
