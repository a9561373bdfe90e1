// Small symmetric positive semi-definite matrices in shared memory: A = L L^T by Cholesky with complete
// pivoting, then one-sided Jacobi on the columns of a factor. batch_linalg.cu says why.
//
// Everything is float64. A matrix is stored by columns of `ld` numbers, ld >= n with ld = Lanes modulo 16:
// the lanes of neighbouring pairs then read from different banks.
#pragma once

namespace jacobi {

constexpr double kEps = 2.220446049250313e-16;
constexpr int kElements = 16;  // of a column that one lane holds in registers
constexpr int kSweeps = 40;    // 7 to 10 are usual, 20 for a trace of spectra over 16 decades
constexpr int kMany = 16;      // diagonal entries whose signs tell signal from round-off
constexpr unsigned kAll = 0xffffffffu;

// The threads that share one matrix: a round rotates n / 2 pairs of columns, with `Lanes` threads for each.
// For 2 lanes (n <= 32) that is a warp, and a block holds several; for 4 and 8 it is the block.
template <int Lanes>
struct Group {
  static constexpr int kMaximum = kElements * Lanes;  // n
  static constexpr int kThreads = Lanes * kMaximum / 2;
  static constexpr bool kWarp = kThreads == 32;

  __device__ static int rank() { return threadIdx.x % kThreads; }
  __device__ static int number() { return threadIdx.x / kThreads; }  // which group of its block

  __device__ static void sync() {
    if (kWarp) __syncwarp();
    else __syncthreads();
  }

  __device__ static bool any(bool mine) {
    return kWarp ? __any_sync(kAll, mine) : __syncthreads_or(mine);
  }

  __device__ static int leading(int n) { return n + ((Lanes - n) % 16 + 16) % 16; }  // ld
};

struct Storage {
  double* at;    // n columns of ld numbers
  double* cell;  // two numbers that everyone sees: a pivot and its place
  int* order;    // order[i]: which row of A is row i
  int n, ld;

  __device__ double& operator()(int i, int j) const { return at[j * ld + i]; }
};

template <int Lanes>
__device__ Storage storage(double* shared, int n) {
  using G = Group<Lanes>;
  const int ld = G::leading(n);
  double* mine = shared + G::number() * (n * ld + 2 + (n + 1) / 2);
  return {mine, mine + n * ld, reinterpret_cast<int*>(mine + n * ld + 2), n, ld};
}

template <int Lanes, class T>
__device__ void load(const Storage& a, const T* from) {
  using G = Group<Lanes>;
  G::sync();  // whoever still reads the last matrix
  for (int k = G::rank(); k < a.n * a.n; k += G::kThreads) a(k % a.n, k / a.n) = from[k];
  for (int k = G::rank(); k < a.n; k += G::kThreads) a.order[k] = k;
  G::sync();
}

// The pivot for column k: cell[0] its value, 0 where the factorisation ends, and cell[1] its place.
// The rule is that of ganfast/linalg/factor.py: a pivot up to `cut` is round-off, unless it is more than
// `floor` and all that is left of the diagonal is positive, and so many entries that it is not by chance.
__device__ inline void find_pivot(const Storage& a, int k, double cut, double floor) {
  const int lane = threadIdx.x % 32;
  double top = -1, least = 1e308;
  int place = k;
  for (int i = k + lane; i < a.n; i += 32) {
    const double d = a(i, i);
    if (d > top) top = d, place = i;
    least = d < least ? d : least;
  }
  for (int by = 16; by; by /= 2) {
    const double other = __shfl_xor_sync(kAll, top, by), low = __shfl_xor_sync(kAll, least, by);
    const int there = __shfl_xor_sync(kAll, place, by);
    if (other > top || (other == top && there < place)) top = other, place = there;
    least = low < least ? low : least;
  }
  const bool real = top > cut || (top > floor && least > 0 && a.n - k >= kMany);
  if (lane == 0) a.cell[0] = real ? top : 0, a.cell[1] = place;
}

// A := L with L L^T = A[order][:, order]; the rank, or -1 where what is left of A is not round-off of a
// semi-definite matrix (float32 noise, an indefinite matrix, NaN): eigenvalues have to decide there. `top` is
// the largest pivot.
template <int Lanes>
__device__ int factorise(const Storage& a, double& top) {
  using G = Group<Lanes>;
  const int n = a.n, me = G::rank();
  double cut = 0, floor = 0;
  top = 0;
  int rank = 0;
  for (; rank < n; ++rank) {
    const int k = rank;
    if (me < 32) find_pivot(a, k, cut, floor);
    G::sync();
    const double pivot = a.cell[0];
    const int p = static_cast<int>(a.cell[1]);
    if (k == 0) top = pivot, cut = n * kEps * pivot, floor = 4 * kEps * pivot;
    if (!(pivot > 0)) break;
    if (p != k) {
      for (int i = k + me; i < n; i += G::kThreads) {
        const double x = a(i, k);
        a(i, k) = a(i, p), a(i, p) = x;
      }
      G::sync();
      for (int j = me; j < n; j += G::kThreads) {
        const double x = a(k, j);
        a(k, j) = a(p, j), a(p, j) = x;
      }
      if (me == 0) {
        const int x = a.order[k];
        a.order[k] = a.order[p], a.order[p] = x;
      }
      G::sync();
    }
    const double scale = 1 / sqrt(pivot);
    for (int i = k + me; i < n; i += G::kThreads) a(i, k) *= scale;
    G::sync();
    const int left = n - k - 1;
    for (int c = me; c < left * left; c += G::kThreads) {
      const int i = k + 1 + c % left, j = k + 1 + c / left;
      a(i, j) -= a(i, k) * a(j, k);
    }
    G::sync();
  }
  bool wrong = false;
  for (int c = me; c < n * n; c += G::kThreads) {
    const int i = c % n, j = c / n;
    if (j >= rank) {
      wrong |= i >= rank && !(fabs(a(i, j)) <= 8 * cut);
      a(i, j) = 0;
    } else if (i < j) {
      a(i, j) = 0;
    }
  }
  wrong = G::any(wrong);
  G::sync();  // a vote alone does not order what a warp wrote
  return wrong ? -1 : rank;
}

// Which columns pair `t` of round `s` joins: a tournament of `players` (even), each pair once in a sweep. One
// player stays, the others go round; neighbouring pairs have neighbouring columns.
__device__ inline void opponents(int t, int s, int players, int& p, int& q) {
  const int circle = players - 1;
  p = t == 0 ? circle : (s + t) % circle;
  q = (s - t + circle) % circle;
}

// Rotates the columns of g until all are orthogonal, to |cosine| <= wanted; false if kSweeps did not do.
// A column of squared length up to 1e-34 `top` is round-off that has no direction: where there are more columns
// than dimensions, some must end so. (Sorting the columns by length on the way took a third more sweeps.)
template <int Lanes>
__device__ bool orthogonalise(const Storage& g, int rows, int columns, double wanted, double top) {
  using G = Group<Lanes>;
  const int players = columns + columns % 2;
  const int pair = G::rank() / Lanes, lane = G::rank() % Lanes;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    bool open = false;
    for (int round = 0; round < players - 1; ++round) {
      int p = columns, q = 0;
      if (pair < players / 2) opponents(pair, round, players, p, q);
      // With an odd number of columns, one rests.
      const int height = p < columns ? rows - lane : 0;
      double *const left = &g(lane, p < columns ? p : 0), *const right = &g(lane, q);
      double x[kElements], y[kElements], xx = 0, yy = 0, xy = 0;
#pragma unroll
      for (int e = 0; e < kElements; ++e) {
        const bool there = e * Lanes < height;
        x[e] = there ? left[e * Lanes] : 0;
        y[e] = there ? right[e * Lanes] : 0;
        xx += x[e] * x[e], yy += y[e] * y[e], xy += x[e] * y[e];
      }
      for (int by = Lanes / 2; by; by /= 2) {  // a sum that is bitwise the same in every lane
        xx += __shfl_xor_sync(kAll, xx, by);
        yy += __shfl_xor_sync(kAll, yy, by);
        xy += __shfl_xor_sync(kAll, xy, by);
      }
      const bool real = xx > 1e-34 * top && yy > 1e-34 * top;
      const bool rotate = real && fabs(xy) > wanted * sqrt(xx) * sqrt(yy);
      open |= rotate || xy != xy;
      if (rotate) {
        const double zeta = (yy - xx) / (2 * xy);
        const double t = (zeta < 0 ? -1 : 1) / (fabs(zeta) + sqrt(1 + zeta * zeta));
        const double c = rsqrt(1 + t * t), s = c * t;
#pragma unroll
        for (int e = 0; e < kElements; ++e) {
          if (e * Lanes >= height) break;
          left[e * Lanes] = c * x[e] - s * y[e];
          right[e * Lanes] = s * x[e] + c * y[e];
        }
      }
      G::sync();
    }
    if (!G::any(open)) return true;
  }
  return false;
}

__device__ inline double column_norm(const Storage& g, int rows, int j) {
  double sum = 0;
#pragma unroll 2
  for (int i = 0; i < rows; ++i) sum += g(i, j) * g(i, j);
  return sqrt(sum);
}

}  // namespace jacobi
