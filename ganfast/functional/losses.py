"""The losses of every game: checks, docstrings, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from ganfast import _checks, games
from ganfast._autograd.losses import adversarial_loss
from ganfast._dispatch import FLOATING
from ganfast._philox import new_key
from ganfast.errors import InputError, InputTypeError
from ganfast.games import FAKE, REAL, REDUCTIONS, LossSpec, Reduction

__all__ = ["discriminator_loss", "generator_loss"]

Logits = Tensor | Sequence[Tensor]
Heads = tuple[Tensor, ...]


_SPECS: dict[tuple[Any, ...], LossSpec] = {}
"""Specs that passed the checks, by the arguments that made them: the checks outlast the kernel."""


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
) -> Any:
    """What the discriminator (critic) minimises: E[f_real(D(x))] + E[f_fake(D(G(z)))].

    {games}

    A soft target t turns the cross-entropy into softplus(x) - t*x and the square into
    (x - t)^2 / 2.

    Args:
        real: logits D(x), raw scores before any sigmoid, of any shape and strides; or a list or
            tuple of such tensors, one for each head of a multi-scale discriminator.
        fake: logits D(G(z)), likewise. The batch need not be as large as the real one: each side
            has its own mean. Detach the samples before the critic sees them, or the generator is
            differentiated too.
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

    Returns:
        a 0-d tensor of the logits' dtype (float32 for half precision under autocast); with
        reduction="none" a pair of tensors shaped like ``real`` and ``fake`` (of tuples for several
        heads). Accumulated in float32 (float64 for float64). Differentiable to any order.

    Raises:
        ValueError: unknown game or reduction, integer logits, mixed devices or dtypes, different
            numbers of heads, an empty side with reduction="mean", a rate out of its range, or a
            soft label in a game that has none.
        TypeError: ``real`` or ``fake`` is not a tensor, or a list or tuple of tensors.

    Example:
        >>> real, fake = torch.randn(64, 1), torch.randn(64, 1)
        >>> loss = discriminator_loss(real, fake, game="nonsaturating", label_smoothing=0.1)
        >>> loss.shape
        torch.Size([])
    """
    many = not (isinstance(real, Tensor) and isinstance(fake, Tensor))
    logits: Heads = _pair_of_heads(real, fake) if many else (real, fake)  # type: ignore[assignment]
    heads = len(logits) // 2
    arguments = ("D", game, heads, reduction, label_smoothing, label_noise, label_flip)
    try:
        if is_dynamo_compiling():  # a lookup would compile anew for each value of a float
            raise KeyError
        spec = _SPECS[arguments]
    except (KeyError, TypeError):  # new, or unhashable: the checks will name what is wrong
        spec = discriminator_spec(*arguments)
    _check(logits, reduction, ("real", "fake"))
    key = new_key(logits[0].device, generator) if spec.noisy else None
    loss = adversarial_loss("discriminator_loss", logits, spec, key)
    return (loss[:heads], loss[heads:]) if many and reduction == "none" else loss


def generator_loss(
    fake: Logits, *, game: str = "nonsaturating", reduction: Reduction = "mean"
) -> Any:
    """What the generator minimises: E[f_gen(D(G(z)))].

    {games}

    Around D = 0, where D rejects a sample, minimax and maximum likelihood are flat and the
    non-saturating loss is steep.

    Args:
        fake: logits D(G(z)), raw scores of any shape and strides, or a list or tuple of them
            (heads).
        game: as for :func:`discriminator_loss`.
        reduction: "mean", "sum" or "none"; with several heads the mean over heads of each head's
            loss.

    Returns:
        a 0-d tensor of the logits' dtype (float32 for half precision under autocast); with
        reduction="none" a tensor shaped like ``fake`` (a tuple of them for several heads).

    Raises:
        ValueError, TypeError: as :func:`discriminator_loss`.

    Example:
        >>> generator_loss(torch.zeros(8), game="wasserstein").item()
        -0.0
    """
    many = not isinstance(fake, Tensor)
    logits: Heads = _heads(fake, "fake") if many else (fake,)  # type: ignore[assignment]
    arguments = ("G", game, len(logits), reduction)
    try:
        if is_dynamo_compiling():
            raise KeyError
        spec = _SPECS[arguments]
    except (KeyError, TypeError):
        spec = _generator_spec(*arguments)
    _check(logits, spec.reduction, ("fake",))
    loss = adversarial_loss("generator_loss", logits, spec, None)
    return loss[0] if reduction == "none" and not many else loss


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
    logits: Heads = _heads(prediction, "prediction") if many else (prediction,)  # type: ignore
    side = "real" if target_is_real else "fake"
    arguments = (side, game, len(logits), reduction, label_smoothing, label_noise, label_flip)
    try:
        if is_dynamo_compiling():
            raise KeyError
        spec = _SPECS[arguments]
    except (KeyError, TypeError):
        spec = discriminator_spec(*arguments)
    _check(logits, spec.reduction, ("prediction",))
    key = new_key(logits[0].device, generator) if spec.noisy else None
    loss = adversarial_loss("discriminator_loss", logits, spec, key)
    return loss[0] if reduction == "none" and not many else loss


if discriminator_loss.__doc__ and generator_loss.__doc__:  # they are gone under python -OO
    discriminator_loss.__doc__ = discriminator_loss.__doc__.replace(
        "{games}", games.table("f_real", "f_fake", "paper")
    )
    generator_loss.__doc__ = generator_loss.__doc__.replace("{games}", games.table("f_gen"))


# ---- specs: what the arguments mean, checked once and remembered ---------------------


def _remember(arguments: tuple[Any, ...], spec: LossSpec) -> LossSpec:
    if not torch.compiler.is_compiling():
        if len(_SPECS) >= 1024:  # a value that changes at each step must not keep the others out
            _SPECS.clear()
        _SPECS[arguments] = spec
    return spec


def discriminator_spec(
    side: str,
    game: str,
    heads: int,
    reduction: Reduction,
    smoothing: float,
    noise: float,
    flip: float,
) -> LossSpec:
    row = games.find(game)
    _checks.one_of("reduction", reduction, REDUCTIONS)
    smoothing = _checks.number("label_smoothing", smoothing, least=0, below=1)
    noise = _checks.number("label_noise", noise, least=0)
    flip = _checks.number("label_flip", flip, least=0, most=1)
    rates = {"label_smoothing": smoothing, "label_noise": noise, "label_flip": flip}
    for name, rate in rates.items():
        if rate and not row.soft_labels:
            soft = ", ".join(name for name, game in games.GAMES.items() if game.soft_labels)
            raise InputError(
                f"{name}: got {rate}, but {row.name} has no labels to soften; "
                f"leave it at 0 or play one of {soft}"
            )
    of_side = {"real": (REAL - smoothing,), "fake": (FAKE,), "D": (REAL - smoothing, FAKE)}[side]
    spec = LossSpec(
        games.PHIS[row.discriminator],
        tuple(target for target in of_side for _ in range(heads)),
        heads,
        reduction,
        flip,
        noise,
    )
    return _remember((side, game, heads, reduction, smoothing, noise, flip), spec)


def _generator_spec(side: str, game: str, heads: int, reduction: Reduction) -> LossSpec:
    row = games.find(game)
    _checks.one_of("reduction", reduction, REDUCTIONS)
    target = (row.generator_target,) * heads
    spec = LossSpec(games.PHIS[row.generator], target, heads, reduction)
    return _remember((side, game, heads, reduction), spec)


# ---- checks, each an error at the call that says what to do --------------------------


def _pair_of_heads(real: Logits, fake: Logits) -> tuple[Tensor, ...]:
    reals, fakes = _heads(real, "real"), _heads(fake, "fake")
    if isinstance(real, Tensor) or isinstance(fake, Tensor) or len(reals) != len(fakes):
        raise InputError(
            f"real, fake: got {_count(real)} and {_count(fake)}; give both sides the same heads"
        )
    return reals + fakes


def _heads(logits: Logits, name: str) -> tuple[Tensor, ...]:
    if isinstance(logits, Tensor):
        return (logits,)
    if not isinstance(logits, (list, tuple)) or not all(isinstance(x, Tensor) for x in logits):
        cure = "give a tensor or a list of tensors"
        if isinstance(logits, dict):
            tensors = ", ".join(repr(key) for key, x in logits.items() if isinstance(x, Tensor))
            cure = f"give the scores alone, one of {tensors}" if tensors else cure
        raise InputTypeError(f"{name}: got {_count(logits)}; {cure}")
    if not logits:
        raise InputError(f"{name}: got an empty {type(logits).__name__}; give at least one head")
    return tuple(logits)


def _count(logits: Any) -> str:
    if isinstance(logits, Tensor):
        return "a tensor"
    if isinstance(logits, (list, tuple)) and all(isinstance(x, Tensor) for x in logits):
        return f"a {type(logits).__name__} of {len(logits)} tensors"
    return f"a {type(logits).__name__}"


def _check(logits: tuple[Tensor, ...], reduction: str, sides: tuple[str, ...]) -> None:
    first = logits[0]
    dtype, device = first.dtype, first.device
    if dtype in FLOATING:
        for x in logits:
            if x is not first and (x.dtype is not dtype or x.device != device):
                break
            if reduction == "mean" and not x.numel():
                break
        else:
            return
    _complain(logits, sides)


def _complain(logits: tuple[Tensor, ...], sides: tuple[str, ...]) -> None:
    """The error for the first of ``logits`` that :func:`_check` did not accept."""
    first = logits[0]
    for index, x in enumerate(logits):
        name = sides[index * len(sides) // len(logits)]
        if x.dtype not in FLOATING:
            raise InputError(
                f"{name}: got {x.dtype} logits; "
                "give float32, float64, float16 or bfloat16 (x.float())"
            )
        if x.dtype != first.dtype:
            raise InputError(
                f"{name}: got {x.dtype} where {sides[0]} is {first.dtype}; give both one dtype"
            )
        if x.device != first.device:
            raise InputError(
                f"{name}: is on {x.device} but {sides[0]} is on {first.device}; move one of them"
            )
    for index, x in enumerate(logits):
        if x.numel() == 0:
            name = sides[index * len(sides) // len(logits)]
            raise InputError(
                f"{name}: is empty (shape {tuple(x.shape)}), and the mean of nothing is undefined; "
                "give at least one logit or reduction='sum'"
            )
