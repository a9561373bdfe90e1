"""torchmetrics (https://github.com/Lightning-AI/torchmetrics)."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ganfast.compat import arrays
from ganfast.compat.project import Project
from ganfast.linalg import frechet_distance


def _compute_fid(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor:
    """The Fréchet distance, by ganfast: differentiable, on the same device, of the same dtype."""
    given = (mu1, sigma1, mu2, sigma2)
    dtype = reduce(torch.promote_types, (value.dtype for value in given))
    return frechet_distance(*(value.to(torch.float64) for value in given)).to(dtype)


def _example() -> tuple[Any, ...]:
    return tuple(torch.from_numpy(value) for value in arrays.example())


PROJECT = Project(
    name="torchmetrics",
    distribution="torchmetrics",
    home="torchmetrics.image.fid",
    replacement=_compute_fid,
    example=_example,
)
