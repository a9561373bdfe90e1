"""The targets of noisy labels, drawn inside the kernels, as ganfast._philox and the reference do.

Element i of tensor number j takes two of the four words of Philox4x32-10 at counter (i // 2, j), so
one run of the generator serves two neighbours, and no random number ever passes through memory.
"""

import triton
import triton.language as tl


@triton.jit
def philox(key_low, key_high, c0, c1, c2, c3):
    """Four words of 32 random bits at counter (c0, c1, c2, c3); everything is uint32."""
    for _ in tl.static_range(10):
        high0 = tl.umulhi(c0, 0xD2511F53)
        high1 = tl.umulhi(c2, 0xCD9E8D57)
        low0 = c0 * 0xD2511F53
        low1 = c2 * 0xCD9E8D57
        c0 = high1 ^ c1 ^ key_low
        c2 = high0 ^ c3 ^ key_high
        c1 = low1
        c3 = low0
        key_low = key_low + 0x9E3779B9
        key_high = key_high + 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def noisy_targets(target, flip, noise, key, stream, start, BLOCK: tl.constexpr):
    """The targets of elements start .. start + BLOCK - 1 of tensor ``stream``; ``start`` is even.

    ``target`` becomes 1 - target with probability ``flip``, then U(-noise, noise) is added.
    """
    counter = start // 2 + tl.arange(0, BLOCK // 2)  # int64
    c0 = counter.to(tl.uint32)
    c1 = (counter >> 32).to(tl.uint32)
    c2 = tl.zeros((BLOCK // 2,), tl.uint32) + stream.to(tl.uint32)
    c3 = tl.zeros((BLOCK // 2,), tl.uint32)
    w0, w1, w2, w3 = philox(key.to(tl.uint32), (key >> 32).to(tl.uint32), c0, c1, c2, c3)
    first = tl.interleave(w0, w2) >> 8
    second = tl.interleave(w1, w3) >> 8
    # 24 bits each: exact in float32, so every dtype and backend sees the same uniforms.
    flip_draw = first.to(target.dtype) * 5.9604644775390625e-08
    noise_draw = second.to(target.dtype) * 5.9604644775390625e-08
    straight = tl.zeros((BLOCK,), target.dtype) + target
    drawn = tl.where(flip_draw < flip, 1.0 - straight, straight)
    return drawn + noise * (2.0 * noise_draw - 1.0)


@triton.jit
def uniform(key, index):
    """The second uniform of element ``index`` (int64, any shape) in stream 0: U[0, 1), float32."""
    counter = index >> 1
    zero = (counter * 0).to(tl.uint32)
    c0, c1 = counter.to(tl.uint32), (counter >> 32).to(tl.uint32)
    _, w1, _, w3 = philox(key.to(tl.uint32), (key >> 32).to(tl.uint32), c0, c1, zero, zero)
    word = tl.where((index & 1) == 0, w1, w3) >> 8
    return word.to(tl.float32) * 5.9604644775390625e-08
