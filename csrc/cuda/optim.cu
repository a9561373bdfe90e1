// Clipping and the steps of RMSprop and Adam over many tensors, each in one launch. A block works on one chunk
// of one tensor; a table in device memory says where the tensors are. Nothing is asked of the host: counters, a
// GradScaler's scale, what it found and a learning rate that is a tensor are read here.
//
// They do nothing but move memory: the bytes are those in optim_math.h.
#include "half_bits.h"
#include "optim_math.h"

namespace {

constexpr int kThreads = 256, kAtOnce = 4, kChunk = 4096;

// A row of the table for each of these, a column for each tensor.
enum Row { kFirstChunk, kCount, kDtype, kSteps, kStepAt, kParam, kGrad, kState, kRows = kState + 3 };

// The codes of the dtypes in csrc/cpu/losses.h: what is in memory, and what it is computed in.
struct Single {
  using Real = float;
  using Word = float;
  static __device__ Real load(Word x) { return x; }
  static __device__ Word store(Real x) { return x; }
};
struct Double {
  using Real = double;
  using Word = double;
  static __device__ Real load(Word x) { return x; }
  static __device__ Word store(Real x) { return x; }
};
struct Half {
  using Real = float;
  using Word = unsigned short;
  static __device__ Real load(Word x) { return half_bits::half_to_float(x); }
  static __device__ Word store(Real x) { return half_bits::float_to_half(x); }
};
struct Bfloat {
  using Real = float;
  using Word = unsigned short;
  static __device__ Real load(Word x) { return half_bits::bfloat_to_float(x); }
  static __device__ Word store(Real x) { return half_bits::float_to_bfloat(x); }
};

// One chunk of one tensor: its column of the table, and the elements [first, last).
struct Chunk {
  const long long* table;
  int tensors, tensor;
  long long first, last;

  __device__ long long at(int row) const { return table[static_cast<long long>(row) * tensors + tensor]; }
  template <class Word>
  __device__ Word* array(int row) const {
    return reinterpret_cast<Word*>(at(row));
  }
};

// The chunk of this block: the last tensor whose first chunk is not behind it, by bisection.
__device__ Chunk chunk_of(const long long* table, int tensors) {
  int low = 0, high = tensors - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table[middle] <= static_cast<long long>(blockIdx.x))
      low = middle;
    else
      high = middle - 1;
  }
  Chunk chunk{table, tensors, low, 0, 0};
  chunk.first = (static_cast<long long>(blockIdx.x) - chunk.at(kFirstChunk)) * kChunk;
  chunk.last = min(chunk.first + kChunk, chunk.at(kCount));
  return chunk;
}

// Calls body(Format{}) for the format of the chunk's tensor.
template <class Body>
__device__ void with_format(const Chunk& chunk, Body body) {
  switch (chunk.at(kDtype)) {
    case 0: return body(Single{});
    case 1: return body(Double{});
    case 2: return body(Half{});
    default: return body(Bfloat{});
  }
}

// The bound as the format rounds it.
template <class Format>
__device__ double bound_in(double bound) {
  using Real = typename Format::Real;
  return static_cast<double>(Format::load(Format::store(static_cast<Real>(bound))));
}

// Calls update(p, g, states) for each element of the chunk; what kWritten names is stored, the gradient only if
// the scaler wants it unscaled. All loads of kAtOnce elements are on their way before the first is used.
template <class Format, int kStates, class Update>
__device__ void each_weight(const Chunk& chunk, double unscale, Update update) {
  using Real = typename Format::Real;
  using Word = typename Format::Word;
  Word* const params = chunk.array<Word>(kParam);
  Word* const grads = chunk.array<Word>(kGrad);
  Word* states[3];
  for (int s = 0; s < kStates; ++s) states[s] = chunk.array<Word>(kState + s);
  for (long long base = chunk.first + threadIdx.x; base < chunk.last; base += kAtOnce * kThreads) {
    Real p[kAtOnce], g[kAtOnce], x[kAtOnce][3];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const long long i = base + k * kThreads;
      if (i >= chunk.last) continue;
      p[k] = Format::load(params[i]);
      g[k] = Format::load(grads[i]);
      for (int s = 0; s < kStates; ++s)
        if (states[s]) x[k][s] = Format::load(states[s][i]);
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const long long i = base + k * kThreads;
      if (i >= chunk.last) continue;
      if (unscale != 1) {
        g[k] *= static_cast<Real>(unscale);
        grads[i] = Format::store(g[k]);
      }
      update(p[k], g[k], x[k]);
      params[i] = Format::store(p[k]);
      for (int s = 0; s < kStates; ++s)
        if (states[s]) states[s][i] = Format::store(x[k][s]);
    }
  }
}

// The step's number: from the counter on the device, which counts this step already, or from the table.
__device__ double steps_of(const Chunk& chunk) {
  const float* counter = chunk.array<const float>(kStepAt);
  return counter ? static_cast<double>(*counter) : static_cast<double>(chunk.at(kSteps));
}

__device__ double unscale_by(const float* grad_scale) { return grad_scale ? 1.0 / *grad_scale : 1.0; }

__device__ optim::Common common(double lr, const float* lr_at, double eps, double weight_decay, double bound,
                                int maximize) {
  return {lr_at ? static_cast<double>(*lr_at) : lr, eps, weight_decay, bound, maximize ? -1.0 : 1.0};
}

}  // namespace

// at_bound, if there is one, is increased by the number of weights that are then at the bound.
extern "C" __global__ void __launch_bounds__(256) clip_weights(const long long* table, int tensors, double bound,
                                                               unsigned long long* at_bound) {
  const Chunk chunk = chunk_of(table, tensors);
  with_format(chunk, [&](auto format) {
    using Format = decltype(format);
    using Real = typename Format::Real;
    typename Format::Word* const params = chunk.template array<typename Format::Word>(kParam);
    const Real limit = static_cast<Real>(bound_in<Format>(bound));
    int mine = 0;
    for (long long i = chunk.first + threadIdx.x; i < chunk.last; i += kThreads) {
      const Real p = optim::clip<optim::ScalarArithmetic<Real>>(limit, Format::load(params[i]));
      params[i] = Format::store(p);
      mine += p == limit || p == -limit;
    }
    // Whole numbers: the sum does not depend on the order.
    if (at_bound && mine) atomicAdd(at_bound, static_cast<unsigned long long>(mine));
  });
}

extern "C" __global__ void __launch_bounds__(256)
    rmsprop_step(const long long* table, int tensors, double lr, const float* lr_at, double eps, double weight_decay,
                 double bound, int maximize, const float* grad_scale, const float* found_inf, double alpha,
                 double momentum) {
  if (found_inf && *found_inf != 0) return;
  const Chunk chunk = chunk_of(table, tensors);
  optim::Rmsprop options{common(lr, lr_at, eps, weight_decay, bound, maximize), alpha, momentum};
  const bool centered = chunk.at(kState + 1) != 0, moving = chunk.at(kState + 2) != 0;
  with_format(chunk, [&](auto format) {
    using Format = decltype(format);
    using A = optim::ScalarArithmetic<typename Format::Real>;
    optim::Rmsprop o = options;
    o.common.bound = bound_in<Format>(bound);
    each_weight<Format, 3>(chunk, unscale_by(grad_scale), [&](auto& p, auto g, auto* x) {
      if (centered && moving)
        optim::rmsprop<A, true, true>(o, p, g, x[0], x[1], x[2]);
      else if (centered)
        optim::rmsprop<A, true, false>(o, p, g, x[0], x[1], x[2]);
      else if (moving)
        optim::rmsprop<A, false, true>(o, p, g, x[0], x[1], x[2]);
      else
        optim::rmsprop<A, false, false>(o, p, g, x[0], x[1], x[2]);
    });
  });
}

extern "C" __global__ void __launch_bounds__(256)
    adam_step(const long long* table, int tensors, double lr, const float* lr_at, double eps, double weight_decay,
              double bound, int maximize, const float* grad_scale, const float* found_inf, double beta1,
              double beta2, int decoupled) {
  if (found_inf && *found_inf != 0) return;
  __shared__ double corrections[2];
  const Chunk chunk = chunk_of(table, tensors);
  if (threadIdx.x < 2) corrections[threadIdx.x] = 1 - pow(threadIdx.x ? beta2 : beta1, steps_of(chunk));
  __syncthreads();
  optim::Adam options{common(lr, lr_at, eps, weight_decay, bound, maximize), beta1, beta2, corrections[0],
                      corrections[1], decoupled != 0};
  const bool amsgrad = chunk.at(kState + 2) != 0;
  with_format(chunk, [&](auto format) {
    using Format = decltype(format);
    using A = optim::ScalarArithmetic<typename Format::Real>;
    optim::Adam o = options;
    o.common.bound = bound_in<Format>(bound);
    each_weight<Format, 3>(chunk, unscale_by(grad_scale), [&](auto& p, auto g, auto* x) {
      if (amsgrad)
        optim::adam<A, true>(o, p, g, x[0], x[1], x[2]);
      else
        optim::adam<A, false>(o, p, g, x[0], x[1], x[2]);
    });
  });
}
