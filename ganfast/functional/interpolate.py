"""Points between real and fake samples: checks and docstring."""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from ganfast._autograd import interpolate as _autograd
from ganfast._philox import new_key
from ganfast.errors import InputError
from ganfast.functional.inputs import (
    Inputs,
    check_inputs,
    check_samples,
    in_order_of,
    like,
    names_of,
)

__all__ = ["interpolate"]


@overload
def interpolate(
    real: Tensor,
    fake: Tensor,
    *,
    group_size: int = ...,
    generator: torch.Generator | None = ...,
) -> Tensor: ...
@overload
def interpolate(
    real: Inputs,
    fake: Inputs,
    *,
    group_size: int = ...,
    generator: torch.Generator | None = ...,
) -> Any: ...
def interpolate(
    real: Inputs,
    fake: Inputs,
    *,
    group_size: int = 1,
    generator: torch.Generator | None = None,
) -> Any:
    """eps_i real_i + (1 - eps_i) fake_i with one eps_i ~ U[0, 1) for each sample: where WGAN-GP
    penalises its critic (Gulrajani et al. 2017, arXiv:1704.00028).

    One pass over memory: eps is drawn where it is used and never expanded to the samples' shape.

    Args:
        real: samples (n, ...), float32, float64, float16 or bfloat16, in any layout. Or, for a
            critic of several tensors, a list, tuple or dict of them, each with the same n samples:
            one eps_i serves sample i in all of them.
        fake: as many samples of the same shape on the same device. Where its dtype differs, both
            are taken to the wider one, as torch's own operators do.
        group_size: this many neighbours share one eps (PacGAN, arXiv:1712.04086: the critic sees
            them as one sample). It divides n.
        generator: source of eps; the default generator of the samples' device if None. The same
            CPU generator state gives the same eps on every device and backend, so a run that
            restores it draws on as if it had never stopped.

    Returns:
        a tensor shaped and laid out like ``real``, or several in the form of ``real``. Computed in
        float32 (float64 for float64) and rounded once. Gradients flow to ``real`` (times eps) and
        ``fake`` (times 1 - eps) if they require them, to any order; detach a fake that should not
        be differentiated.

    Raises:
        ValueError: shapes or devices differ, the dtype is not floating point, a tensor without
            dimensions, a group_size that does not divide the number of samples, or several tensors
            that differ in number, names, samples, dtype or device.
        TypeError: ``real`` or ``fake`` is not a tensor, or a list, tuple or dict of tensors.

    Example:
        >>> real, fake = torch.ones(8, 3, 4, 4), torch.zeros(8, 3, 4, 4)
        >>> eps = interpolate(real, fake)
        >>> bool((eps == eps[:, :1, :1, :1]).all())
        True
    """
    if isinstance(real, Tensor):
        real, fake = _checked(real, fake, "real", "fake", group_size)
        return _autograd.interpolate(real, fake, new_key(real.device, generator), group_size)
    reals = check_inputs(real, "real", group_size)
    fake = in_order_of(real, fake)
    fakes = check_inputs(fake, "fake")
    names = names_of(real, "real"), names_of(fake, "fake")
    pairs = [_checked(*each, group_size) for each in zip(reals, fakes, *names, strict=True)]
    key = new_key(reals[0].device, generator)  # one: eps_i depends on it and on i alone
    return like(real, [_autograd.interpolate(x, y, key, group_size) for x, y in pairs])


def _checked(
    real: Tensor, fake: Any, of_real: str, of_fake: str, group_size: int
) -> tuple[Tensor, Tensor]:
    check_samples(real, of_real, group_size)
    if not isinstance(fake, Tensor) or fake.dtype is not real.dtype or fake.shape != real.shape:
        real, fake = _matched(real, fake, of_real, of_fake)
    if not (real.is_cpu and fake.is_cpu or fake.device == real.device):
        raise InputError(
            f"{of_fake}: is on {fake.device} but {of_real} is on {real.device}; move one"
        )
    return real, fake


def _matched(real: Tensor, fake: Any, of_real: str, of_fake: str) -> tuple[Tensor, Tensor]:
    """Both in the wider dtype, if they have the same shape."""
    check_samples(fake, of_fake)
    if real.shape != fake.shape:
        raise InputError(
            f"{of_real}, {of_fake}: got shapes {tuple(real.shape)} and {tuple(fake.shape)}; "
            "give as many samples of the same shape"
        )
    wider = torch.promote_types(real.dtype, fake.dtype)
    return real.to(wider), fake.to(wider)
