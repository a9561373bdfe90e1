#include "pivoted_cholesky.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "leaf.h"

namespace ganfast {
namespace {

// Where the next pivot is, and the least of what is left beside it.
struct Extremes {
  std::int64_t at;
  double largest;
  double least;
};

Extremes extremes(const std::vector<double>& diagonal, const std::vector<char>& taken) {
  Extremes found{-1, -std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  for (std::size_t i = 0; i < diagonal.size(); ++i) {
    if (taken[i]) continue;
    if (diagonal[i] > found.largest) {
      found.largest = diagonal[i];
      found.at = static_cast<std::int64_t>(i);
    }
    found.least = std::min(found.least, diagonal[i]);
  }
  return found;
}

// Moves what stands in the first places but is no pivot to the places that pivots leave, in every row that stays,
// in the panel and in the order. Pivots' own rows of `rest` are not needed any more.
void close_ranks(const PivotedPanel& p, const std::vector<std::int64_t>& pivots, const std::vector<char>& taken) {
  const auto done = static_cast<std::int64_t>(pivots.size());
  const std::int64_t left = p.n - p.start;
  std::vector<std::int64_t> from, to;
  for (std::int64_t i = 0; i < done; ++i)
    if (!taken[i]) from.push_back(p.start + i);
  for (std::int64_t i = done; i < left; ++i)
    if (taken[i]) to.push_back(p.start + i);

  const std::size_t moves = from.size();
  const auto row_of = [&](std::int64_t i) { return p.rest + i * p.n; };
  for (std::int64_t i = p.start; i < p.n; ++i) {
    if (taken[i - p.start]) continue;
    double* row = row_of(i);
    for (std::size_t k = 0; k < moves; ++k) row[to[k]] = row[from[k]];
  }
  for (std::size_t k = 0; k < moves; ++k)
    std::copy(row_of(from[k]) + p.start, row_of(from[k]) + p.n, row_of(to[k]) + p.start);
  for (std::int64_t j = 0; j < done; ++j)
    for (std::size_t k = 0; k < moves; ++k) p.panel[j * p.n + to[k]] = p.panel[j * p.n + from[k]];

  std::vector<std::int64_t> taken_rows;
  for (const std::int64_t pivot : pivots) taken_rows.push_back(p.order[p.start + pivot]);
  for (std::size_t k = 0; k < moves; ++k) p.order[to[k]] = p.order[from[k]];
  std::copy(taken_rows.begin(), taken_rows.end(), p.order + p.start);
}

}  // namespace

std::int64_t pivoted_panel(const PivotedPanel& p) {
  const std::int64_t left = p.n - p.start;
  std::vector<double> diagonal(left);
  for (std::int64_t i = 0; i < left; ++i) diagonal[i] = p.rest[(p.start + i) * (p.n + 1)];
  std::vector<char> taken(left, 0);
  std::vector<std::int64_t> pivots;
  std::vector<double> weights(p.width);
  const auto residual = current_isa()->residual;

  for (std::int64_t j = 0; j < std::min(p.width, left); ++j) {
    const Extremes found = extremes(diagonal, taken);
    if (!(found.largest > p.cut) && (!(found.largest > p.floor) || found.least <= 0 || left - j < p.many)) break;
    const std::int64_t pivot = found.at;
    for (std::int64_t k = 0; k < j; ++k) weights[k] = p.panel[k * p.n + p.start + pivot];
    double* column = p.panel + j * p.n + p.start;
    residual(p.rest + (p.start + pivot) * p.n + p.start, p.panel + p.start, p.n, weights.data(), j,
             1 / std::sqrt(found.largest), column, left);
    for (const std::int64_t earlier : pivots) column[earlier] = 0;
    for (std::int64_t i = 0; i < left; ++i) diagonal[i] -= column[i] * column[i];
    taken[pivot] = 1;
    pivots.push_back(pivot);
    double* by_row = p.factor + (p.start + j) * p.n;
    for (std::int64_t i = 0; i < left; ++i) by_row[p.order[p.start + i]] = column[i];
  }
  close_ranks(p, pivots, taken);
  return static_cast<std::int64_t>(pivots.size());
}

}  // namespace ganfast
