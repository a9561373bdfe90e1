"""A zero-centred penalty without double backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.functional.critics import Critic
from ganfast.functional.inputs import Inputs, check_inputs, like, noise_like
from ganfast.functional.scores import Scores, scores_of

__all__ = ["finite_difference_penalty"]


def finite_difference_penalty(
    critic: Critic,
    inputs: Inputs,
    *,
    sigma: float,
    gamma: float = 10.0,
    target: float = 0.0,
    generator: torch.Generator | None = None,
    critic_kwargs: dict[str, Any] | None = None,
    scores: Scores = None,
    inputs_scores: Any = None,
) -> Tensor:
    """gamma/2 * mean_i ((D(x_i + sigma n_i) - D(x_i - sigma n_i)) / (2 sigma))^2, n ~ N(0, I): an
    estimate of R1 (real inputs) or R2 (fake ones) from two forwards and one ordinary backward.

    With ``inputs_scores``, the D(x) that the loss needs anyway, it takes one forward alone, by the
    forward difference gamma/2 * mean_i ((D(x_i + sigma n_i) - D(x_i)) / sigma)^2:

        scores = critic(real)
        loss = GF.discriminator_loss(scores, critic(fake.detach()))
        loss = loss + GF.finite_difference_penalty(critic, real, sigma=1e-2, inputs_scores=scores)

    It works where double backward does not: a compiled critic, fused attention, FSDP, checkpoints.
    The forward difference is the approximate R1 of APT (Lin et al. 2025, arXiv:2501.08316), here
    divided by sigma, so that gamma means what it means in :func:`r1_penalty`. APT's lambda and
    FastGen's ``gan_r1_reg_weight`` multiply the mean square of the difference itself, whose sigma
    (FastGen's ``gan_r1_reg_alpha``) is part of the weight: for one score a sample
    gamma = 2 * lambda * sigma^2, so APT's 100 at sigma 0.01 is gamma=0.02.

    **Bias.** The estimate of ||g||^2 is unbiased as sigma -> 0, since E[(n . g)^2] = ||g||^2. A
    central difference makes it exact for a quadratic critic too; with third derivatives the bias is
    O(sigma^2): for D = sum_k g x_k + b x_k^3 at 0 it is 6 sigma^2 sum g b + 15 sigma^4 sum b^2. A
    forward difference adds sigma^2 / 4 * ((tr H)^2 + 2 ||H||^2) for the Hessian H.
    **Variance.** Of one sample's estimate 2 ||g||^4; for N samples of equal norm the relative
    standard deviation is sqrt(2 / N). Both are what tests/test_penalty_finite_difference.py
    measures. **Choosing sigma**: the smallest at which D(x +- sigma n) differ by much more than the
    scores' rounding: 1e-2 for images in [-1, 1] in float32; the difference is formed in float32,
    but under bfloat16 autocast each score keeps 3 digits. Random layers such as dropout draw
    differently in the two forwards: switch them off.

    Args:
        critic: a module or function of a batch of samples; its scores have the batch in front, and
            the sum of all scores of a sample is what is differentiated.
        inputs: samples (n, ...), detached; or several tensors of them in a list, tuple or dict, as
            for :func:`gradient_penalty`: each has its own noise, of the one ``sigma``, and the
            penalty is that of the gradient over all of them.
        sigma: the step, > 0, in the units of the inputs.
        gamma: the weight; the factor 1/2 is R1's.
        target: must be 0. For another target a random projection is biased: E[(c |n . g| - 1)^2],
            scaled so that c E|n . g| = ||g||, is least at ||g|| = 2/pi, not at 1.
        generator: source of n, on the inputs' device or on the CPU.
        critic_kwargs: keyword arguments of the critic.
        scores: which of the critic's outputs are its scores, as for :func:`gradient_penalty`.
        inputs_scores: what the critic returned for ``inputs``, with its graph.

    Returns:
        a 0-d tensor, float64 for float64 scores, else float32.

    Raises:
        ValueError: a sigma that is not positive, a target other than 0, scores without the batch
            in front, ``inputs_scores`` of other shapes than the critic's or without a graph, or
            several tensors that differ in samples, dtype or device.
        TypeError: ``inputs`` is not a tensor, or a list, tuple or dict of tensors.
    """
    tensors = check_inputs(inputs, "inputs")
    if target != 0:
        raise InputError(
            f"target: got {target!r}; a random projection can only aim at 0 (for 1 its optimum "
            "would lie at a norm of 2/pi): use gradient_penalty"
        )
    sigma = _checks.number("sigma", sigma, above=0, hint="a step in the inputs' units")
    gamma = _checks.number("gamma", gamma, least=0)
    samples = tensors[0].shape[0]
    if samples == 0:
        raise InputError("inputs: has no samples, and the mean of nothing is undefined")
    kwargs = critic_kwargs or {}
    tensors = [x.detach() for x in tensors]
    steps = [sigma * noise_like(x, "normal", generator) for x in tensors]

    def moved(sign: int) -> list[Tensor]:
        points = [torch.add(x, step, alpha=sign) for x, step in zip(tensors, steps, strict=True)]
        return scores_of(critic(like(inputs, points), **kwargs), scores, depth=5)

    ahead = moved(1)
    if inputs_scores is None:
        behind = moved(-1)
        sigma = 2.0 * sigma
    else:
        behind = scores_of(inputs_scores, scores)
        _check_known(behind, ahead)
    slopes = sum(_difference(a, b, samples) for a, b in zip(ahead, behind, strict=True))
    return (slopes / sigma).square().mean() * (gamma / 2.0)


def _check_known(known: list[Tensor], ahead: list[Tensor]) -> None:
    """InputError unless ``inputs_scores`` can be what the critic returned for the inputs."""
    shapes = [[tuple(x.shape) for x in each] for each in (known, ahead)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"inputs_scores: got shapes {shapes[0]} where the critic returned {shapes[1]}; give "
            "what it returned for these inputs"
        )
    for x, y in zip(known, ahead, strict=True):
        if y.requires_grad and not x.requires_grad:  # half of the gradient would be lost
            raise InputError(
                "inputs_scores: have no graph, but the critic's other scores have; give those of "
                "the loss, without detach() or no_grad"
            )


def _difference(ahead: Tensor, behind: Tensor, samples: int) -> Any:
    if ahead.dim() == 0 or ahead.shape[0] != samples:
        raise InputError(
            f"critic: it returned scores of shape {tuple(ahead.shape)} for {samples} samples; "
            "return the scores of each sample, the batch in front"
        )
    if ahead.dtype in (torch.float16, torch.bfloat16):
        ahead, behind = ahead.float(), behind.float()
    return (ahead - behind).reshape(samples, -1).sum(1)
