"""R1 and R2 on the graph of scores that exist, at every step or every few."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError
from ganfast.functional.critics import check_graph, differentiate, gradient_of, gradients
from ganfast.functional.inputs import Inputs, check_inputs, names_of
from ganfast.functional.penalty import penalty_and_norms, spec_of
from ganfast.functional.scores import Scores, scores_of
from ganfast.reference.penalty import PenaltySpec

__all__ = ["lazy_adam", "r1_penalty", "r1_r2_penalty", "r2_penalty"]

_transforms_active = torch._C._are_functorch_transforms_active


def r1_penalty(
    real_scores: Any,
    real_inputs: Inputs,
    *,
    gamma: float = 10.0,
    every: int = 1,
    scores: Scores = None,
) -> Tensor:
    """gamma/2 * mean_i ||d scores_i / d real_i||^2 on a graph that exists: R1 without a second
    forward (Mescheder et al. 2018, arXiv:1801.04406).

        real = real.requires_grad_()
        scores = critic(real)
        loss = GF.discriminator_loss(scores, critic(fake.detach())) + GF.r1_penalty(scores, real)

    **Lazily**, at every k-th step with k times the weight (Karras et al. 2020, StyleGAN2,
    arXiv:1912.04958, appendix B): the mean gradient is the same, and the k - 1 steps between cost
    nothing more than without a penalty. ``every=k`` is that weight; when it is due is up to the
    loop, and :func:`lazy_adam` is what StyleGAN2 does to the optimizer besides.

        due = step % 16 == 0
        scores = critic(real.requires_grad_(due))
        loss = GF.discriminator_loss(scores, critic(fake.detach()))
        if due:
            loss = loss + GF.r1_penalty(scores, real, gamma=10.0, every=16)

    Args:
        real_scores: what the critic returned for ``real_inputs``: a tensor, or a list, tuple or
            dict of them, of which the sum is differentiated.
        real_inputs: the samples (n, ...), which required gradients when the critic saw them; or
            several tensors of them, as for :func:`gradient_penalty`.
        gamma: the weight; the factor 1/2 is the paper's.
        every: how many steps one penalty stands for, >= 1; it multiplies the weight.
        scores: which of ``real_scores`` are scores, as for :func:`gradient_penalty`.

    Returns:
        a 0-d tensor, float64 for float64 samples, else float32.

    Raises:
        ValueError: ``real_inputs`` does not require gradients, the scores do not depend on it or
            have no graph, gamma is negative, ``every`` is below 1, or ``scores`` is not there.
        TypeError: one of the outputs is no tensor, such as None.
        RuntimeError: under torch.compile, or an operation without a second derivative.
    """
    spec = _spec("r1_penalty", "real", gamma, every)
    _checked(real_inputs, "real_inputs")
    found = scores_of(real_scores, scores)
    gradient = differentiate(found, real_inputs, torch.is_grad_enabled(), "real_scores")
    return _term(gradient, real_inputs, found, spec)


def r2_penalty(
    fake_scores: Any,
    fake_inputs: Inputs,
    *,
    gamma: float = 10.0,
    every: int = 1,
    scores: Scores = None,
) -> Tensor:
    """gamma/2 * mean_i ||d scores_i / d fake_i||^2: :func:`r1_penalty` of the generated samples
    (Mescheder et al. 2018, arXiv:1801.04406), which are detached before the critic sees them:
    ``fake = fake.detach().requires_grad_()``.

    Args:
        fake_scores, fake_inputs, gamma, every, scores: as for :func:`r1_penalty`.

    Returns, Raises: as :func:`r1_penalty`.
    """
    spec = _spec("r2_penalty", "fake", gamma, every)
    _checked(fake_inputs, "fake_inputs")
    found = scores_of(fake_scores, scores)
    gradient = differentiate(found, fake_inputs, torch.is_grad_enabled(), "fake_scores")
    return _term(gradient, fake_inputs, found, spec)


def r1_r2_penalty(
    real_scores: Any,
    real_inputs: Inputs,
    fake_scores: Any,
    fake_inputs: Inputs,
    *,
    gamma: float = 10.0,
    every: int = 1,
    scores: Scores = None,
) -> Tensor:
    """R1 + R2, :func:`r1_penalty` and :func:`r2_penalty` of one weight, as R3GAN has them (Huang et
    al. 2025, arXiv:2501.05441), with both gradients taken in one walk back through the graph.

    So both sides can be scored in one forward, which saves time where batches are small, and the
    graph that they then share is gone through once and not once for each side:

        real, fake = real.requires_grad_(), fake.detach().requires_grad_()
        real_scores, fake_scores = critic(torch.cat((real, fake))).chunk(2)
        loss = GF.discriminator_loss(real_scores, fake_scores, game="relativistic")
        loss = loss + GF.r1_r2_penalty(real_scores, real, fake_scores, fake, gamma=1.0)

    What is penalised is the gradient of the sum of all scores of both sides; that is R1 + R2 as
    long as the critic scores each sample by itself, without BatchNorm.

    Args:
        real_scores, real_inputs, fake_scores, fake_inputs: two sides as for :func:`r1_penalty`;
            their numbers of samples may differ.
        gamma: the weight of both.
        every, scores: as for :func:`r1_penalty`.

    Returns, Raises: as :func:`r1_penalty`.
    """
    spec = _spec("r1_r2_penalty", "both", gamma, every)
    reals, fakes = _checked(real_inputs, "real_inputs"), _checked(fake_inputs, "fake_inputs")
    of_real, of_fake = scores_of(real_scores, scores), scores_of(fake_scores, scores)
    taken = gradients(of_real + of_fake, reals + fakes, torch.is_grad_enabled())
    r1 = gradient_of(real_inputs, taken[: len(reals)], "real_scores")
    r2 = gradient_of(fake_inputs, taken[len(reals) :], "fake_scores")
    return _term(r1, real_inputs, of_real, spec) + _term(r2, fake_inputs, of_fake, spec)


def _spec(name: str, at: str, gamma: float, every: int) -> PenaltySpec:
    if is_compiling() or _transforms_active():
        raise RuntimeError(
            f"{name}: a graph cannot be differentiated inside torch.compile; use "
            f"gradient_penalty(critic, real, fake, at={at!r}, target=0.0, weight=gamma / 2)"
        )
    gamma = _checks.number("gamma", gamma, least=0)
    if every != 1:
        every = _checks.integer("every", every, least=1)
    return spec_of(0.0, False, gamma / 2 * every, 1)


def _term(gradient: Tensor, inputs: Inputs, found: list[Tensor], spec: PenaltySpec) -> Tensor:
    if gradient.requires_grad:  # and not under no_grad
        check_graph(gradient, inputs, found)
    return penalty_and_norms(gradient, spec)[0]


def _checked(inputs: Inputs, name: str) -> list[Tensor]:
    """The tensors of ``inputs``, which require gradients."""
    tensors = check_inputs(inputs, name)
    for index, x in enumerate(tensors):
        if not x.requires_grad:
            where = names_of(inputs, name)[index]
            raise InputError(
                f"{where}: do not require gradients; call {where}.requires_grad_() before the "
                "critic sees them"
            )
    return tensors


def lazy_adam(every: int, *, lr: float, betas: tuple[float, float]) -> dict[str, Any]:
    """Adam's settings for a network with a penalty at every ``every``-th step: lr * c and
    beta ** c with c = every / (every + 1).

    StyleGAN2 (arXiv:1912.04958, appendix B) takes the lazy penalty as a step of its own, so that
    there are every + 1 steps of the optimizer where there were ``every``, and rescales so that the
    rate and the memory of the averages are the same over that time. It is a choice: with the
    penalty added to the loss, as :func:`r1_penalty` shows, there is no step more, and the settings
    can stay as they are.

    Args:
        every: the number of steps that one penalty stands for, >= 1.
        lr, betas: the settings without a lazy penalty.

    Returns:
        ``lr`` and ``betas`` by name, for ``torch.optim.Adam`` and ``ganfast.optim.Adam``.

    Raises:
        ValueError: ``every`` is below 1, the rate is negative, or a beta is not in [0, 1).
        TypeError: ``betas`` are not two numbers.

    Example:
        >>> lazy_adam(16, lr=0.0017, betas=(0.0, 0.99))["lr"]
        0.0016
    """
    steps = _checks.integer("every", every, least=1)
    share = steps / (steps + 1)
    if not isinstance(betas, (list, tuple)) or len(betas) != 2:
        raise InputTypeError(f"betas: got {betas!r}; give two numbers")
    checked = [
        _checks.number(f"betas[{i}]", beta, least=0, below=1) for i, beta in enumerate(betas)
    ]
    rate = _checks.number("lr", lr, least=0)
    return {"lr": rate * share, "betas": (checked[0] ** share, checked[1] ** share)}
