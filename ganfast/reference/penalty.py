"""The gradient penalty: points between samples, and the penalty on the norms of a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ganfast._philox import Key, uniform_pair
from ganfast.reference.losses import accumulation_dtype


class PenaltySpec(NamedTuple):
    """weight * mean_i (r_i - target)^2, or of max(0, r_i - target)^2 if ``one_sided``.

    r_i is the norm of the gradient of ``group_size`` neighbouring samples together.
    """

    target: float
    one_sided: bool
    weight: float
    group_size: int


def epsilon(x: Tensor, key: Key, group_size: int) -> Tensor:
    """One U[0, 1) for each ``group_size`` neighbours of ``x``, shaped to multiply it.

    Group j takes the second uniform of element j in stream 0: the noise of a label 1/2 +- 1/2.
    """
    samples = x.shape[0]
    dtype = accumulation_dtype(x.dtype)
    eps = uniform_pair(key, samples // group_size, 0, x.device, dtype)[1]
    if group_size > 1:
        eps = eps.repeat_interleave(group_size, output_size=samples)
    return eps.view((samples,) + (1,) * (x.dim() - 1))


def interpolate(real: Tensor, fake: Tensor, key: Key, group_size: int) -> Tensor:
    """eps_i real_i + (1 - eps_i) fake_i."""
    eps = epsilon(real, key, group_size)
    return (eps * real + (1.0 - eps) * fake).to(real.dtype)


def interpolate_gradient(
    grad: Tensor, key: Key, group_size: int, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """(eps_i grad_i, (1 - eps_i) grad_i) where needed, else None."""
    eps = epsilon(grad, key, group_size)
    of_real = (eps * grad).to(grad.dtype) if needed[0] else None
    of_fake = ((1.0 - eps) * grad).to(grad.dtype) if needed[1] else None
    return of_real, of_fake


def _rows(x: Tensor, spec: PenaltySpec) -> Tensor:
    """(groups, elements of a group), as it is computed with."""
    groups = x.shape[0] // spec.group_size
    return x.to(accumulation_dtype(x.dtype)).reshape(groups, x.numel() // groups)


def _norms(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The norms and where they are 0, whose derivative there is 0 instead of inf * 0 = NaN."""
    squares = rows.square().sum(1)
    flat = squares == 0
    return torch.where(flat, 0.0, torch.where(flat, 1.0, squares).sqrt()), flat


def penalty(x: Tensor, spec: PenaltySpec) -> tuple[Tensor, Tensor]:
    """The penalty (0-d) and the norms, which are not differentiated."""
    rows = _rows(x, spec)
    norms, _ = _norms(rows)
    if spec.target == 0:  # smooth at 0, unlike the norm
        value = rows.square().sum(1).mean()
    else:
        excess = norms - spec.target
        value = (excess.relu() if spec.one_sided else excess).square().mean()
    return spec.weight * value, norms.detach()


def penalty_gradient(grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec) -> Tensor:
    """grad * d penalty / dx = grad * 2 weight / n * (r_i - target) / r_i * x_i, zero where r_i = 0.

    Made of differentiable operations, so it is also what a double backward needs; the norms are
    computed anew for that reason.
    """
    rows = _rows(x, spec)
    slope: Tensor | float = 1.0
    if spec.target != 0:
        norms, flat = _norms(rows)
        excess = norms - spec.target
        excess = excess.relu() if spec.one_sided else excess
        slope = torch.where(flat, 0.0, excess / torch.where(flat, 1.0, norms)).unsqueeze(1)
    scale = grad.to(rows.dtype) * (2.0 * spec.weight / len(rows))
    return (scale * slope * rows).reshape(x.shape).to(x.dtype)


def penalty_second_order(
    v: Tensor, grad: Tensor, x: Tensor, norms: Tensor, spec: PenaltySpec
) -> tuple[Tensor, Tensor]:
    """The derivatives of <v, grad * d penalty / dx> with respect to ``grad`` and ``x``.

    With s_i = (r_i - target) / r_i and s_i' = target / r_i^2 (both 0 where r_i = 0 and, one-sided,
    below the target): 2 weight / n * sum_i s_i <v_i, x_i>, and
    grad * 2 weight / n * (s_i v_i + s_i' / r_i <v_i, x_i> x_i).
    """
    rows, vs = _rows(x, spec), _rows(v, spec)
    inner = (vs * rows).sum(1)
    slope, curvature = torch.ones_like(inner), torch.zeros_like(inner)
    if spec.target != 0:
        norms, flat = _norms(rows)
        safe = torch.where(flat, 1.0, norms)
        below = norms < spec.target if spec.one_sided else flat
        slope = torch.where(flat | below, 0.0, (norms - spec.target) / safe)
        curvature = torch.where(flat | below, 0.0, spec.target / safe / safe / safe)
    scale = 2.0 * spec.weight / len(rows)
    of_grad = scale * (slope * inner).sum()
    of_x = slope.unsqueeze(1) * vs + (curvature * inner).unsqueeze(1) * rows
    of_x = grad.to(rows.dtype) * scale * of_x
    return of_grad.to(grad.dtype), of_x.reshape(x.shape).to(x.dtype)
