// Every function of gan_math.h in device code, so that nvcc has something to compile.

#include "gan_math.h"

template <class T, template <class> class Phi>
__device__ void apply(const T* x, const T* t, T* y, long long i) {
  using F = Phi<gan::ScalarArithmetic<T>>;
  y[2 * i] = F::value(x[i], t[i]);
  y[2 * i + 1] = F::slope(x[i], t[i]);
}

#define KERNEL(name, type, phi)                                                               \
  extern "C" __global__ void name(const type* x, const type* t, type* y, long long n) {       \
    const long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x;        \
    if (i < n) apply<type, gan::phi>(x, t, y, i);                                             \
  }

#define KERNELS(phi)                 \
  KERNEL(phi##_float, float, phi)    \
  KERNEL(phi##_double, double, phi)

GAN_PHIS(KERNELS)
