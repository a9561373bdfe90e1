"""The penalty on the norms of a critic's gradient: checks and docstrings."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from ganfast import _checks
from ganfast._autograd import penalty as _autograd
from ganfast.errors import InputError
from ganfast.functional.inputs import check_samples
from ganfast.reference.penalty import PenaltySpec

__all__ = ["PenaltyAndNorms", "penalty_from_gradient"]

_SPECS: dict[tuple[float, bool, float, int], PenaltySpec] = {}
"""Specs that passed the checks, by the arguments that made them."""


class PenaltyAndNorms(NamedTuple):
    """A penalty, and the mean and the largest norm of the gradients, all 0-d on their device."""

    penalty: Tensor
    mean_norm: Tensor
    max_norm: Tensor


@overload
def penalty_from_gradient(
    grad: Tensor,
    *,
    target: float = ...,
    one_sided: bool = ...,
    weight: float = ...,
    group_size: int = ...,
    return_norms: Literal[False] = ...,
) -> Tensor: ...
@overload
def penalty_from_gradient(
    grad: Tensor,
    *,
    target: float = ...,
    one_sided: bool = ...,
    weight: float = ...,
    group_size: int = ...,
    return_norms: bool = ...,
) -> Any: ...
def penalty_from_gradient(
    grad: Tensor,
    *,
    target: float = 1.0,
    one_sided: bool = False,
    weight: float = 1.0,
    group_size: int = 1,
    return_norms: bool = False,
) -> Any:
    """weight * mean_i (||grad_i||_2 - target)^2, the norm of each sample over all its dimensions.

    Gulrajani et al. 2017, arXiv:1704.00028; one-sided, max(0, ||grad_i||_2 - target)^2: Petzka et
    al. 2017, arXiv:1709.08894; target 0: the zero-centred penalty of Mescheder et al. 2018,
    arXiv:1801.04406.

    At a gradient of exactly zero the norm's subgradient 0 is taken: the penalty is target^2 and
    passes nothing back, instead of NaN. With target 0 it is ||grad||^2, which is smooth there.

    Args:
        grad: gradients (n, ...) of the critic with respect to its n inputs, in any layout; float32,
            float64, float16 or bfloat16.
        target: the norm to aim at, >= 0.
        one_sided: penalise only norms above the target.
        weight: multiplies the penalty.
        group_size: the norm is that of this many neighbouring samples together (PacGAN); it divides
            n.
        return_norms: also give the mean and the largest norm.

    Returns:
        a 0-d tensor: float64 for float64, else float32, since a square beyond 65504 is an everyday
        size of half precision. With ``return_norms`` a :class:`PenaltyAndNorms`, whose norms are
        detached and stay on their device: nothing waits for it. Accumulated in float32 (float64 for
        float64), bitwise the same for any number of threads. Differentiable to any order.

    Raises:
        ValueError: not floating point, no samples, a negative target or weight, or a group_size
            that does not divide n.
        TypeError: ``grad`` is not a tensor.

    Example:
        >>> penalty_from_gradient(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).item()  # (16 + 1) / 2
        8.5
    """
    spec = spec_of(target, one_sided, weight, group_size)
    check_samples(grad, "grad", group_size)
    value, norms = penalty_and_norms(grad, spec)
    return PenaltyAndNorms(value, norms.mean(), norms.amax()) if return_norms else value


def penalty_and_norms(grad: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """The penalty on ``grad``, the gradient at samples that :func:`check_samples` has accepted, and
    its norms."""
    if not grad.numel() and grad.shape[0] == 0:
        raise InputError(
            f"grad: has no samples (shape {tuple(grad.shape)}), and the mean of nothing is "
            "undefined; give at least one"
        )
    return _autograd.penalty(grad, spec)


def spec_of(target: float, one_sided: bool, weight: float, group_size: int) -> PenaltySpec:
    """The checked numbers of a penalty."""
    try:
        if is_dynamo_compiling():  # as in losses.py
            raise KeyError
        return _SPECS[target, one_sided, weight, group_size]
    except (KeyError, TypeError):  # new, or unhashable: the checks will name what is wrong
        return _make_spec(target, one_sided, weight, group_size)


def _make_spec(target: float, one_sided: bool, weight: float, group_size: int) -> PenaltySpec:
    spec = PenaltySpec(
        _checks.number("target", target, least=0),
        _checks.flag("one_sided", one_sided),
        _checks.number("weight", weight, least=0),
        _checks.integer("group_size", group_size, least=1),
    )
    if not torch.compiler.is_compiling():
        if len(_SPECS) >= 1024:  # as in losses.py
            _SPECS.clear()
        _SPECS[target, one_sided, weight, group_size] = spec
    return spec
