"""The gradient penalty of a critic: which points, which gradient, which penalty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError
from ganfast.functional.critics import Critic, input_gradient
from ganfast.functional.inputs import Inputs, check_inputs, joined, like, noise_like, tensors_of
from ganfast.functional.interpolate import interpolate
from ganfast.functional.penalty import penalty_and_norms, spec_of
from ganfast.functional.scores import Scores, scores_of

__all__ = ["AT", "gradient_penalty"]

AT = ("interpolated", "real", "fake", "both", "perturbed")
"""Where a gradient penalty is taken."""

_transforms_active = torch._C._are_functorch_transforms_active


def gradient_penalty(
    critic: Critic,
    real: Inputs | None,
    fake: Inputs | None,
    *,
    weight: float = 10.0,
    target: float = 1.0,
    one_sided: bool = False,
    at: str = "interpolated",
    group_size: int = 1,
    generator: torch.Generator | None = None,
    critic_kwargs: dict[str, Any] | None = None,
    scores: Scores = None,
) -> Tensor:
    """weight * mean_i (||d critic(x_i) / d x_i||_2 - target)^2, to add to the critic's loss.

    ============  ===============================  =========================================
    at            x_i                              with
    ============  ===============================  =========================================
    interpolated  eps_i real_i + (1 - eps_i) fake  target 1: WGAN-GP, arXiv:1704.00028;
                                                   one_sided: WGAN-LP, arXiv:1709.08894
    real          real_i                           target 0, weight gamma/2: R1,
                                                   arXiv:1801.04406
    fake          fake_i                           target 0, weight gamma/2: R2
    both          the two penalties added up       target 0, weight gamma/2: R1 + R2,
                                                   arXiv:2501.05441
    perturbed     real_i + eps_i s u / 2           target 1: DRAGAN, arXiv:1705.07215
    ============  ===============================  =========================================

    The norm is that of each sample over all its dimensions, and eps is drawn once for each sample
    (see :func:`interpolate`). The fakes are detached: nothing flows back into the generator. In
    DRAGAN's points s is the standard deviation of all of ``real``, of each tensor by itself, and
    u ~ U(0, 1) is drawn for each element, as in its authors' code. R1 and R2 on scores that exist
    take a forward less: :func:`r1_penalty`, :func:`r1_r2_penalty`.

    **What is penalised** is the gradient of the SUM of everything the critic returns for a sample:
    a tensor (n, 1), a map of patch scores (n, 1, h, w), a list, tuple or dict of heads. So a
    PatchGAN's target grows with the number of its patches; for the gradient of their mean give
    ``lambda x: critic(x).mean((1, 2, 3))``. Where a critic returns features, labels or None besides
    its scores, name these: ``scores=0`` of a tuple, ``scores="adv_output"`` of a dict.

    **Several inputs**, such as images at several scales (arXiv:1903.06048) or the adjacency and the
    features of graphs (arXiv:1805.11973): give ``real`` and ``fake`` as lists, tuples or dicts of
    tensors, and the critic is called with such a one. A sample has one eps in all of them, and one
    norm over all of them. An input on which the scores do not depend adds nothing to it.

    **Mixed precision.** Call it inside autocast like the critic itself: the norms are float32 in
    any case. With a GradScaler scale the whole loss, ``scaler.scale(loss + penalty).backward()``,
    and nothing inside: the inner gradient is not scaled, and must not be, for its norm is compared
    with the target.

    **DistributedDataParallel.** Give the wrapped critic or its ``.module``; both give the gradients
    of one process on the joined batch, if the penalty and the scores that went through the wrapper
    are summed into one loss with one backward(). A backward() of the penalty alone does not reach
    the last bias, for which the wrapper waits in vain and says so (pytorch #47562).

    **torch.compile.** Compile the step, not the critic: inside torch.compile(fullgraph=True) the
    gradient is taken by torch.func, so that the compiled step's weight gradients are eager's
    (``generator`` must be None there); :func:`check_second_order` proves it for a step of yours. A
    compiled critic is refused.

    Args:
        critic: a module or function of a batch of samples.
        real, fake: samples (n, ...) or several tensors of them, as for :func:`interpolate`. With
            "both" their numbers may differ; with "real", "perturbed" or "fake" the other may be
            None. A fake of another dtype is converted to that of ``real``.
        weight: multiplies the penalty; lambda.
        target: the norm to aim at, >= 0.
        one_sided: penalise only norms above the target.
        at: where, as in the table.
        group_size: samples that the critic packs into one (PacGAN): they share eps, and the norm is
            that of the group.
        generator: source of eps and u.
        critic_kwargs: keyword arguments of the critic, such as labels for a conditional one.
        scores: which of the critic's outputs are its scores: a key, an index or the name of a
            field, or a list of them. None: all.

    Returns:
        a 0-d tensor, float64 for float64 samples, else float32. Under no_grad it is the value
        alone.

    Raises:
        ValueError: wrong arguments, as :func:`interpolate` and :func:`penalty_from_gradient`; a
            compiled critic; scores that do not depend on the samples, or are integers; an output
            that the critic does not have.
        RuntimeError: the critic has an operation without a second derivative (fused attention,
            cuDNN's recurrent layers, a reentrant checkpoint) or its input gradient does not depend
            on its weights.
        TypeError: one of the critic's outputs is no tensor, such as None.

    Warns:
        UserWarning: the critic has BatchNorm in training mode, or it returns feature maps (n, c,
            ...) beside its scores and ``scores`` is None.

    Example:
        >>> critic = torch.nn.Linear(2, 1)
        >>> real, fake = torch.randn(8, 2), torch.randn(8, 2)
        >>> gradient_penalty(critic, real, fake).backward()
        >>> critic.weight.grad is not None
        True
    """
    if at not in AT:
        _checks.one_of("at", at, AT)
    if not callable(critic):
        raise InputTypeError(f"critic: got a {type(critic).__name__}; give a module or a function")
    spec = spec_of(target, one_sided, weight, group_size)  # before the critic's work
    samples = _samples(real, fake, at, group_size)
    if at == "perturbed":
        tensors = [_perturbed(x, generator) for x in tensors_of(samples[0])]
        samples.append(like(samples[0], tensors))
        at = "interpolated"
    if at == "interpolated":
        samples = [interpolate(*samples, group_size=group_size, generator=generator)]
    total: Tensor | None = None
    for points in samples:
        if is_compiling() or _transforms_active():
            gradient = _traced_gradient(critic, points, critic_kwargs or {}, scores)
        else:
            gradient = input_gradient(critic, points, critic_kwargs or {}, scores)
        term = penalty_and_norms(gradient, spec)[0]
        total = term if total is None else total + term
    assert total is not None
    return total


_ELSEWHERE = {"real": ("fake",), "fake": ("real", "perturbed")}
"""The penalties that don't look at a side."""


def _samples(real: Any, fake: Any, at: str, group_size: int) -> list[Any]:
    """What the penalty is about, checked and detached: the real samples, the fake ones or both."""
    found: list[Any] = []
    dtype = None
    for name, x in (("real", real), ("fake", fake)):
        if at in _ELSEWHERE[name]:
            continue
        tensors = check_inputs(x, name, group_size)
        first = tensors[0]
        if first.shape[0] == 0:
            raise InputError(f"{name}: has no samples, and the mean of nothing is undefined")
        dtype = dtype or first.dtype
        if first is x and first.dtype is dtype:
            found.append(x.detach())
        else:
            found.append(like(x, [each.detach().to(dtype) for each in tensors]))
    return found


def _perturbed(x: Tensor, generator: torch.Generator | None) -> Tensor:
    wide = x.float() if _half(x) else x
    return (wide + 0.5 * wide.std(correction=0) * noise_like(wide, "uniform", generator)).to(x)


def _traced_gradient(
    critic: Critic, points: Inputs, kwargs: dict[str, Any], scores: Scores
) -> Tensor:
    """As input_gradient(), by torch.func: what torch.compile can trace and differentiate again."""

    def total(tensors: list[Tensor]) -> Tensor:
        found = scores_of(critic(like(points, tensors), **kwargs), scores)
        terms = [score.float().sum() if _half(score) else score.sum() for score in found]
        return sum(terms[1:], terms[0])

    tensors = tensors_of(points)
    gradients = torch.func.grad(total)(tensors)
    return gradients[0] if isinstance(points, Tensor) else joined(gradients, tensors)


def _half(x: Tensor) -> bool:
    return x.dtype in (torch.float16, torch.bfloat16)
