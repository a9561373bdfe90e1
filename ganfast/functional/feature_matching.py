"""Feature matching over the layers and heads of a discriminator: checks and docstrings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ganfast import _checks
from ganfast._autograd.features import feature_distance
from ganfast._dispatch import FLOATING
from ganfast.errors import InputError, InputTypeError
from ganfast.reference.features import DistanceSpec

__all__ = ["feature_matching_loss"]

Pair = tuple[str, Tensor, Tensor, float]
"""Where in the lists it is ("[1][0]"), its real and fake side, and its weight."""


def feature_matching_loss(
    real: Any, fake: Any, *, distance: str = "l1", reduction: str = "mean", weights: Any = None
) -> Tensor:
    """How far the discriminator's features of generated samples are from those of real ones.

    sum_j w_j / n_j * sum_i |fake_ji - real_ji| over all pairs j of n_j elements each, or of the
    squares; with reduction="mean" divided by the number of pairs. Salimans et al. 2016,
    arXiv:1606.03498; layer by layer in L1 as in pix2pixHD (Wang et al. 2018, arXiv:1711.11585) and
    HiFi-GAN (Kong et al. 2020, arXiv:2010.05646), which sums: reduction="sum", weights=2.

        loss = GF.feature_matching_loss(features_of(real), features_of(fake))

    One kernel launch serves up to eight pairs of one dtype; on the CPU one pass serves all.

    Args:
        real: features of the real samples: a tensor, or a list or tuple of tensors or of further
            lists, such as one for each head. They are targets: no gradient goes there.
        fake: features of the generated samples, in lists of the same lengths and of the same
            shapes. Dtypes may differ from pair to pair, as under autocast, not within one.
        distance: "l1" (the mean of |fake - real|) or "l2" (of its square).
        reduction: "mean" of the means of all pairs, or their "sum".
        weights: a number for all pairs, or lists of numbers: where ``fake`` has a list, a list of
            the same length or one number for all that is in it.

    Returns:
        a 0-d tensor: float64 if any of the features are, else float32. Accumulated in float32
        (float64 for float64), bitwise the same for any number of threads. Differentiable to any
        order with respect to ``fake``; where fake = real, the slope of "l1" is 0.

    Raises:
        ValueError: other numbers of features or other shapes on the two sides, mixed dtypes within
            a pair, mixed devices, an empty tensor or no tensor at all, an unknown distance or
            reduction, or weights that are not finite or do not fit the lists.
        TypeError: something else than tensors in lists or tuples, or weights that are no numbers.

    Example:
        >>> real, fake = [torch.zeros(2, 3), torch.zeros(5)], [torch.ones(2, 3), torch.ones(5)]
        >>> feature_matching_loss(real, fake, weights=[1.0, 3.0])
        tensor(2.)
    """
    _checks.one_of("distance", distance, ("l1", "l2"))
    _checks.one_of("reduction", reduction, ("mean", "sum"))
    pairs = list(_pairs(real, fake, 1.0 if weights is None else weights, ""))
    if not pairs:
        raise InputError("fake: has no features; give at least one")
    device = pairs[0][2].device
    for where, r, f, _ in pairs:
        _check_pair(where, r, f, device)
    count = len(pairs) if reduction == "mean" else 1
    each = tuple([weight / (count * f.numel()) for _, _, f, weight in pairs])
    reals, fakes = tuple([r for _, r, _, _ in pairs]), tuple([f for _, _, f, _ in pairs])
    return feature_distance(reals, fakes, DistanceSpec(distance == "l2", each))


def _pairs(real: Any, fake: Any, weights: Any, where: str) -> Iterator[Pair]:
    """Every pair of nested lists, whose lengths it checks."""
    if isinstance(fake, Tensor) and isinstance(real, Tensor):
        if isinstance(weights, (list, tuple)):
            raise InputError(
                f"weights{where}: is a list where fake{where} is a tensor; give one number"
            )
        yield where, real, fake, _checks.number(f"weights{where}", weights)
        return
    for name, side in (("real", real), ("fake", fake)):
        if not isinstance(side, (list, tuple)):
            other = "tensors in lists or tuples"
            if isinstance(side, Tensor):
                other = "the same on both sides: the other one is no tensor"
            raise InputTypeError(f"{name}{where}: got a {type(side).__name__}; give {other}")
    if len(real) != len(fake):
        raise InputError(
            f"fake{where}: has {len(fake)} features where real{where} has {len(real)}; "
            "give the same layers of the same heads"
        )
    of_each = isinstance(weights, (list, tuple))
    if of_each and len(weights) != len(fake):
        raise InputError(
            f"weights{where}: has {len(weights)} numbers where fake{where} has {len(fake)}; "
            "give one for each, or one for all"
        )
    for index, (r, f) in enumerate(zip(real, fake, strict=True)):
        yield from _pairs(r, f, weights[index] if of_each else weights, f"{where}[{index}]")


def _check_pair(where: str, real: Tensor, fake: Tensor, device: torch.device) -> None:
    if fake.dtype not in FLOATING:
        raise InputError(
            f"fake{where}: got {fake.dtype}; give float32, float64, float16 or bfloat16"
        )
    if real.dtype != fake.dtype:
        raise InputError(
            f"fake{where}: got {fake.dtype} where real{where} is {real.dtype}; give both one dtype"
        )
    if real.shape != fake.shape:
        raise InputError(
            f"fake{where}: has the shape {tuple(fake.shape)} where real{where} has "
            f"{tuple(real.shape)}; give batches of the same size"
        )
    for name, x in (("real", real), ("fake", fake)):
        if x.device != device:
            raise InputError(f"{name}{where}: is on {x.device}, others on {device}; move it there")
    if fake.numel() == 0:
        raise InputError(
            f"fake{where}: is empty (shape {tuple(fake.shape)}), and the mean of nothing is "
            "undefined; leave it out"
        )
