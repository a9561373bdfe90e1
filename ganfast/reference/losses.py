"""The losses: phi of every family, its slope, and the adversarial loss with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ganfast._philox import Key, uniform_pair
from ganfast.games import REAL, LossSpec

Target = float | Tensor

FEW = 8192
"""Up to this many logits an operation costs more than its arithmetic: on a CPU the two or three of
a linear loss then cost less than the Python of one autograd.Function."""

_HALF = (torch.float16, torch.bfloat16)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, float32 for everything narrower."""
    return torch.float64 if dtype == torch.float64 else torch.float32


# ---- phi(x, t) and its derivative in x, for each family of games.PHIS ----------------


def cross_entropy(x: Tensor, t: Target) -> Tensor:
    """softplus(x) - t*x: minus the log-likelihood of a label t under D = sigmoid(x).

    Written as a slope times x plus log(1 + exp(-|x|)), so that nothing overflows, and a slope of
    zero is zero at x = inf too. ``where`` picks the side instead of ``abs``, whose derivative at 0
    is wrong here.
    """
    if isinstance(t, float) and t in (0.0, 1.0):
        return -F.logsigmoid(x if t == 1.0 else -x)
    right = x >= 0
    slope = right.to(x.dtype) - t
    linear = torch.where(slope == 0, 0.0, slope * x)
    return linear - F.logsigmoid(torch.where(right, x, -x))


def cross_entropy_slope(x: Tensor, t: Target) -> Tensor:
    """sigmoid(x) - t, without cancellation in either tail."""
    if isinstance(t, float) and t in (0.0, 1.0):
        return -torch.sigmoid(-x) if t == 1.0 else torch.sigmoid(x)
    return torch.where(x >= 0, (1.0 - t) - torch.sigmoid(-x), torch.sigmoid(x) - t)


def negative_cross_entropy(x: Tensor, t: Target) -> Tensor:
    """-(softplus(x) - t*x): what minimax's generator minimises; flat where D rejects the sample."""
    return -cross_entropy(x, t)


def negative_cross_entropy_slope(x: Tensor, t: Target) -> Tensor:
    return -cross_entropy_slope(x, t)


def linear(x: Tensor, t: Target) -> Tensor:
    """(1 - 2t)*x: -x for a real sample, x for a fake one."""
    return (1.0 - 2.0 * t) * x


def linear_slope(x: Tensor, t: Target) -> Tensor:
    return torch.zeros_like(x) + (1.0 - 2.0 * t)


def hinge(x: Tensor, t: Target) -> Tensor:
    """max(0, 1 + (1 - 2t)*x)."""
    return F.relu(1.0 + (1.0 - 2.0 * t) * x)


def hinge_slope(x: Tensor, t: Target) -> Tensor:
    """(1 - 2t) inside the margin, 0 outside and, as torch's relu has it, 0 at the kink."""
    sign = 1.0 - 2.0 * t
    return torch.where(1.0 + sign * x <= 0, 0.0, torch.zeros_like(x) + sign)


def half_square(x: Tensor, t: Target) -> Tensor:
    """(x - t)^2 / 2."""
    return 0.5 * (x - t).square()


def half_square_slope(x: Tensor, t: Target) -> Tensor:
    return x - t


def negative_exponential(x: Tensor, t: Target) -> Tensor:
    """-exp(x) = -D/(1 - D) for D = sigmoid(x); the target plays no part."""
    return -torch.exp(x)


def negative_exponential_slope(x: Tensor, t: Target) -> Tensor:
    return -torch.exp(x)


PHI: dict[str, tuple[Callable[[Tensor, Target], Tensor], Callable[[Tensor, Target], Tensor]]] = {
    "cross_entropy": (cross_entropy, cross_entropy_slope),
    "negative_cross_entropy": (negative_cross_entropy, negative_cross_entropy_slope),
    "linear": (linear, linear_slope),
    "hinge": (hinge, hinge_slope),
    "half_square": (half_square, half_square_slope),
    "negative_exponential": (negative_exponential, negative_exponential_slope),
}


# ---- the loss: a weighted sum of phi over tensors of logits --------------------------


def targets(x: Tensor, spec: LossSpec, index: int, key: Key | None) -> Target:
    """The target of each element of tensor number ``index``: a float, or a tensor shaped like
    ``x``.

    With label noise a and flips p: t -> 1 - t with probability p, then t + U(-a, a), both drawn
    from Philox at the element's row-major index, in stream ``index``.
    """
    target = spec.targets[index]
    if not spec.noisy:
        return target
    assert key is not None
    flip, noise = uniform_pair(key, x.numel(), index, x.device, x.dtype)
    straight = torch.full_like(flip, target)
    drawn = torch.where(flip < spec.label_flip, 1.0 - straight, straight)
    return (drawn + spec.label_noise * (2.0 * noise - 1.0)).view(x.shape)


def weight(x: Tensor, spec: LossSpec) -> float:
    """What each element of ``x`` counts in the sum."""
    return 1.0 / (spec.heads * x.numel()) if spec.reduction == "mean" else 1.0 / spec.heads


def mean_score(logits: Sequence[Tensor], spec: LossSpec, dtype: torch.dtype) -> Tensor:
    """The loss of a linear game (``spec.mean_score``) in as few operations as can be.

    On a FEW logits one mean serves both sides.
    """
    if logits[0].dtype in _HALF:
        logits = [x.float() for x in logits]
    if len(logits) == 1:
        mean = logits[0].mean()
        loss = -mean if spec.targets[0] == REAL else mean
    else:
        real, fake = logits
        few = real.numel() <= FEW and real.shape == fake.shape
        loss = (fake - real).mean() if few else fake.mean() - real.mean()
    return loss if loss.dtype == dtype else loss.to(dtype)


def arguments_of_phi(logits: Sequence[Tensor], spec: LossSpec) -> list[Tensor]:
    """What phi is taken of, in the dtype of the sums: each tensor, or the difference of a pair."""
    wide = [x.to(accumulation_dtype(x.dtype)) for x in logits]
    if not spec.paired:
        return wide
    return [x - y for x, y in zip(wide[: spec.heads], wide[spec.heads :], strict=True)]


def minus_means(
    logits: Sequence[Tensor], heads: int, detach_means: bool = False
) -> tuple[Tensor, ...]:
    """Each tensor minus the mean of the other side's of the same head, in the dtype of the sums;
    a mean that is detached counts as constant."""
    wide = [x.to(accumulation_dtype(x.dtype)) for x in logits]
    others = wide[heads:] + wide[:heads]
    if detach_means:
        others = [y.detach() for y in others]
    return tuple([x - y.mean() for x, y in zip(wide, others, strict=True)])


def loss_statistics(logits: Sequence[Tensor], spec: LossSpec) -> Tensor:
    """(5,) of a discriminator's logits: the mean of D(x), that of D(G(z)), their difference, the
    share of D(x) > 0 and that of D(G(z)) < 0; over several heads the mean of each head's."""
    wide = [x.detach().to(accumulation_dtype(x.dtype)) for x in logits]
    sides = wide[: spec.heads], wide[spec.heads :]
    real, fake = (sum(x.mean() for x in side) / spec.heads for side in sides)
    right = (x > 0 for x in sides[0]), (x < 0 for x in sides[1])
    shares = [sum(each.to(wide[0].dtype).mean() for each in side) / spec.heads for side in right]
    return torch.stack([real, fake, real - fake, *shares])  # type: ignore[list-item]


def adversarial_loss(
    logits: Sequence[Tensor],
    spec: LossSpec,
    key: Key | None,
    dtype: torch.dtype,
    statistics: Tensor | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """sum_j weight_j * sum_i phi(logits_j[i], target_j[i]), of dtype ``dtype``; 0-d.

    With reduction "none": the tuple of phi(logits_j, target_j), each shaped like its logits.
    :func:`loss_statistics` are written into ``statistics``.
    """
    if statistics is not None:
        statistics.copy_(loss_statistics(logits, spec))
    if spec.mean_score:
        return mean_score(logits, spec, dtype)
    phi = PHI[spec.phi.name][0]
    values = []
    for index, x in enumerate(arguments_of_phi(logits, spec)):
        values.append(phi(x, targets(x, spec, index, key)))
    if spec.reduction == "none":
        return tuple(value.to(dtype) for value in values)
    means = spec.reduction == "mean"
    terms = [value.mean() if means else value.sum() for value in values]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return (total / spec.heads).to(dtype)


def adversarial_loss_gradient(
    grad_outputs: Sequence[Tensor],
    logits: Sequence[Tensor],
    spec: LossSpec,
    key: Key | None,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """weight_j * phi'(logits_j, target_j) * grad_output for each j with ``needed[j]``, else None.

    ``grad_outputs`` is a tuple of one 0-d tensor or, with reduction "none", of one tensor for each
    of ``logits``. Made of differentiable operations, so it is also the expression that a double
    backward needs.
    """
    slope = PHI[spec.phi.name][1]
    dtype = logits[0].dtype
    gradients: list[Tensor | None] = [None] * len(logits)
    for index, x in enumerate(arguments_of_phi(logits, spec)):
        other = index + spec.heads if spec.paired else index
        if not (needed[index] or needed[other]):
            continue
        gradient = slope(x, targets(x, spec, index, key))
        if spec.reduction == "none":
            gradient = gradient * grad_outputs[index]
        else:
            gradient = gradient * (grad_outputs[0].to(x.dtype) * weight(x, spec))
        if needed[other]:
            gradients[other] = (-gradient).to(dtype)
        if needed[index]:
            gradients[index] = gradient.to(dtype)
    return tuple(gradients)
