"""phi(x, t) and its derivative in x: one branch for each family of games.PHIS, by its name.

Everything here is float32 or float64: the kernels widen half precision as they load it. There is no
libdevice call, because the interpreter has none.
"""

import triton
import triton.language as tl


@triton.jit
def exp(x):
    """exp(x), with the full relative accuracy of the dtype wherever the result is not denormal.

    The GPU's float32 exponential is 2^(x log2(e)) with a rounded product, which loses |x| / 2 ulp.
    The fused multiply-add gives what the rounding lost, and 2^r is 1 + r ln(2) to first order.
    """
    if x.dtype == tl.float64:
        y = tl.exp(x)
    else:
        power = x * 1.44269502162933349609375
        lost = tl.fma(x, 1.44269502162933349609375, -power)
        lost = tl.fma(x, 1.925963033500011e-08, lost)
        # Beyond the range of float32 there is nothing to mend, and inf - inf would be NaN.
        lost = tl.where(tl.abs(x) < 128.0, lost, 0.0)
        y = tl.exp2(power) * tl.fma(lost, 0.693147182464599609375, 1.0)
    return y


@triton.jit
def log1p(e):
    """log(1 + e) for 0 <= e <= 1, accurate for small e too, where log(1 + e) has lost every digit.

    log(1 + e) = 2 atanh(s) with s = e / (2 + e) <= 1/3, and atanh(s) = s + s z p(z), z = s^2. The
    polynomials p interpolate at Chebyshev nodes; the relative error that they make is 3.9e-10 for
    float32 (half an ulp is 6e-8) and 1.3e-19 for float64 (half an ulp is 1.1e-16).
    """
    s = e / (2.0 + e)
    z = s * s
    if e.dtype == tl.float64:
        p = 0.0781528890046142522 * z + 0.0374607189777538365
        p = p * z + 0.0542258919744000741
        p = p * z + 0.0586713953065159873
        p = p * z + 0.0666758931572462792
        p = p * z + 0.0769227198243027464
        p = p * z + 0.0909090994898135719
        p = p * z + 0.111111110991183853
        p = p * z + 0.142857142858000496
        p = p * z + 0.199999999999997613
        p = p * z + 0.333333333333333334
    else:
        p = 0.116121646120116744 * z + 0.108532879004401863
        p = p * z + 0.142961789971514189
        p = p * z + 0.199998531659648587
        p = p * z + 0.333333336602637062
    double = s + s
    return double + (double * z) * p


@triton.jit
def cross_entropy(x, t):
    """softplus(x) - t*x = slope*x + log(1 + exp(-|x|)), the slope being that of the nearer tail.

    Nothing overflows, and where the slope is zero the product is too, at x = inf as well.
    """
    slope = tl.where(x >= 0, 1.0 - t, -t)
    return tl.where(slope == 0, 0.0, slope * x) + log1p(exp(-tl.abs(x)))


@triton.jit
def cross_entropy_slope(x, t):
    """sigmoid(x) - t, without cancellation in either tail."""
    e = exp(-tl.abs(x))
    q = e / (1.0 + e)
    return tl.where(x >= 0, (1.0 - t) - q, q - t)


@triton.jit
def value(x, t, PHI: tl.constexpr):
    """phi(x, t), elementwise; ``t`` is a scalar or shaped like ``x``."""
    if PHI == "cross_entropy":
        y = cross_entropy(x, t)
    elif PHI == "negative_cross_entropy":
        y = -cross_entropy(x, t)
    elif PHI == "linear":
        y = (1.0 - 2.0 * t) * x
    elif PHI == "hinge":
        margin = 1.0 + (1.0 - 2.0 * t) * x
        y = tl.where(margin <= 0, 0.0, margin)  # not tl.maximum, which drops a NaN
    elif PHI == "half_square":
        y = 0.5 * ((x - t) * (x - t))
    else:
        tl.static_assert(PHI == "negative_exponential", "phi.py has no branch for this PHI")
        y = -exp(x)
    return y


@triton.jit
def slope(x, t, PHI: tl.constexpr):
    """d phi(x, t) / dx, elementwise."""
    if PHI == "cross_entropy":
        y = cross_entropy_slope(x, t)
    elif PHI == "negative_cross_entropy":
        y = -cross_entropy_slope(x, t)
    elif PHI == "linear":
        y = tl.zeros_like(x) + (1.0 - 2.0 * t)
    elif PHI == "hinge":
        sign = 1.0 - 2.0 * t
        y = tl.where(1.0 + sign * x <= 0, 0.0, tl.zeros_like(x) + sign)
    elif PHI == "half_square":
        y = x - t
    else:
        tl.static_assert(PHI == "negative_exponential", "phi.py has no branch for this PHI")
        y = -exp(x)
    return y
