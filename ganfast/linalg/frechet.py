"""The Fréchet distance between two Gaussians, from their moments or from samples."""

from __future__ import annotations

from typing import Any, overload

from torch import Tensor

from ganfast.errors import InputError
from ganfast.linalg.inputs import Arrays, common_batch
from ganfast.linalg.samples import Gaussian, centred, nuclear_norm
from ganfast.linalg.trace import trace_of_checked


@overload
def frechet_distance(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor: ...
@overload
def frechet_distance(mu1: Any, sigma1: Any, mu2: Any, sigma2: Any) -> Any: ...
def frechet_distance(mu1: Any, sigma1: Any, mu2: Any, sigma2: Any) -> Any:
    """|mu1 - mu2|^2 + Tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^{1/2}), computed in float64.

    The squared Wasserstein-2 distance between N(mu1, sigma1) and N(mu2, sigma2) (Dowson & Landau,
    1982); of Inception features it is the FID (Heusel et al., 2017, arXiv:1706.08500).

    Derivatives: 2 (mu1 - mu2) for mu1, I - 2 dT/dsigma for the covariances, with T and what is said
    of its first and second derivatives at trace_sqrtm.

    Args:
        mu1, mu2: means of shape (..., d).
        sigma1, sigma2: covariances of shape (..., d, d), symmetric positive semi-definite; singular
            ones (fewer samples than features) are fine. All four are arrays of one kind (torch,
            NumPy or CuPy) and any floating dtype; leading dimensions broadcast.

    Returns:
        The same kind, of shape (...), in float64 and never below 0: d(d) differs from 0 by
        round-off alone.

    Raises:
        InputError, InputTypeError: as trace_sqrtm does.
    """
    return distance_of_moments(mu1, sigma1, mu2, sigma2, names=("mu1", "sigma1", "mu2", "sigma2"))


def distance_of_moments(
    mu1: Any, sigma1: Any, mu2: Any, sigma2: Any, *, names: tuple[str, str, str, str]
) -> Any:
    """frechet_distance for a caller whose arguments have other ``names``, in this order."""
    arrays = Arrays(**dict(zip(names, (mu1, sigma1, mu2, sigma2), strict=True)))
    name1, name_cov1, name2, name_cov2 = names
    shape = tuple(arrays.tensors[name1].shape)
    if len(shape) < 1:
        raise InputError(f"{name1}: got shape {shape}; give (..., d)")
    d = shape[-1]
    for name, wanted in ((name_cov1, (d, d)), (name2, (d,)), (name_cov2, (d, d))):
        given = tuple(arrays.tensors[name].shape)
        if given[-len(wanted) :] != wanted:
            raise InputError(
                f"{name}: got shape {given}; give (..., {', '.join(map(str, wanted))}), as "
                f"{name1} has {d} features"
            )
    mean1, mean2 = arrays.float64(name1), arrays.float64(name2)
    cov1, cov2 = arrays.symmetric(name_cov1), arrays.symmetric(name_cov2)
    common_batch((name1, mean1, 1), (name2, mean2, 1))
    common_batch((name1, mean1, 1), (name_cov1, cov1.x, 2))
    common_batch((name2, mean2, 1), (name_cov2, cov2.x, 2))
    coupling = trace_of_checked(cov1, cov2)
    return arrays.wrap(
        _distance((mean1 - mean2).square().sum(-1), _trace(cov1.x), _trace(cov2.x), coupling)
    )


@overload
def frechet_distance_from_features(x: Tensor, y: Tensor) -> Tensor: ...
@overload
def frechet_distance_from_features(x: Any, y: Any) -> Any: ...
def frechet_distance_from_features(x: Any, y: Any) -> Any:
    """The Fréchet distance between Gaussians fitted to two sets of feature vectors, in float64.

    No d x d covariance is formed. With F the centred features over sqrt(N - 1), rotated so that the
    null direction of centring drops out (N - 1 rows), Tr (S1 S2)^{1/2} is the nuclear norm of
    F1 F2^T. A side with more rows than d is first reduced to the triangle of its QR decomposition
    where both are, so the cost is that of the smaller side. Rounding a covariance hides what is
    smaller than eps of its largest eigenvalue; here it is kept, which shows when samples collapse.

    Derivatives: with the polar factor U of F1 F2^T, dT/dF1 = U F2 and dT/dF2 = U^T F1, without
    singular values that are round-off: bounded, and right for fewer samples than features,
    features that are always zero, and duplicated samples. A second backward works where F1 F2^T
    has full rank and is well-conditioned.

    Args:
        x, y: arrays of one kind (torch, NumPy or CuPy) and any floating dtype, of shapes
            (..., N1, d) and (..., N2, d), N1 and N2 at least 2. Leading dimensions (classes, say)
            broadcast. The covariances divide by N - 1. Either may be a ganfast.linalg.Gaussian
            instead: the stored statistics of a reference.

    Returns:
        The same kind, of shape (...), in float64 and never below 0.

    Raises:
        InputError: a ValueError that names the argument: mixed kinds or devices, shapes that do not
            fit, fewer than 2 samples, or values that are not finite.
        InputTypeError: also a TypeError: not an array, or not of a floating dtype.
        RuntimeError: a second backward where F1 F2^T is singular or ill-conditioned.
    """
    if isinstance(x, Gaussian) and isinstance(y, Gaussian):
        raise InputError("x, y: got two Gaussians; call frechet_distance with their moments")
    if isinstance(x, Gaussian):
        return _to_reference(x, Arrays(y=y), "y")
    if isinstance(y, Gaussian):
        return _to_reference(y, Arrays(x=x), "x")
    arrays = Arrays(x=x, y=y)
    first = _samples(arrays, "x")
    second = _samples(arrays, "y", first.shape[-1], "x")
    batch = common_batch(("x", first, 2), ("y", second, 2))
    rows1, rows2 = centred(first), centred(second)
    return arrays.wrap(
        _distance(
            (first.mean(-2) - second.mean(-2)).square().sum(-1),
            rows1.square().sum((-2, -1)),
            rows2.square().sum((-2, -1)),
            nuclear_norm(rows1, rows2, batch),
        )
    )


def _to_reference(reference: Gaussian, arrays: Arrays, name: str) -> Any:
    """The distance of the samples of that name."""
    device, here = reference.mean.device, arrays.tensors[name].device
    if arrays.kind != reference.kind or here != device:
        raise InputError(
            f"{name}: got a {arrays.kind} array on {here}; give a {reference.kind} array on "
            f"{device}, as the Gaussian has"
        )
    samples = _samples(arrays, name, reference.mean.shape[-1], "the Gaussian")
    batch = common_batch((name, samples, 2), ("covariance", reference.covariance.x, 2))
    rows = centred(samples)
    return arrays.wrap(
        _distance(
            (samples.mean(-2) - reference.mean).square().sum(-1),
            rows.square().sum((-2, -1)),
            _trace(reference.covariance.x),
            reference.coupling(rows, batch),
        )
    )


def _samples(arrays: Arrays, name: str, d: int | None = None, owner: str = "") -> Tensor:
    """The samples (..., N, d) of that name in float64; d is to be that of ``owner``."""
    shape = tuple(arrays.tensors[name].shape)
    if len(shape) < 2:
        raise InputError(f"{name}: got shape {shape}; give (..., N, d)")
    if shape[-2] < 2:
        raise InputError(
            f"{name}: got {shape[-2]} samples (shape {shape}); give at least 2 for a covariance"
        )
    if d not in (None, shape[-1]):
        raise InputError(f"{name}: got shape {shape}; give (..., N, {d}), the d of {owner}")
    return arrays.float64(name)


def _trace(a: Tensor) -> Tensor:
    return a.diagonal(dim1=-2, dim2=-1).sum(-1)


def _distance(means: Tensor, trace1: Tensor, trace2: Tensor, coupling: Tensor) -> Tensor:
    # Round-off alone can take equal Gaussians below 0.
    return (means + (trace1 + trace2 - 2 * coupling)).clamp(min=0)
