"""Whether networks, samples and a recipe fit together: said before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganfast.errors import InputError, InputTypeError, one_line
from ganfast.functional.critics import refuse_compiled
from ganfast.train.recipe import Recipe


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Within, ``modules`` are in eval mode, so that what layers keep from batch to batch stays as
    it is; afterwards each layer is in the mode that it was in."""
    before = [(layer, layer.training) for module in modules for layer in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for layer, training in before:
            layer.training = training


def check_weights(generator: Any, critic: Any) -> None:
    """Raise InputError unless both are networks that can learn."""
    for name, network in (("generator", generator), ("critic", critic)):
        _check_weights(name, network)
    if {id(p) for p in generator.parameters()} & {id(p) for p in critic.parameters()}:
        raise InputError(
            "critic: it has weights of the generator, and each would undo what the other learns; "
            "give it weights of its own"
        )


def check_shapes(
    generator: nn.Module, critic: nn.Module, shape: tuple[int, ...], recipe: Any
) -> None:
    """Raise InputError unless the two networks, which are on one device, fit to samples of
    ``shape``, to each other and to ``recipe``."""
    if not isinstance(recipe, Recipe):
        raise InputTypeError(
            f"recipe: got {recipe!r}; give a Recipe, such as Recipe('hinge') or "
            "TrainConfig(...).recipe()"
        )
    if recipe.penalties:
        refuse_compiled(critic)
    if isinstance([*critic.modules()][-1], nn.Sigmoid):
        warnings.warn(
            "critic: it ends in a Sigmoid, and its scores should be raw ones: a game that wants "
            "probabilities takes the sigmoid itself; leave it out",
            stacklevel=4,
        )
    with (
        evaluating(generator, critic),
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
    ):
        _check_shapes(generator, critic, shape, recipe.latent_dim)


def _check_weights(name: str, network: Any) -> None:
    if not isinstance(network, nn.Module):
        raise InputTypeError(f"{name}: got a {type(network).__name__}; give a torch.nn.Module")
    weights = [p for p in network.parameters() if p.is_floating_point()]
    if not any(p.requires_grad for p in weights):
        raise InputError(f"{name}: got a network of which no weight learns; give one that does")
    for p in weights:
        if p.dtype != torch.float32 or p.is_meta:
            got = "on no device (meta)" if p.is_meta else f"of {p.dtype}"
            raise InputError(
                f"{name}: got weights {got}; give float32 ones (half precision is had by "
                "precision='bf16')"
            )


def _check_shapes(
    generator: nn.Module, critic: nn.Module, shape: tuple[int, ...], latent_dim: int
) -> None:
    device = next(generator.parameters()).device
    samples = _output(
        generator, torch.zeros((2, latent_dim), device=device),
        f"generator: it does not take noise (n, {latent_dim})", "give one that does, or latent_dim",
    )  # fmt: skip
    if tuple(samples.shape) != (2, *shape):
        raise InputError(
            f"generator: got samples of shape {tuple(samples.shape[1:])}; give one that makes them "
            f"of shape {shape}, as the source does"
        )
    if not samples.requires_grad:
        raise InputError(
            "generator: its samples have no gradient with respect to its weights; give one that "
            "computes with autograd, without no_grad() or detach()"
        )
    points = samples.detach().requires_grad_()
    takes = ", ".join(map(str, ("n", *shape)))
    scores = _output(critic, points, f"critic: it does not take samples ({takes})", "give another")
    if scores.shape[:1] != (2,):
        raise InputError(
            f"critic: got scores of shape {tuple(scores.shape)} for 2 samples; give one that keeps "
            "the batch in front"
        )
    if not scores.requires_grad or torch.autograd.grad(scores.sum(), points, allow_unused=True) == (
        None,
    ):
        raise InputError(
            "critic: its scores have no gradient with respect to the samples, so that no generator "
            "can learn from it; give one that computes with autograd, without no_grad() or detach()"
        )


def _output(network: Callable[..., Any], given: Tensor, refusal: str, advice: str) -> Tensor:
    """What ``network`` makes of ``given``, a float32 tensor."""
    try:
        output = network(given)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{refusal} ({one_line(error)}); {advice}") from error
    if not isinstance(output, Tensor) or output.dtype != torch.float32:
        is_tensor, kind = isinstance(output, Tensor), type(output).__name__
        got = f"a tensor of {output.dtype}" if is_tensor else f"a {kind}"
        raise InputError(f"{refusal.partition(':')[0]}: it returns {got}; give one that returns "
                         "a float32 tensor")  # fmt: skip
    return output
