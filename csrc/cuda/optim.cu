// Clipping and the steps of RMSprop and Adam over many tensors, each in one launch. A block works on one chunk
// of one tensor; a table in device memory says where the tensors are. Nothing is asked of the host: counters, a
// GradScaler's scale, what it found and a learning rate that is a tensor are read here.
//
// They do nothing but move memory: the bytes are those in optim_math.h. So a thread moves 16 bytes at a time,
// and there is a kernel for each dtype and each set of arrays, which needs no more registers than that
// takes: with some 40 of them a processor holds 48 warps of 64. Everything that is the same for all weights
// of a tensor is worked out in double by one thread of the block; float64 takes a consumer's GPU 64 times as long.
#include "half_bits.h"
#include "optim_math.h"

namespace {

constexpr int kThreads = 256, kChunk = 4096, kWarp = 32;

// A row of the table for each of these, a column for each tensor.
enum Row { kFirstChunk, kCount, kDtype, kSteps, kStepAt, kParam, kGrad, kState, kRows = kState + 3 };

// What the arrays of a tensor are called in the masks of each_weight, and their order there.
enum Array { kP, kG, kX, kArrays = kX + 3 };
__device__ constexpr unsigned bit(int array) { return 1u << array; }

// The codes of the dtypes in csrc/cpu/losses.h: what is in memory, what it is computed in, and how much of it a
// thread moves at a time.
struct Single {
  using Real = float;
  using Word = float;
  static constexpr int kBytes = 16;
  static __device__ Real load(Word x) { return x; }
  static __device__ Word store(Real x) { return x; }
};
struct Double {
  using Real = double;
  using Word = double;
  static constexpr int kBytes = 16;
  static __device__ Real load(Word x) { return x; }
  static __device__ Word store(Real x) { return x; }
};
struct Half {
  using Real = float;
  using Word = unsigned short;
  static constexpr int kBytes = 16;
  static __device__ Real load(Word x) { return half_bits::half_to_float(x); }
  static __device__ Word store(Real x) { return half_bits::float_to_half(x); }
};
struct Bfloat {
  using Real = float;
  using Word = unsigned short;
  static constexpr int kBytes = 16;
  static __device__ Real load(Word x) { return half_bits::bfloat_to_float(x); }
  static __device__ Word store(Real x) { return half_bits::float_to_bfloat(x); }
};
template <class Format>
struct Narrow : Format {
  static constexpr int kBytes = 8;
};
struct Mixed {};  // tensors of several dtypes in one launch: the table says which

// One chunk of one tensor: its column of the table, and where it begins and how long it is.
struct Chunk {
  const long long* table;
  int tensors, tensor;
  long long first;
  int count;

  __device__ long long at(int row) const { return table[static_cast<long long>(row) * tensors + tensor]; }
  template <class Word>
  __device__ Word* array(int row) const {
    return reinterpret_cast<Word*>(at(row));
  }
};

// The chunk of this block: the last tensor whose first chunk is not behind it. A warp looks at 32 of them at once.
__device__ Chunk chunk_of(const long long* table, int tensors) {
  const int lane = threadIdx.x % kWarp;
  int low = 0, high = tensors;
  while (high - low > 1) {
    const int step = (high - low + kWarp - 1) / kWarp, mine = low + lane * step;
    const bool reached = mine < high && table[mine] <= static_cast<long long>(blockIdx.x);
    low += (__popc(__ballot_sync(0xffffffffu, reached)) - 1) * step;
    high = min(low + step, high);
  }
  Chunk chunk{table, tensors, low, 0, 0};
  chunk.first = (static_cast<long long>(blockIdx.x) - chunk.at(kFirstChunk)) * kChunk;
  chunk.count = static_cast<int>(min(static_cast<long long>(kChunk), chunk.at(kCount) - chunk.first));
  return chunk;
}

// Calls body(Format{}) for the format of the chunk's tensor.
template <class Format, class Body>
__device__ void with_format(Format format, const Chunk&, Body body) {
  body(format);
}
template <class Body>
__device__ void with_format(Mixed, const Chunk& chunk, Body body) {
  switch (chunk.at(kDtype)) {
    case 0: return body(Single{});
    case 1: return body(Double{});
    case 2: return body(Narrow<Half>{});
    default: return body(Narrow<Bfloat>{});
  }
}

// The bound as the format rounds it.
template <class Format>
__device__ double bound_in(double bound) {
  using Real = typename Format::Real;
  return static_cast<double>(Format::load(Format::store(static_cast<Real>(bound))));
}

template <class Word, int kWords>
struct alignas(kWords * sizeof(Word)) Words {
  Word at[kWords];
};

// A number that is an address may be one of shared memory: here it never is.
template <class T>
__device__ T* global(T* address) {
#ifdef __CUDA_ARCH__
  __builtin_assume(__isGlobal(address));
#endif
  return address;
}

// Elements i .. i + kWords - 1 of each_weight.
template <class Format, unsigned kUsed, unsigned kWritten, int kWords, class Update>
__device__ void some_weights(typename Format::Word* const* arrays, int i, bool write_gradient, Update& update) {
  using Loaded = Words<typename Format::Word, kWords>;
  Loaded loaded[kArrays];
#pragma unroll
  for (int a = 0; a < kArrays; ++a)
    if (kUsed >> a & 1) loaded[a] = *global(reinterpret_cast<const Loaded*>(arrays[a] + i));
#pragma unroll
  for (int k = 0; k < kWords; ++k) {
    typename Format::Real x[kArrays];
#pragma unroll
    for (int a = 0; a < kArrays; ++a)
      if (kUsed >> a & 1) x[a] = Format::load(loaded[a].at[k]);
    update(x);
#pragma unroll
    for (int a = 0; a < kArrays; ++a)
      if ((kUsed & (kWritten | bit(kG))) >> a & 1) loaded[a].at[k] = Format::store(x[a]);
  }
#pragma unroll
  for (int a = 0; a < kArrays; ++a)
    if (kWritten >> a & 1) *global(reinterpret_cast<Loaded*>(arrays[a] + i)) = loaded[a];
  if ((kUsed >> kG & 1) && write_gradient) *global(reinterpret_cast<Loaded*>(arrays[kG] + i)) = loaded[kG];
}

// Calls update(x) for each element of the chunk, x[a] being that of array a if kUsed has its bit; what kWritten
// has is stored. kBytes at a time, unless an array begins somewhere in between.
template <class Format, unsigned kUsed, unsigned kWritten, class Update>
__device__ void each_weight(const Chunk& chunk, bool write_gradient, Update update) {
  using Word = typename Format::Word;
  constexpr int kWords = Format::kBytes / sizeof(Word);
  Word* arrays[kArrays];
  unsigned long long addresses = 0;
#pragma unroll
  for (int a = 0; a < kArrays; ++a)
    if (kUsed >> a & 1) {
      arrays[a] = chunk.array<Word>(kParam + a) + chunk.first;
      addresses |= reinterpret_cast<unsigned long long>(arrays[a]);
    }
  const int packed = addresses % Format::kBytes ? 0 : chunk.count / kWords * kWords;
#pragma unroll 1
  for (int i = threadIdx.x * kWords; i < packed; i += kThreads * kWords)
    some_weights<Format, kUsed, kWritten, kWords>(arrays, i, write_gradient, update);
#pragma unroll 1
  for (int i = packed + threadIdx.x; i < chunk.count; i += kThreads)
    some_weights<Format, kUsed, kWritten, 1>(arrays, i, write_gradient, update);
}

// What a step does to all weights: arguments of the kernels.
struct Given {
  double lr;
  const float* lr_at;
  double eps, weight_decay, bound;
  int maximize;
  const float *grad_scale, *found_inf;

  __device__ bool left_out() const { return found_inf && *found_inf != 0; }
  __device__ double unscale() const { return grad_scale ? 1.0 / *grad_scale : 1.0; }
  template <class Format>
  __device__ optim::Common common() const {
    return {lr_at ? static_cast<double>(*lr_at) : lr, eps, weight_decay, bound_in<Format>(bound),
            maximize ? -1.0 : 1.0};
  }
};

// The step of one chunk. One thread calls scalars(Common{}); then update(scalars, x) for each element.
template <class Format, class Scalars, unsigned kStates, class Make, class Update>
__device__ void step(const Given& given, const Chunk& chunk, Make scalars, Update update) {
  using Real = typename Format::Real;
  constexpr unsigned kWritten = bit(kP) | kStates << kX;
  __shared__ Scalars shared;
  __shared__ Real shared_unscale;
  if (threadIdx.x == 0) {
    shared = scalars(given.template common<Format>());
    shared_unscale = static_cast<Real>(given.unscale());
  }
  __syncthreads();
  const Scalars s = shared;
  const Real unscale = shared_unscale;
  each_weight<Format, kWritten | bit(kG), kWritten>(chunk, unscale != 1, [&](Real* x) {
    x[kG] *= unscale;
    update(s, x);
  });
}

template <class Format, bool kCentered, bool kMomentum>
__device__ void rmsprop(const Given& given, const long long* table, int tensors, double alpha, double momentum) {
  if (given.left_out()) return;
  const Chunk chunk = chunk_of(table, tensors);
  with_format(Format{}, chunk, [&](auto format) {
    using Of = decltype(format);
    using A = optim::ScalarArithmetic<typename Of::Real>;
    using Scalars = optim::RmspropScalars<A>;
    step<Of, Scalars, 1u | kCentered << 1 | kMomentum << 2>(
        given, chunk, [&](const optim::Common& c) { return Scalars::of({c, alpha, momentum}); },
        [](const Scalars& s, auto* x) {
          optim::rmsprop<A, kCentered, kMomentum>(s, x[kP], x[kG], x[kX], x[kX + 1], x[kX + 2]);
        });
  });
}

// What Adam is told beside: `steps` is the number of this step, corrections 1 - beta^steps. A tensor of which the
// table says otherwise, by a difference or by a counter on the device that counts this step already, has its own.
struct GivenToAdam {
  double beta1, beta2;
  int decoupled;
  double steps, correction1, correction2;

  // To be called by a whole warp: two of its threads take a power each.
  __device__ optim::Adam options(const Chunk& chunk) const {
    optim::Adam o{{}, beta1, beta2, correction1, correction2, decoupled != 0};
    const float* counter = chunk.array<const float>(kStepAt);
    const long long more = chunk.at(kSteps);
    if (!counter && more == 0) return o;
    const double t = counter ? static_cast<double>(*counter) : steps + static_cast<double>(more);
    const double correction = 1 - pow(threadIdx.x % 2 ? beta2 : beta1, t);
    o.correction1 = __shfl_sync(0xffffffffu, correction, 0);
    o.correction2 = __shfl_sync(0xffffffffu, correction, 1);
    return o;
  }
};

template <class Format, bool kAmsgrad>
__device__ void adam(const Given& given, const long long* table, int tensors, const GivenToAdam& of_adam) {
  if (given.left_out()) return;
  const Chunk chunk = chunk_of(table, tensors);
  optim::Adam options{};
  if (threadIdx.x < kWarp) options = of_adam.options(chunk);
  with_format(Format{}, chunk, [&](auto format) {
    using Of = decltype(format);
    using A = optim::ScalarArithmetic<typename Of::Real>;
    using Scalars = optim::AdamScalars<A>;
    step<Of, Scalars, 3u | kAmsgrad << 2>(
        given, chunk,
        [&](const optim::Common& c) {
          options.common = c;
          return Scalars::of(options);
        },
        [](const Scalars& s, auto* x) {
          optim::adam<A, kAmsgrad>(s, x[kP], x[kG], x[kX], x[kX + 1], x[kX + 2]);
        });
  });
}

// at_bound, if there is one, is increased by the number of weights that are then at the bound.
template <class Format>
__device__ void clip(const long long* table, int tensors, double bound, unsigned long long* at_bound) {
  const Chunk chunk = chunk_of(table, tensors);
  with_format(Format{}, chunk, [&](auto format) {
    using Of = decltype(format);
    using Real = typename Of::Real;
    const Real limit = static_cast<Real>(bound_in<Of>(bound));
    int mine = 0;
    each_weight<Of, bit(kP), bit(kP)>(chunk, false, [&](Real* x) {
      x[kP] = optim::clip<optim::ScalarArithmetic<Real>>(limit, x[kP]);
      mine += x[kP] == limit || x[kP] == -limit;
    });
    // Whole numbers: the sum does not depend on the order.
    if (at_bound && mine) atomicAdd(at_bound, static_cast<unsigned long long>(mine));
  });
}

}  // namespace

#define GIVEN                                                                                                  \
  const long long *table, int tensors, double lr, const float *lr_at, double eps, double weight_decay,         \
      double bound, int maximize, const float *grad_scale, const float *found_inf

#define RMSPROP_KERNEL(name, ...)                                                                              \
  extern "C" __global__ void __launch_bounds__(256) name(GIVEN, double alpha, double momentum) {               \
    rmsprop<__VA_ARGS__>({lr, lr_at, eps, weight_decay, bound, maximize, grad_scale, found_inf}, table,        \
                         tensors, alpha, momentum);                                                            \
  }

#define ADAM_KERNEL(name, ...)                                                                                 \
  extern "C" __global__ void __launch_bounds__(256)                                                            \
      name(GIVEN, double beta1, double beta2, int decoupled, double steps, double correction1,                 \
           double correction2) {                                                                               \
    adam<__VA_ARGS__>({lr, lr_at, eps, weight_decay, bound, maximize, grad_scale, found_inf}, table, tensors,  \
                      {beta1, beta2, decoupled, steps, correction1, correction2});                             \
  }

#define CLIP_KERNEL(name, format)                                                                              \
  extern "C" __global__ void __launch_bounds__(256)                                                            \
      name(const long long* table, int tensors, double bound, unsigned long long* at_bound) {                  \
    clip<format>(table, tensors, bound, at_bound);                                                             \
  }

// A line for each kernel: only that of the kernel which is wanted is compiled (ganfast/backends/cuda/module.py).
CLIP_KERNEL(clip_weights_float32, Single)
CLIP_KERNEL(clip_weights_float64, Double)
CLIP_KERNEL(clip_weights_float16, Half)
CLIP_KERNEL(clip_weights_bfloat16, Bfloat)
CLIP_KERNEL(clip_weights_mixed, Mixed)
RMSPROP_KERNEL(rmsprop_step_float32, Single, false, false)
RMSPROP_KERNEL(rmsprop_step_float64, Double, false, false)
RMSPROP_KERNEL(rmsprop_step_float16, Half, false, false)
RMSPROP_KERNEL(rmsprop_step_bfloat16, Bfloat, false, false)
RMSPROP_KERNEL(rmsprop_step_mixed, Mixed, false, false)
RMSPROP_KERNEL(rmsprop_step_centered_float32, Single, true, false)
RMSPROP_KERNEL(rmsprop_step_centered_float64, Double, true, false)
RMSPROP_KERNEL(rmsprop_step_centered_float16, Half, true, false)
RMSPROP_KERNEL(rmsprop_step_centered_bfloat16, Bfloat, true, false)
RMSPROP_KERNEL(rmsprop_step_centered_mixed, Mixed, true, false)
RMSPROP_KERNEL(rmsprop_step_momentum_float32, Single, false, true)
RMSPROP_KERNEL(rmsprop_step_momentum_float64, Double, false, true)
RMSPROP_KERNEL(rmsprop_step_momentum_float16, Half, false, true)
RMSPROP_KERNEL(rmsprop_step_momentum_bfloat16, Bfloat, false, true)
RMSPROP_KERNEL(rmsprop_step_momentum_mixed, Mixed, false, true)
RMSPROP_KERNEL(rmsprop_step_centered_momentum_float32, Single, true, true)
RMSPROP_KERNEL(rmsprop_step_centered_momentum_float64, Double, true, true)
RMSPROP_KERNEL(rmsprop_step_centered_momentum_float16, Half, true, true)
RMSPROP_KERNEL(rmsprop_step_centered_momentum_bfloat16, Bfloat, true, true)
RMSPROP_KERNEL(rmsprop_step_centered_momentum_mixed, Mixed, true, true)
ADAM_KERNEL(adam_step_float32, Single, false)
ADAM_KERNEL(adam_step_float64, Double, false)
ADAM_KERNEL(adam_step_float16, Half, false)
ADAM_KERNEL(adam_step_bfloat16, Bfloat, false)
ADAM_KERNEL(adam_step_mixed, Mixed, false)
ADAM_KERNEL(adam_step_amsgrad_float32, Single, true)
ADAM_KERNEL(adam_step_amsgrad_float64, Double, true)
ADAM_KERNEL(adam_step_amsgrad_float16, Half, true)
ADAM_KERNEL(adam_step_amsgrad_bfloat16, Bfloat, true)
ADAM_KERNEL(adam_step_amsgrad_mixed, Mixed, true)
