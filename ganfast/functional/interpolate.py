"""Points between real and fake samples: checks and docstring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganfast._autograd import interpolate as _autograd
from ganfast._dispatch import FLOATING
from ganfast.errors import InputError, InputTypeError

__all__ = ["interpolate"]


def interpolate(
    real: Tensor,
    fake: Tensor,
    *,
    group_size: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """eps_i real_i + (1 - eps_i) fake_i with one eps_i ~ U[0, 1) for each sample: where WGAN-GP
    penalises its critic (Gulrajani et al. 2017, arXiv:1704.00028).

    One pass over memory: eps is drawn where it is used and never expanded to the samples' shape.

    Args:
        real: samples (n, ...), float32, float64, float16 or bfloat16, in any layout.
        fake: as many samples of the same shape on the same device. Where its dtype differs, both
            are taken to the wider one, as torch's own operators do.
        group_size: this many neighbours share one eps (PacGAN, arXiv:1712.04086: the critic sees
            them as one sample). It divides n.
        generator: source of eps; the default generator of the samples' device if None. The same
            CPU generator state gives the same eps on every device and backend, so a run that
            restores it draws on as if it had never stopped.

    Returns:
        a tensor shaped and laid out like ``real``. Computed in float32 (float64 for float64) and
        rounded once. Gradients flow to ``real`` (times eps) and ``fake`` (times 1 - eps) if they
        require them, to any order; detach a fake that should not be differentiated.

    Raises:
        ValueError: shapes or devices differ, the dtype is not floating point, a tensor without
            dimensions, or a group_size that does not divide the number of samples.
        TypeError: ``real`` or ``fake`` is not a tensor.

    Example:
        >>> real, fake = torch.ones(8, 3, 4, 4), torch.zeros(8, 3, 4, 4)
        >>> eps = interpolate(real, fake)
        >>> bool((eps == eps[:, :1, :1, :1]).all())
        True
    """
    check_samples(real, "real", group_size)
    if not isinstance(fake, Tensor) or fake.dtype is not real.dtype or fake.shape != real.shape:
        real, fake = _matched(real, fake)
    if not (real.is_cpu and fake.is_cpu) and fake.device != real.device:
        raise InputError(f"fake: is on {fake.device} but real is on {real.device}; move one")
    return _autograd.interpolate(real, fake, generator, group_size)


def _matched(real: Tensor, fake: Any) -> tuple[Tensor, Tensor]:
    """Both in the wider dtype, if they have the same shape."""
    check_samples(fake, "fake")
    if real.shape != fake.shape:
        raise InputError(
            f"real, fake: got shapes {tuple(real.shape)} and {tuple(fake.shape)}; "
            "give as many samples of the same shape"
        )
    wider = torch.promote_types(real.dtype, fake.dtype)
    return real.to(wider), fake.to(wider)


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
