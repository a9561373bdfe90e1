"""The losses of every game: checks, docstrings, nothing else."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from ganfast import _checks, games
from ganfast._autograd.losses import adversarial_loss, loss_and_statistics, means_compared
from ganfast._philox import new_key
from ganfast.errors import InputError
from ganfast.functional.logits import Logits, check_logits, check_pairs, heads_of, pair_of_heads
from ganfast.functional.loss_specs import SPECS, discriminator_spec, generator_spec
from ganfast.games import LossSpec, Reduction

__all__ = ["LossAndStatistics", "discriminator_loss", "generator_loss"]

Heads = tuple[Tensor, ...]


class LossAndStatistics(NamedTuple):
    """A discriminator's loss, and what its logits say of it; 0-d, on their device, detached.

    ``real_mean`` and ``fake_mean`` are the means of D(x) and D(G(z)), ``gap`` is the first minus
    the second. ``real_share`` is the share of D(x) > 0 and ``fake_share`` that of D(G(z)) < 0: how
    often the sign is right. StyleGAN2-ADA's E[sign(D(x))] (arXiv:2006.06676) is 2 * real_share - 1
    but for logits of exactly 0. Of several heads each is the mean over heads.

    The shares mean what their names say where the sign of a logit is D's answer: in the
    cross-entropy games and hinge. In "wasserstein" scores have no zero, since a constant added to
    the critic changes nothing: a good critic may show shares of 1 and 0. In "least_squares" the
    answer lies at 1/2, between the targets 0 and 1, so that D(G(z)) < 0 is no measure of being
    right. In the relativistic games, too, only differences count. Take ``gap`` there.
    """

    loss: Tensor
    real_mean: Tensor
    fake_mean: Tensor
    gap: Tensor
    real_share: Tensor
    fake_share: Tensor


@overload
def discriminator_loss(
    real: Logits,
    fake: Logits,
    *,
    game: str = ...,
    reduction: Literal["mean", "sum"] = ...,
    label_smoothing: float = ...,
    label_noise: float = ...,
    label_flip: float = ...,
    generator: torch.Generator | None = ...,
    return_statistics: Literal[False] = ...,
    detach_means: bool = ...,
) -> Tensor: ...
@overload
def discriminator_loss(
    real: Logits,
    fake: Logits,
    *,
    game: str = ...,
    reduction: Reduction = ...,
    label_smoothing: float = ...,
    label_noise: float = ...,
    label_flip: float = ...,
    generator: torch.Generator | None = ...,
    return_statistics: bool = ...,
    detach_means: bool = ...,
) -> Any: ...
def discriminator_loss(
    real: Logits,
    fake: Logits,
    *,
    game: str = "nonsaturating",
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    label_noise: float = 0.0,
    label_flip: float = 0.0,
    generator: torch.Generator | None = None,
    return_statistics: bool = False,
    detach_means: bool = False,
) -> Any:
    """What the discriminator (critic) minimises: E[f_real(D(x))] + E[f_fake(D(G(z)))].

    {games}

    A soft target t turns the cross-entropy into softplus(x) - t*x and the square into
    (x - t)^2 / 2.

    Two more games compare the sides with each other (arXiv:1807.00734), D minimising

    * "relativistic" (rpgan), with R1 and R2 the loss of R3GAN (arXiv:2501.05441):
      E[softplus(-(D(x) - D(G(z))))], over pairs: sample i of one side with sample i of the other;
    * "relativistic_average" (ragan): E[softplus(-(D(x) - E[D(G(z))]))] +
      E[softplus(D(G(z)) - E[D(x)])], with the means of this batch, which are differentiated too.
      Half of it with ``detach_means=True`` is the discriminator's loss of ESRGAN in BasicSR
      (arXiv:1809.00219); its generator's is half of :func:`generator_loss`.

    Args:
        real: logits D(x), raw scores before any sigmoid, of any shape and strides; or a list or
            tuple of such tensors, one for each head of a multi-scale discriminator.
        fake: logits D(G(z)), likewise. The batch need not be as large as the real one: each side
            has its own mean, but for "relativistic", where both have one shape. Detach the samples
            before the critic sees them, or the generator is differentiated too.
        game: a name or alias of the table, in any case, or what other projects call it: "vanilla"
            and "logistic" are nonsaturating, "wgangp" is wasserstein (its penalty is
            :func:`gradient_penalty`).
        reduction: "mean" (each side by its own count), "sum", or "none". With several heads the
            loss is the mean over heads of each head's loss.
        label_smoothing: s in [0, 1): the target of the real side becomes 1 - s (one-sided,
            arXiv:1606.03498). For the cross-entropy and least_squares games only, like the next
            two.
        label_noise: a >= 0: each target gets its own U(-a, a).
        label_flip: p in [0, 1]: each target t becomes 1 - t with probability p.
        generator: source of the noise and the flips; the default generator of the logits' device if
            None. The same CPU generator state gives the same targets on every device and backend.
        return_statistics: also give the means of both sides, the gap between them and the shares of
            right signs, which the loss's kernel forms beside it. Not with reduction="none".
        detach_means: for "relativistic_average" alone: no gradient flows through the means.

    Returns:
        a 0-d tensor of the logits' dtype (float32 for half precision under autocast); with
        reduction="none" a pair of tensors shaped like ``real`` and ``fake`` (of tuples for several
        heads), with "relativistic" one for the pairs. With ``return_statistics`` a
        :class:`LossAndStatistics`. Accumulated in float32 (float64 for float64). Differentiable to
        any order.

    Raises:
        ValueError: unknown game or reduction, integer logits, mixed devices or dtypes, different
            numbers of heads, an empty side with reduction="mean", a rate out of its range, a soft
            label in a game that has none, or sides of different shapes in "relativistic".
        TypeError: ``real`` or ``fake`` is not a tensor, or a list or tuple of tensors.

    Example:
        >>> real, fake = torch.randn(64, 1), torch.randn(64, 1)
        >>> loss = discriminator_loss(real, fake, game="nonsaturating", label_smoothing=0.1)
        >>> loss.shape
        torch.Size([])
    """
    many = not (isinstance(real, Tensor) and isinstance(fake, Tensor))
    logits: Heads = pair_of_heads(real, fake) if many else (real, fake)  # type: ignore[assignment]
    heads = len(logits) // 2
    arguments = ("D", game, heads, reduction, label_smoothing, label_noise, label_flip)
    if return_statistics:
        arguments += (_checks.flag("return_statistics", return_statistics),)  # type: ignore
    try:
        if is_dynamo_compiling():  # a lookup would compile anew for each value of a float
            raise KeyError
        spec = SPECS[arguments]
    except (KeyError, TypeError):  # new, or unhashable: the checks will name what is wrong
        spec = discriminator_spec(*arguments)
    check_logits(logits, reduction, ("real", "fake"))
    if spec.compares:
        return _relativistic(
            "discriminator_loss", logits, spec, ("real", "fake"), many, detach_means
        )
    if detach_means:
        _refuse_detached_means(detach_means, game)
    key = new_key(logits[0].device, generator) if spec.noisy else None
    if spec.statistics:
        found = loss_and_statistics("discriminator_loss", logits, spec, key)
        return _with_statistics(*found)
    loss = adversarial_loss("discriminator_loss", logits, spec, key)
    return (loss[:heads], loss[heads:]) if many and reduction == "none" else loss


@overload
def generator_loss(
    fake: Logits,
    *,
    real: Logits | None = ...,
    game: str = ...,
    reduction: Literal["mean", "sum"] = ...,
) -> Tensor: ...
@overload
def generator_loss(
    fake: Logits,
    *,
    real: Logits | None = ...,
    game: str = ...,
    reduction: Reduction = ...,
) -> Any: ...
def generator_loss(
    fake: Logits,
    *,
    real: Logits | None = None,
    game: str = "nonsaturating",
    reduction: Reduction = "mean",
) -> Any:
    """What the generator minimises: E[f_gen(D(G(z)))].

    {games}

    Around D = 0, where D rejects a sample, minimax and maximum likelihood are flat and the
    non-saturating loss is steep.

    "relativistic" and "relativistic_average" are those of :func:`discriminator_loss` with the sides
    swapped, E[softplus(-(D(G(z)) - D(x)))] and so on: they need ``real``, of which no gradient need
    be kept: score it under no_grad.

    Args:
        fake: logits D(G(z)), raw scores of any shape and strides, or a list or tuple of them
            (heads).
        real: logits D(x) likewise, for the games that compare; the others do not look at it.
        game: as for :func:`discriminator_loss`.
        reduction: "mean", "sum" or "none"; with several heads the mean over heads of each head's
            loss.

    Returns:
        a 0-d tensor of the logits' dtype (float32 for half precision under autocast); with
        reduction="none" a tensor shaped like ``fake`` (a tuple of them for several heads), with
        "relativistic_average" a pair, for ``fake`` and ``real``.

    Raises:
        ValueError, TypeError: as :func:`discriminator_loss`; no ``real`` in a game that compares.

    Example:
        >>> generator_loss(torch.zeros(8), game="wasserstein").item()
        -0.0
    """
    many = not isinstance(fake, Tensor)
    logits: Heads = heads_of(fake, "fake") if many else (fake,)  # type: ignore[assignment]
    arguments = ("G", game, len(logits), reduction)
    try:
        if is_dynamo_compiling():
            raise KeyError
        spec = SPECS[arguments]
    except (KeyError, TypeError):
        spec = generator_spec(*arguments)
    if spec.compares:
        if real is None:
            raise InputError(
                f"real: got None, but game={game!r} compares the fakes with real samples; "
                "give real=D(x)"
            )
        many = many or not isinstance(real, Tensor)
        logits = pair_of_heads(real, fake) if many else (real, fake)  # type: ignore[assignment]
        logits = logits[len(logits) // 2 :] + logits[: len(logits) // 2]
        check_logits(logits, spec.reduction, ("fake", "real"))
        return _relativistic("generator_loss", logits, spec, ("fake", "real"), many)
    check_logits(logits, spec.reduction, ("fake",))
    loss = adversarial_loss("generator_loss", logits, spec, None)
    return loss[0] if reduction == "none" and not many else loss


def _relativistic(
    op: str,
    logits: Heads,
    spec: LossSpec,
    sides: tuple[str, str],
    many: bool,
    detach_means: bool = False,
) -> Any:
    """The loss of the player whose logits come first, compared with the other side's."""
    heads = len(logits) // 2
    if spec.compares == "means":  # which of nothing are undefined whatever the reduction
        check_logits(logits, "mean", sides)
    else:
        check_pairs(logits, sides)
        if detach_means:
            _refuse_detached_means(detach_means, "relativistic")
        if spec.statistics:
            return _with_statistics(*loss_and_statistics(op, logits, spec, None))
        loss = adversarial_loss(op, logits, spec, None)
        return loss[0] if spec.reduction == "none" and not many else loss
    detach = _checks.flag("detach_means", detach_means)
    loss, statistics = means_compared(op, logits, spec, detach)
    if spec.statistics:
        return _with_statistics(loss, statistics)
    return (loss[:heads], loss[heads:]) if many and spec.reduction == "none" else loss


def _refuse_detached_means(got: Any, game: str) -> None:
    if _checks.flag("detach_means", got):
        raise InputError(
            f"detach_means: got True, but game={game!r} compares with no means; leave it out or "
            "play 'relativistic_average'"
        )


def _with_statistics(loss: Tensor, statistics: Tensor) -> LossAndStatistics:
    return LossAndStatistics(loss, *statistics.unbind())


def one_sided_loss(
    prediction: Logits,
    target_is_real: bool,
    *,
    game: str,
    reduction: Reduction,
    label_smoothing: float = 0.0,
    label_noise: float = 0.0,
    label_flip: float = 0.0,
    generator: torch.Generator | None = None,
) -> Any:
    """E[f_real] or E[f_fake]: one side of :func:`discriminator_loss`, for ``GANLoss``."""
    many = not isinstance(prediction, Tensor)
    logits: Heads = heads_of(prediction, "prediction") if many else (prediction,)  # type: ignore
    side = "real" if target_is_real else "fake"
    arguments = (side, game, len(logits), reduction, label_smoothing, label_noise, label_flip)
    try:
        if is_dynamo_compiling():
            raise KeyError
        spec = SPECS[arguments]
    except (KeyError, TypeError):
        spec = discriminator_spec(*arguments)
    check_logits(logits, spec.reduction, ("prediction",))
    key = new_key(logits[0].device, generator) if spec.noisy else None
    loss = adversarial_loss("discriminator_loss", logits, spec, key)
    return loss[0] if reduction == "none" and not many else loss


if discriminator_loss.__doc__ and generator_loss.__doc__:  # they are gone under python -OO
    discriminator_loss.__doc__ = discriminator_loss.__doc__.replace(
        "{games}", games.table("f_real", "f_fake", "paper")
    )
    generator_loss.__doc__ = generator_loss.__doc__.replace("{games}", games.table("f_gen"))
