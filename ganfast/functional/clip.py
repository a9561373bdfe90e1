"""Clipping of weights: checks, docstring, nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ganfast import _checks
from ganfast._dispatch import FLOATING, call, serve
from ganfast.errors import InputError, InputTypeError, Refusal
from ganfast.reference import optim as reference

__all__ = ["clip_weights_"]

_OP = "clip_weights_"

Parameters = nn.Module | Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]

_OLD = (SpectralNorm, WeightNorm)
_NORM_LAYERS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def clip_weights_(
    parameters: Parameters,
    bound: float,
    *,
    norm_layers: bool = True,
    return_fraction: bool = False,
) -> Tensor | None:
    """Brings every weight into [-bound, bound], in place: WGAN's critic after each of its steps.

    Arjovsky et al. 2017, arXiv:1701.07875. All tensors are clipped in one pass over memory, and on
    a CUDA device in one launch. NaN stays NaN, an infinite weight goes to the bound. With
    :class:`ganfast.optim.RMSprop` and its ``weight_clip`` the clip costs no pass of its own.

    Args:
        parameters: a module (its parameters, never its buffers), an iterable of tensors or of
            (name, tensor) pairs, or one tensor. Floating point, of any of float64, float32,
            float16 and bfloat16 side by side, of any strides. Gradients play no part.
        bound: c > 0, finite. Each dtype rounds it as it does every number.
        norm_layers: False leaves out the scale and shift of batch, instance, layer, group and RMS
            norms. The paper clips them too; a scale held near 0 shrinks what the layer passes on.
            Only for a module, whose layers are known.
        return_fraction: whether to return how many of the weights are at the bound. Where most
            are, the critic is a function of its signs alone and the bound is too tight.

    Returns:
        None; or the fraction, a 0-d float32 tensor on the first weight's device. Nothing waits for
        the device.

    Raises:
        ValueError: a bound that is not a finite number above 0; nothing to clip; complex, integer,
            sparse or uninitialised weights, by their name; norm_layers=False without a module.
        TypeError: something that is not a tensor, by its name.

    Warns:
        UserWarning: a weight of the module is parametrised, so that the clip does not bound it.

    Example:
        >>> critic = torch.nn.Linear(2, 1)
        >>> clip_weights_(critic, 0.01)
        >>> bool(critic.weight.abs().max() <= 0.01)
        True
    """
    bound = _checks.number("bound", bound, above=0, hint="as WGAN's 0.01")
    if isinstance(parameters, nn.Module) and not is_compiling():
        _warn_of_recomputed(parameters)
    named = _list(parameters, norm_layers)
    tensors = [item[1] for item in named] if named and isinstance(named[0], tuple) else named
    first = tensors[0] if tensors and isinstance(tensors[0], Tensor) else None
    kernels = reference if first is None else serve(_OP, (first,))
    if kernels is reference:
        count = _one_by_one(parameters, named, tensors, bound, return_fraction)
    else:
        try:
            count = kernels.clip_weights_(tensors, bound, return_fraction)
        except Refusal:  # mixed devices, memory with holes, or what is no weight at all
            count = _one_by_one(parameters, named, tensors, bound, return_fraction)
    if not return_fraction:
        return None
    return (count / sum(x.numel() for x in tensors)).float()


def _warn_of_recomputed(module: nn.Module) -> None:
    """Says which weight is made from what is clipped at each forward, and so is not bounded."""
    for name, layer in module.named_modules():
        made = [hook.name for hook in layer._forward_pre_hooks.values() if isinstance(hook, _OLD)]
        if is_parametrized(layer):
            made += list(layer.parametrizations)
        if made:
            warnings.warn(
                f"parameters: {f'{name}.{made[0]}'.lstrip('.')} is parametrised (spectral_norm, "
                "weight_norm, ...): it is made anew from what is clipped, and need not lie within "
                "the bound; clip a critic without parametrisations",
                stacklevel=3,
            )
            return


def _list(parameters: Parameters, norm_layers: bool) -> list[Any]:
    if isinstance(parameters, nn.Module):
        return list(parameters.parameters()) if norm_layers else list(_without_norms(parameters))
    if not norm_layers:
        raise InputError(
            "norm_layers: got False for a list of tensors, which does not say what layer each is "
            "of; give the module"
        )
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _without_norms(module: nn.Module) -> Iterator[Tensor]:
    """The parameters of ``module`` but those of norm layers, each once."""
    norms = (layer for layer in module.modules() if isinstance(layer, _NORM_LAYERS))
    left_out = {id(p) for layer in norms for p in layer.parameters(recurse=False)}
    return (p for p in module.parameters() if id(p) not in left_out)


def _one_by_one(
    parameters: Parameters, named: list[Any], tensors: list[Tensor], bound: float, count: bool
) -> Any:
    """Each tensor, once all are known to be weights, by the backend that serves it."""
    _check(parameters, named)
    counts = [call(_OP, serve(_OP, (x,)), _OP, [x], bound, count) for x in tensors]
    if not count:
        return None
    first = tensors[0].device
    return torch.stack([n.to(first, non_blocking=True) for n in counts]).sum()


def _check(parameters: Parameters, items: list[Any]) -> None:
    """The error for the first of ``items`` that cannot be clipped."""
    if not items:
        raise InputError(
            "parameters: got nothing to clip; a generator gives its parameters only once, "
            "so give module or module.parameters() itself"
        )
    names = {}
    if isinstance(parameters, nn.Module):
        names = {id(p): name for name, p in parameters.named_parameters()}
    for index, item in enumerate(items):
        name, x = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        name = f"parameters: {name or names.get(id(x), f'item {index}')}"
        if not isinstance(x, Tensor):
            raise InputTypeError(f"{name} is a {type(x).__name__}; give tensors")
        if isinstance(x, nn.UninitializedParameter):
            raise InputError(f"{name} has no weights yet; run the module on a batch first")
        if x.layout is not torch.strided:
            raise InputError(f"{name} is {x.layout}; give dense tensors (x.to_dense())")
        if x.dtype not in FLOATING:
            raise InputError(
                f"{name} is {x.dtype}, which has no order or no fractions to clip; "
                "give float32, float64, float16 or bfloat16"
            )
