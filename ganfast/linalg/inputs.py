"""The arguments of ganfast.linalg: three kinds of array, checked and rescaled, and the way back."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganfast._autograd.closed_form import is_traced
from ganfast._dispatch import serve
from ganfast.errors import InputError, InputTypeError
from ganfast.reference import linalg as reference

# Relative to the largest entry (symmetry) or eigenvalue (definiteness). Other tools often compute
# covariances in float32, whatever they store them in: those are off by up to 1e-6.
TOLERANCE = 1e-5
EPS = torch.finfo(torch.float64).eps
_HALF_TOLERANCE = 1e-2  # float16 and bfloat16 hold two to three digits
_ROUND_OFF = 64 * EPS  # what a matrix product leaves between the two triangles of a covariance
_FAR = 100  # a binary exponent; scales beyond it are rescaled


class Matrices(NamedTuple):
    """A checked argument: finite symmetric float64 matrices, and what is known of them."""

    name: str
    x: Tensor
    """(..., n, n)"""
    peak: Tensor
    """(...): the largest |entry|"""
    tolerance: float
    """How negative an eigenvalue may be, relative to the largest, and count as round-off."""


class Arrays:
    """The arguments of one call by name, all of one kind, as tensors."""

    def __init__(self, **given: Any) -> None:
        kinds = {name: _kind(name, value) for name, value in given.items()}
        first = next(iter(kinds))
        for name, kind in kinds.items():
            if kind != kinds[first]:
                raise InputError(
                    f"{name}: got a {kind} array, but {first} is a {kinds[first]} one; "
                    "give arrays of one kind"
                )
        self.kind = kinds[first]
        self.tensors = {name: self._tensor(name, value) for name, value in given.items()}
        for name, x in self.tensors.items():
            if x.device != self.tensors[first].device:
                raise InputError(
                    f"{name}: got an array on {x.device}, but {first} is on "
                    f"{self.tensors[first].device}; give arrays on one device"
                )
        self.dtypes = {name: x.dtype for name, x in self.tensors.items()}

    def _tensor(self, name: str, value: Any) -> Tensor:
        if self.kind == "NumPy":
            if value.dtype.kind != "f":
                raise _not_floating(name, value.dtype)
            # torch reads neither foreign byte orders nor negative strides, and warns of arrays that
            # are not writeable; float16 and float32 keep their dtype for sqrtm's result.
            dtype = value.dtype if value.dtype.itemsize < 8 else np.dtype(np.float64)
            value = np.asarray(value, dtype=dtype.newbyteorder("="), order="C")
            x = torch.from_numpy(value if value.flags.writeable else value.copy())
        else:
            x = torch.from_dlpack(value) if self.kind == "CuPy" else value
        if not x.is_floating_point():
            raise _not_floating(name, x.dtype)
        return x

    def float64(self, name: str) -> Tensor:
        """The argument in float64, checked to be finite."""
        x = self.tensors[name].to(torch.float64)
        if not is_traced() and not bool(torch.isfinite(x).all()):
            raise _not_finite(name)
        return x

    def symmetric(self, name: str, *, hint: str = "") -> Matrices:
        """The argument as finite, square, symmetric float64 matrices.

        A matrix that is symmetric to round-off is left alone, since either triangle of it will do;
        any other becomes the mean with its transpose. Raises InputError where an entry differs from
        its mirror by more than TOLERANCE of the largest entry (1e-2 for float16 and bfloat16);
        where torch traces, that matrix becomes NaN.
        """
        x = self.tensors[name]
        shape = tuple(x.shape)
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise InputError(f"{name}: got shape {shape}; give square matrices, (..., n, n)")
        x = x.to(torch.float64)
        if x.numel() == 0:
            return Matrices(name, x, x.new_zeros(shape[:-2]), self.tolerance(name))
        flat = x.detach()
        if is_traced():
            peak, off = reference.symmetry(flat)
            fine = (off <= self.tolerance(name))[..., None, None]
            x = torch.where(fine, (x + x.mT) / 2, torch.nan)
            return Matrices(name, x, peak, self.tolerance(name))
        peak, off = serve("symmetry", (flat,)).symmetry(flat)
        limit, worst = self.tolerance(name), float(off.max())
        if worst <= _ROUND_OFF:
            return Matrices(name, x, peak, limit)
        if not bool(peak.isfinite().all()):
            raise _not_finite(name)
        if worst > limit:
            raise InputError(
                f"{name}: got a matrix that is not symmetric (an entry differs from its mirror by "
                f"{worst:.3g} of the largest entry); give one that is symmetric to {limit:g}{hint}"
            )
        return Matrices(name, (x + x.mT) / 2, peak, limit)

    def tolerance(self, name: str) -> float:
        half = self.dtypes[name] in (torch.float16, torch.bfloat16)
        return _HALF_TOLERANCE if half else TOLERANCE

    def wrap(self, result: Tensor) -> Any:
        """``result`` in the kind that was given; a NumPy scalar for a 0-d NumPy result."""
        if self.kind == "NumPy":
            return result.numpy()[()]
        if self.kind == "CuPy":
            return sys.modules["cupy"].from_dlpack(result)
        return result


def _not_finite(name: str) -> InputError:
    return InputError(
        f"{name}: got values that are not finite; check the features that they come from"
    )


def _not_floating(name: str, dtype: Any) -> InputError:
    return InputTypeError(f"{name}: got dtype {dtype}; give a floating dtype")


def _kind(name: str, value: Any) -> str:
    if isinstance(value, Tensor):
        return "torch"
    if isinstance(value, np.ndarray):
        return "NumPy"
    if type(value).__module__.partition(".")[0] == "cupy":  # never imported for the question
        return "CuPy"
    raise InputTypeError(
        f"{name}: got {type(value).__name__}; give a torch tensor, a NumPy array or a CuPy array"
    )


def check_sizes(a: Matrices, b: Matrices) -> None:
    if a.x.shape[-1] != b.x.shape[-1]:
        raise InputError(
            f"{b.name}: got shape {tuple(b.x.shape)}; give matrices of the size of {a.name}, "
            f"{tuple(a.x.shape)}"
        )


def common_batch(first: tuple[str, Tensor, int], second: tuple[str, Tensor, int]) -> torch.Size:
    """The leading shape that two (name, tensor, own dimensions) broadcast to."""
    shapes = [x.shape[: x.dim() - own] for _, x, own in (first, second)]
    if shapes[0] == shapes[1]:  # mostly; the other way imports SymPy, a third of a second
        return shapes[0]
    try:
        return torch.broadcast_shapes(*shapes)
    except RuntimeError:
        raise InputError(
            f"{second[0]}: got leading dimensions {tuple(shapes[1])}; give ones that broadcast "
            f"with {tuple(shapes[0])} of {first[0]}"
        ) from None


def flatten_batch(x: Tensor, batch: torch.Size) -> Tensor:
    """``x`` (..., n, m), broadcast to the leading shape ``batch``, as (B, n, m)."""
    return x.expand(*batch, *x.shape[-2:]).reshape(-1, *x.shape[-2:])


def rescale(x: Tensor, peak: Tensor) -> tuple[Tensor, Tensor | None]:
    """x / 4^e, of which products of a few factors neither overflow nor underflow, and e (...).

    Only matrices beyond 2^-100 .. 2^100 (1e-30 .. 1e30) are scaled: it takes a pass over them that
    hardly anybody needs. Where none is, e is None.
    """
    if is_traced():
        exponent = (peak.detach().clamp(1e-300, 1e300).log2() / 2).floor()
        exponent = torch.where(2 * exponent.abs() > _FAR, exponent, 0)
        return x * torch.exp2(-2 * exponent)[..., None, None], exponent
    low, high = peak.detach().aminmax()
    if float(low) > 2.0**-_FAR and float(high) < 2.0**_FAR:
        return x, None
    exponent = _exponent(peak)
    exponent = torch.where(2 * exponent.abs() > _FAR, exponent, 0)
    return x * _power(2 * -exponent)[..., None, None], exponent


def unscale(x: Tensor, *exponents: Tensor | None) -> Tensor:
    """``x`` times 2^e for each e of rescale: for what is linear in the root of each matrix."""
    for exponent in exponents:
        if exponent is not None:
            x = x * _power(exponent)
    return x


def _exponent(peak: Tensor) -> Tensor:
    """e with peak / 4^e in 1/4 .. 2: neither a power of four nor its root costs a rounding."""
    return torch.frexp(peak.detach()).exponent.clamp(-1000, 1000) // 2


def _power(exponent: Tensor) -> Tensor:
    return torch.exp2(exponent.to(torch.float64))


class NotDefinite(Exception):
    """Raised where the name of the matrix is not known: its caller calls refuse_indefinite."""


def refuse_indefinite(*given: Matrices) -> None:
    """Raise InputError for the first that has an eigenvalue below 0 by more than round-off."""
    for a in given:
        _refuse_indefinite(a)


def _refuse_indefinite(a: Matrices) -> None:
    x = a.x.detach()
    exponent = _exponent(x.abs().amax((-2, -1)))
    w = torch.linalg.eigvalsh(x * _power(2 * -exponent)[..., None, None])
    w = w.reshape(-1, x.shape[-1])
    top = w.abs().amax(-1)
    relative = torch.where(top > 0, w[:, 0] / top, 0)
    worst = int(relative.argmin())
    if float(relative[worst]) < -a.tolerance:
        scale = float(_power(2 * exponent).reshape(-1)[worst])
        low, high = float(w[worst, 0]) * scale, float(w[worst, -1]) * scale
        where = "" if x.dim() == 2 else f"matrix {worst} of the batch: "
        raise InputError(
            f"{a.name}: got a matrix that is not positive semi-definite ({where}its eigenvalues "
            f"run from {low:.6g} to {high:.6g}); give one without eigenvalues below "
            f"-{a.tolerance:g} of the largest"
        )


def require_definite(a: Matrices) -> None:
    """refuse_indefinite for matrices that are not factored: n^3/3 flops where all is well."""
    if a.x.numel() == 0 or is_traced():
        return
    shift = (a.tolerance * a.peak)[..., None, None] * torch.eye(a.x.shape[-1]).to(a.x)
    if bool(torch.linalg.cholesky_ex(a.x + shift).info.any()):
        refuse_indefinite(a)
