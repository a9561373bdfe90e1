"""Philox4x32-10 in plain torch integers: the specification of the noise that the kernels draw.

A counter-based generator has no state: word w of the draw at counter i under key k is a function of
(k, i, w). So forward and backward draw the same noise without storing it, threads need not agree on
an order, and every backend gives the same numbers for the same key.

Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ganfast.errors import InputError

_MASK32 = 0xFFFFFFFF
_MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_HALF = 2**62  # of the 63 bits of a key

_CPU = torch.device("cpu")
_transforms_active = torch._C._are_functorch_transforms_active
_dispatch_modes = torch._C._len_torch_dispatch_stack

Key = int | Tensor
"""64 bits: a Python int, or a 0-d int64 tensor that stays on its device."""


class _Words(threading.local):
    """A tensor to draw keys into, of each thread its own."""

    def __init__(self) -> None:
        with torch.inference_mode(False):  # or it could not be drawn into outside of that mode
            self.word = torch.empty((), dtype=torch.int64, device="cpu")


_words = _Words()


def new_key(device: torch.device, generator: torch.Generator | None) -> Key:
    """63 random bits from ``generator``; from the default generator of ``device`` if it is None.

    A CPU generator gives an int: reading it costs no synchronisation, and the same seed gives the
    same key whatever device the logits are on. A generator on an accelerator gives a tensor there,
    which the kernels read by address: no synchronisation either, and a CUDA graph draws anew at
    each replay.
    """
    where = device if generator is None else generator.device
    if _transforms_active():  # in vmap each sample's own key or the same, as its randomness says
        bits = torch.randint(-_HALF, _HALF, (), generator=generator, device=where)
        return bits + _HALF  # what random_() would have drawn
    if is_compiling():  # the compiler does not know Tensor.random_; eager draws the same number
        blank = torch.empty((), dtype=torch.int64, device=where)
        return torch.ops.aten.random(blank, generator=generator)
    if where == _CPU and device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise InputError(
            "generator: got one on the CPU while a CUDA graph is being captured, whose replays "
            "would all draw the same numbers; give one on the device, or None"
        )
    if where != _CPU or _dispatch_modes():
        bits = torch.empty((), dtype=torch.int64, device=where).random_(generator=generator)
        # A FakeTensor has no number to read, and a graph being recorded would keep this one.
        return int(bits) if where.type == "cpu" and not _dispatch_modes() else bits
    word = _words.word  # as above, in half the time
    return int((word.random_() if generator is None else word.random_(generator=generator)).item())


def _multiply(constant: int, word: Tensor) -> tuple[Tensor, Tensor]:
    # The high and low 32 bits of a 32 x 32 bit product, for which int64 has no room, and torch has
    # no unsigned 64-bit multiplication. It has room for the product less word * 2^32, because the
    # constants are above 2^31; and >> rounds down.
    less = (constant - 2**32) * word
    return (less >> 32) + word, less & _MASK32


def philox(key: Key, counter: Tensor, stream: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words of 32 bits, as int64 tensors shaped like ``counter`` (int64, >= 0)."""
    key0, key1 = key & _MASK32, (key >> 32) & _MASK32
    c0, c1 = counter & _MASK32, counter >> 32
    c2, c3 = torch.full_like(counter, stream), torch.zeros_like(counter)
    for _ in range(ROUNDS):
        high0, low0 = _multiply(_MULTIPLIER[0], c0)
        high1, low1 = _multiply(_MULTIPLIER[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0, key1 = (key0 + _WEYL[0]) & _MASK32, (key1 + _WEYL[1]) & _MASK32
    return c0, c1, c2, c3


def uniform_pair(
    key: Key, count: int, stream: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Two independent U[0, 1) per element, each of 24 bits, so that they are the same in every
    dtype.

    Element i takes words 0 and 1 of counter i/2 if i is even, words 2 and 3 if it is odd.
    """
    counter = torch.arange((count + 1) // 2, device=device)
    w0, w1, w2, w3 = philox(key, counter, stream)
    scale = 2.0**-24
    first = torch.stack((w0, w2), -1).flatten()[:count] >> 8
    second = torch.stack((w1, w3), -1).flatten()[:count] >> 8
    return first.to(dtype) * scale, second.to(dtype) * scale
