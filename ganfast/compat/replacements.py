"""What takes the place of each project's Fréchet distance: their signatures, our linear algebra."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast import linalg
from ganfast.errors import InputError

theirs: dict[str, Callable[..., Any]] = {}
"""By project, the function that ours stands for: for what ours does not take. An entry stays when
the project is unpatched, since somebody may have kept a copy of ours."""

# Two small Gaussians whose covariances do not commute.
EXAMPLE = (
    np.array([0.0, 1.0]),
    np.array([[2.0, 0.5], [0.5, 1.0]]),
    np.array([1.0, -1.0]),
    np.array([[1.0, -0.25], [-0.25, 3.0]]),
)


def calculate_frechet_distance(
    mu1: Any, sigma1: Any, mu2: Any, sigma2: Any, eps: float = 1e-6
) -> Any:
    """pytorch-fid's (https://github.com/mseitzer/pytorch-fid): a NumPy scalar.

    ``eps``, which theirs adds to the diagonal of singular covariances, is accepted and not used:
    ours needs none. Scalars are statistics of one feature; the shapes of both sides must match.
    """
    mu1, mu2 = np.atleast_1d(mu1), np.atleast_1d(mu2)
    sigma1, sigma2 = np.atleast_2d(sigma1), np.atleast_2d(sigma2)
    for name, one, two in (("mu", mu1, mu2), ("sigma", sigma1, sigma2)):
        if one.shape != two.shape:  # they assert, and a caller may count on it
            raise AssertionError(
                f"{name}2: got shape {two.shape}; give that of {name}1, {one.shape}"
            )
    # float32 statistics make a float32 distance, as theirs do; integers make float64.
    dtype = np.result_type(mu1, mu2, sigma1, sigma2, np.float32)
    return dtype.type(_distance(mu1, sigma1, mu2, sigma2))


def frechet_distance(mu1: Any, sigma1: Any, mu2: Any, sigma2: Any, eps: float = 1e-6) -> Any:
    """clean-fid's (https://github.com/GaParmar/clean-fid), a copy of pytorch-fid's."""
    return calculate_frechet_distance(mu1, sigma1, mu2, sigma2)


def fid_statistics_to_metric(stat_1: Any, stat_2: Any, verbose: Any) -> dict[str, float]:
    """torch-fidelity's (https://github.com/toshas/torch-fidelity): an entry of a dict."""
    # Their key and their way to print: this runs only where the project is imported.
    from torch_fidelity.metric_fid import KEY_METRIC_FID, vprint

    mu1, sigma1, mu2, sigma2 = stat_1["mu"], stat_1["sigma"], stat_2["mu"], stat_2["sigma"]
    for name, one, two, dimensions in (("mu", mu1, mu2, 1), ("sigma", sigma1, sigma2, 2)):
        if one.ndim != dimensions or one.shape != two.shape or one.dtype != two.dtype:
            raise AssertionError(  # they assert, and a caller may count on it
                f"{name}: got {one.dtype} {one.shape} and {two.dtype} {two.shape}; give both sides "
                f"one dtype and one shape of {dimensions} dimension(s)"
            )
    fid = _distance(mu1, sigma1, mu2, sigma2)
    vprint(verbose, f"Frechet Inception Distance: {fid:.7g}")
    return {KEY_METRIC_FID: fid}


def fidelity_example() -> tuple[Any, ...]:
    """EXAMPLE as the arguments of torch-fidelity's function."""
    mu1, sigma1, mu2, sigma2 = EXAMPLE
    return {"mu": mu1, "sigma": sigma1}, {"mu": mu2, "sigma": sigma2}, False


def _compute_fid(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor:
    """torchmetrics' (https://github.com/Lightning-AI/torchmetrics): a tensor, differentiable."""
    given = (mu1, sigma1, mu2, sigma2)
    dtype = reduce(torch.promote_types, (value.dtype for value in given))
    return linalg.frechet_distance(*(value.to(torch.float64) for value in given)).to(dtype)


def compute_frechet_distance(
    mu_x: Tensor, sigma_x: Tensor, mu_y: Tensor, sigma_y: Tensor, epsilon: float = 1e-6
) -> Tensor:
    """MONAI's (https://github.com/Project-MONAI/MONAI): a float64 tensor, whatever was given.

    Differentiable, where theirs takes the root for a constant. ``epsilon`` is accepted and not
    used.
    """
    return _compute_fid(mu_x.to(torch.float64), sigma_x, mu_y, sigma_y)


def fid_score(mu1: Tensor, mu2: Tensor, sigma1: Tensor, sigma2: Tensor, eps: float = 1e-6) -> float:
    """Ignite's (https://github.com/pytorch/ignite): a float. ``eps`` is accepted and not used.

    What ours refuses, such as an indefinite covariance, goes to theirs, whose errors and infinities
    a caller may count on.
    """
    try:
        return float(_compute_fid(*(x.detach().cpu() for x in (mu1, sigma1, mu2, sigma2))).item())
    except (InputError, AttributeError):
        return float(theirs["ignite"](mu1, mu2, sigma1, sigma2, eps))


def compute_fid_of_piq(
    mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor, eps: Any = 1e-6
) -> Tensor:
    """piq's (https://github.com/photosynthesis-team/piq): a tensor. ``eps`` is accepted, not used.

    Theirs stops its Newton-Schulz iteration at a residual of 1e-5 of the product, where small
    eigenvalues, which make much of the trace, have not converged: its distance comes out too large.
    """
    return _compute_fid(mu1, sigma1, mu2, sigma2)


def _calculate_frechet_distance(
    self: Any, mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor
) -> Tensor:
    """torcheval's (https://github.com/pytorch/torcheval), a method of its metric: a tensor."""
    return _compute_fid(mu1, sigma1, mu2, sigma2)


def gaussian_frechet_distance(mu_x: Tensor, cov_x: Tensor, mu_y: Tensor, cov_y: Tensor) -> Tensor:
    """torcheval's after release 0.0.7, for its images and its audio: a tensor."""
    return _compute_fid(mu_x, cov_x, mu_y, cov_y)


def sqrtm(A: Any, disp: bool = True, blocksize: Any = None) -> Any:
    """SciPy's ``scipy.linalg.sqrtm``, with the ``disp`` that its release 1.18 drops.

    A real symmetric positive semi-definite matrix is served by :func:`ganfast.linalg.sqrtm`, which
    stays real and finite where it is singular; any other matrix by SciPy.

    Args:
        A: array-like of shape (..., n, n).
        disp: False for the error estimate, too.
        blocksize: accepted and not used.

    Returns:
        The root; with ``disp=False`` a pair of it and ||X X - A||_F^2 / ||A||_F, which is the
        estimate that SciPy gave (inf if the root is not finite).
    """
    root = _root_of_symmetric(A)
    if root is None:
        root = theirs["scipy"](A)
    if disp:
        return root
    if not np.isfinite(root).all():
        return root, np.inf
    of_a, of_error = (np.linalg.norm(x, axis=(-2, -1)) for x in (A, root @ root - A))
    return root, of_error**2 / np.where(of_a, of_a, 1)


def _root_of_symmetric(given: Any) -> Any:
    """The root by our linear algebra; None unless it is for a symmetric semi-definite matrix."""
    a = np.asarray(given)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not a.size or a.dtype.kind not in "biuf":
        return None
    if a.dtype not in (np.float16, np.float32):  # SciPy's rule: float32 for those two
        a = a.astype(np.float64)
    try:
        return linalg.sqrtm(a.astype(np.result_type(a, np.float32))) if (a == a.T).all() else None
    except InputError:  # indefinite or not finite
        return None


def _distance(*statistics: Any) -> float:
    """The distance of NumPy statistics of any real dtype and layout, in float64."""
    return float(linalg.frechet_distance(*(np.asarray(x, dtype=np.float64) for x in statistics)))
