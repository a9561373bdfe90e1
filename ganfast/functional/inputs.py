"""What a critic is given: samples in one tensor, or in a list, tuple or dict of tensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ganfast._dispatch import FLOATING
from ganfast._philox import new_key
from ganfast.errors import InputError, InputTypeError

Inputs = Tensor | Sequence[Tensor] | dict[Any, Tensor]
"""Sample i is row i of the tensor, or of each of them: images at several scales, the adjacency and
the features of a graph."""


def check_samples(x: Any, name: str, group_size: int = 1) -> None:
    """What holds for every tensor of samples; InputError or TypeError where it does not."""
    if not isinstance(x, Tensor):
        raise InputTypeError(f"{name}: got a {type(x).__name__}; give a tensor of samples")
    if x.dtype not in FLOATING:
        raise InputError(
            f"{name}: got {x.dtype}; give float32, float64, float16 or bfloat16 (x.float())"
        )
    if x.dim() == 0:
        raise InputError(f"{name}: got a tensor without dimensions; the first is the sample's")
    if type(group_size) is not int or (
        group_size != 1 and (group_size < 1 or x.shape[0] % group_size)
    ):
        raise InputError(
            f"group_size: got {group_size!r} for {x.shape[0]} samples; "
            "give a positive integer that divides them"
        )


def tensors_of(inputs: Any) -> list[Any]:
    """The tensors of ``inputs``, in order, unchecked."""
    if isinstance(inputs, dict):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def names_of(inputs: Any, name: str) -> list[str]:
    """What a message calls each of them: "real[0]", "real['adjacency']"."""
    if isinstance(inputs, dict):
        return [f"{name}[{key!r}]" for key in inputs]
    if isinstance(inputs, (list, tuple)):
        return [f"{name}[{index}]" for index in range(len(inputs))]
    return [name]


def like(inputs: Any, tensors: Sequence[Tensor]) -> Any:
    """``tensors`` in the form that ``inputs`` have."""
    if isinstance(inputs, Tensor):
        return tensors[0]
    if isinstance(inputs, dict):
        found = {} if type(inputs) is dict else copy.copy(inputs)
        found.update(zip(inputs, tensors, strict=True))
        return found
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):  # a NamedTuple
        return type(inputs)(*tensors)
    return tuple(tensors) if isinstance(inputs, tuple) else list(tensors)


def check_inputs(inputs: Any, name: str, group_size: int = 1) -> list[Tensor]:
    """The tensors of ``inputs``, each of samples, as many of one dtype and device in each."""
    if isinstance(inputs, Tensor):
        check_samples(inputs, name, group_size)
        return [inputs]
    tensors, names = tensors_of(inputs), names_of(inputs, name)
    if not tensors:
        raise InputError(f"{name}: got an empty {type(inputs).__name__}; give at least one tensor")
    first = tensors[0]
    for x, its_name in zip(tensors, names, strict=True):
        check_samples(x, its_name, group_size)
        for what, got, wanted in (
            ("{} samples", x.shape[0], first.shape[0]),
            ("{}", x.dtype, first.dtype),
            ("a tensor on {}", x.device, first.device),
        ):
            if got != wanted:
                raise InputError(
                    f"{its_name}: got {what.format(got)} where {names[0]} has "
                    f"{what.format(wanted)}; give the same in both"
                )
    return tensors


def in_order_of(real: Any, fake: Any) -> Any:
    """``fake``, a dict in the order of ``real``; InputError unless both have the same inputs."""
    if isinstance(real, dict) and isinstance(fake, dict) and real.keys() == fake.keys():
        return {key: fake[key] for key in real}
    if names_of(real, "") != names_of(fake, ""):
        raise InputError(
            f"real, fake: got {_form(real)} and {_form(fake)}; give both sides the same inputs"
        )
    return fake


def _form(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return "a tensor"
    if isinstance(inputs, dict):
        return f"a dict of {', '.join(map(repr, inputs)) or 'nothing'}"
    count = f" of {len(inputs)}" if isinstance(inputs, (list, tuple)) else ""
    return f"a {type(inputs).__name__}{count}"


def joined(gradients: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> Tensor:
    """(n, elements of a sample in all ``tensors``): one row for each sample, whose norm is that of
    its gradient. An input without a gradient, on which nothing depends, has zeros."""
    rows = [
        torch.zeros_like(x) if gradient is None else gradient
        for gradient, x in zip(gradients, tensors, strict=True)
    ]
    return torch.cat([row.flatten(1) if row.dim() > 1 else row.unsqueeze(1) for row in rows], 1)


def noise_like(x: Tensor, kind: str, generator: torch.Generator | None) -> Tensor:
    """N(0, 1) (kind "normal") or U(0, 1) ("uniform") for each element, drawn where ``x`` is."""
    if generator is not None and generator.device.type != x.device.type and not is_compiling():
        key = int(new_key(x.device, generator))
        generator = torch.Generator(x.device).manual_seed(key)
    if torch._C._are_functorch_transforms_active():
        # vmap(randomness="different") fills nothing that all samples share.
        draw = torch.randn if kind == "normal" else torch.rand
        return draw(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    empty = torch.empty_like(x)
    if kind == "normal":
        return empty.normal_(generator=generator)
    return empty.uniform_(generator=generator)
