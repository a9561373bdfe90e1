// What cuda_host.h stands for, in kernels whose answers are known.

extern "C" __global__ void reverse_block(const double* x, double* y, int n) {
  extern __shared__ double shared[];
  for (int i = threadIdx.x; i < n; i += blockDim.x) shared[i] = x[i];
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = shared[n - 1 - i];
}

// The same with its barrier forgotten.
extern "C" __global__ void race(const double* x, double* y, int n) {
  extern __shared__ double shared[];
  const int i = threadIdx.x;
  shared[i] = x[i];
  y[i] = shared[n - 1 - i];
}

extern "C" __global__ void half_a_barrier(double* y) {
  if (threadIdx.x % 2) __syncthreads();
  if (threadIdx.x % 2 == 0) __syncwarp(0xffffffffu);
  y[threadIdx.x] = 1;
}

extern "C" __global__ void __launch_bounds__(64) warp_words(const double* x, double* sums, int* votes, int n) {
  __shared__ double partial[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  double mine = 0;
  for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < n;
       i += static_cast<long long>(gridDim.x) * blockDim.x)
    mine += x[i];
  for (int by = 16; by; by /= 2) mine += __shfl_xor_sync(0xffffffffu, mine, by);
  if (lane == 0) partial[warp] = mine;
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0;
    for (unsigned i = 0; i < blockDim.x / 32; ++i) total += partial[i];
    sums[blockIdx.x] = total;
  }
  const double next = __shfl_down_sync(0xffffffffu, x[threadIdx.x % n], 1);
  const double first = __shfl_sync(0xffffffffu, next, 0);
  if (threadIdx.x == 0) sums[gridDim.x + blockIdx.x] = first;
  const int odd = __syncthreads_count(threadIdx.x % 2);
  const int any = __any_sync(0xffffffffu, lane == 31), all = __all_sync(0xffffffffu, lane < 31);
  if (threadIdx.x == 0) atomicAdd(&votes[0], odd + 1000 * any + 10000 * all);
}
