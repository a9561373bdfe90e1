"""What happens to a matrix with a negative eigenvalue that round-off does not explain."""

from __future__ import annotations

import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.linalg.inputs import Matrices, exponents, power_of_two


class NotDefinite(Exception):
    """Found deep inside, where the matrix has no name: whoever knows it asks refuse_indefinite."""


def refuse_indefinite(name: str, a: Tensor, tolerance: float) -> None:
    """Raise InputError with the most negative eigenvalue, if one is beyond round-off."""
    a = a.detach()
    scale = exponents(a.abs().amax((-2, -1)))
    w = torch.linalg.eigvalsh(a * power_of_two(-scale)[..., None, None])
    w = w.reshape(-1, a.shape[-1])
    top = w.abs().amax(-1)
    relative = torch.where(top > 0, w[:, 0] / top, 0)
    worst = int(relative.argmin())
    if float(relative[worst]) < -tolerance:
        unit = float(power_of_two(scale).reshape(-1)[worst])
        low, high = float(w[worst, 0]) * unit, float(w[worst, -1]) * unit
        where = "" if a.dim() == 2 else f"matrix {worst} of the batch: "
        raise InputError(
            f"{name}: got a matrix that is not positive semi-definite ({where}its eigenvalues run "
            f"from {low:.6g} to {high:.6g}); give one without eigenvalues below -{tolerance:g} of "
            "the largest"
        )


def require_definite(a: Matrices) -> None:
    """refuse_indefinite for matrices that are not factored: n^3/3 flops where all is well."""
    if a.x.numel() == 0:
        return
    shift = (a.tolerance * a.peak)[..., None, None] * torch.eye(a.x.shape[-1]).to(a.x)
    if bool(torch.linalg.cholesky_ex(a.x + shift).info.any()):
        refuse_indefinite(a.name, a.x, a.tolerance)
