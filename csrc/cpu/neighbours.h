// Nearest neighbours and balls, from tiles of a product: what the product leaves open is computed exactly.
//
// For rows a and b, centred and scaled to at most 1, |a - b|^2 = |a|^2 + |b|^2 - 2 a.b. In float32 that has an
// error, but one with a bound that holds whatever the order in which the product was summed. A pair that this
// interval does not decide (few do: the k nearest, and what lies at the rim of a ball) has the sum of its squared
// differences taken in float64. The result is that of float64 throughout, whatever made the product.
#pragma once

#include <cstdint>

#include "elements.h"

namespace ganfast {

// Rows of numbers, and what their products say of them.
struct Points {
  const void* rows;  // (count, length)
  Dtype dtype;       // f32, f64 or f16
  std::int64_t count;
  std::int64_t length;
  const float* squares;  // |row - centre|^2 scale^2
};

// Products of centred, scaled rows: of `rows` from `row` on with `columns` from `column` on.
struct GramTile {
  const float* products;  // (rows, columns)
  std::int64_t row, rows;
  std::int64_t column, columns;
  double scale;  // a power of two
};

// For each row up to `capacity` others that may be among its k nearest: bounds on the scaled squared distance.
struct Candidates {
  std::int64_t k;
  std::int64_t capacity;    // more than k
  double* low;              // (count, capacity)
  double* high;             // (count, capacity)
  std::int64_t* index;      // (count, capacity)
  std::int64_t* filled;     // (count)
  double* limit;            // (count): no neighbour is farther
};

// Takes in a tile of x with itself: its rows, and unless it is on the diagonal its columns too. Each of these and
// of the functions below returns false if a product was off by more than float32 can be.
bool add_tile(const Points& x, const GramTile& tile, const Candidates& candidates, int threads);

// out (count, k): the squared distances from the k nearest, ascending.
bool take_nearest(const Points& x, double scale, const Candidates& candidates, double* out, int threads);

// Balls around the rows of one side: `kinds` squared radii for each.
struct Balls {
  std::int64_t kinds;
  const double* limits;   // (kinds, count)
  std::int64_t* holds;    // (kinds, count): rows of the other side in the ball
  std::int64_t* inside;   // (kinds, count of the other side): balls that hold the row
};

// Adds what a tile of x with y has in balls around either.
bool count_tile(const Points& x, const Points& y, const GramTile& tile, const Balls& around_x, const Balls& around_y,
                int threads);

}  // namespace ganfast
