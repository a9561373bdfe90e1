"""Small stand-ins for the projects: the real names and signatures, their usual formulas."""

from __future__ import annotations

import importlib
import operator
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# pytorch-fid and clean-fid call SciPy in the way that its release 1.18 refuses.
BY_SCIPY = """
import warnings
import numpy as np
from scipy import linalg

def {function}(mu1, sigma1, mu2, sigma2, eps=1e-6):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root, _ = linalg.sqrtm(np.dot(sigma1, sigma2), disp=False)
    offset = np.subtract(mu1, mu2)
    return offset.dot(offset) + np.trace(sigma1) + np.trace(sigma2) - 2 * np.trace(root.real)

def score(*statistics):
    return {function}(*statistics)
"""

TORCH_FIDELITY = """
import sys
import numpy as np

KEY_METRIC_FID = "frechet_inception_distance"

def vprint(verbose, message):
    if verbose:
        print(message, file=sys.stderr)

def fid_statistics_to_metric(stat_1, stat_2, verbose):
    roots = np.sqrt(np.linalg.eigvals(stat_1["sigma"] @ stat_2["sigma"]).astype(complex)).real
    offset = stat_1["mu"] - stat_2["mu"]
    total = np.trace(stat_1["sigma"] + stat_2["sigma"])
    return {KEY_METRIC_FID: float(offset @ offset + total - 2 * roots.sum())}
"""

BY_EIGENVALUES = """
import torch

def {signature}:
    roots = torch.linalg.eigvals(sigma1 @ sigma2).sqrt().real.sum()
    return (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * roots
"""

MONAI = """
import torch
import scipy.linalg

def compute_frechet_distance(mu_x, sigma_x, mu_y, sigma_y, epsilon=1e-6):
    root, _ = scipy.linalg.sqrtm((sigma_x @ sigma_y).detach().double().numpy(), disp=False)
    offset = mu_x - mu_y
    return offset @ offset + (sigma_x + sigma_y).trace() - 2 * torch.from_numpy(root.real).trace()
"""

IGNITE = """
import scipy.linalg

def fid_score(mu1, mu2, sigma1, sigma2, eps=1e-6):
    root = scipy.linalg.sqrtm((sigma1 @ sigma2).numpy())
    if abs(root.imag).max() > 1e-3:
        raise ValueError(f"Imaginary component {abs(root.imag).max()}")
    offset = mu1 - mu2
    return float(offset @ offset + (sigma1 + sigma2).trace() - 2 * root.real.trace())
"""

TORCHEVAL = """
import torch

class FrechetInceptionDistance:
    def _calculate_frechet_distance(self, mu1, sigma1, mu2, sigma2):
        roots = torch.linalg.eigvals(sigma1 @ sigma2).sqrt().real.sum()
        return (mu1 - mu2).square().sum() + (sigma1 + sigma2).trace() - 2 * roots

    def compute(self, *statistics):
        return self._calculate_frechet_distance(*statistics)
"""

# What torcheval has after 0.0.7, beside or in place of the method: see new_torcheval().
TORCHEVAL_FUNCTION = """
import torch

def gaussian_frechet_distance(mu_x, cov_x, mu_y, cov_y):
    roots = torch.linalg.eigvals(cov_x @ cov_y).sqrt().real.sum()
    return (mu_x - mu_y).square().sum() + (cov_x + cov_y).trace() - 2 * roots
"""

SOURCES = {
    "pytorch_fid/fid_score.py": BY_SCIPY.format(function="calculate_frechet_distance"),
    "torch_fidelity/metric_fid.py": TORCH_FIDELITY,
    "torch_fidelity/metrics.py": (
        "from torch_fidelity.metric_fid import fid_statistics_to_metric\n"
        "from torch_fidelity.metric_fid import fid_statistics_to_metric as another_name\n"
    ),
    "cleanfid/fid.py": BY_SCIPY.format(function="frechet_distance"),
    "torchmetrics/image/__init__.py": "",
    "torchmetrics/image/fid.py": BY_EIGENVALUES.format(
        signature="_compute_fid(mu1, sigma1, mu2, sigma2)"
    ),
    "torchmetrics/image/mifid.py": "from torchmetrics.image.fid import _compute_fid\n",
    "monai/metrics/__init__.py": "from monai.metrics.fid import compute_frechet_distance\n",
    "monai/metrics/fid.py": MONAI,
    "ignite/metrics/gan/__init__.py": "",
    "ignite/metrics/__init__.py": "",
    "ignite/metrics/gan/fid.py": IGNITE,
    "piq/fid.py": BY_EIGENVALUES.format(
        signature="_compute_fid(mu1, sigma1, mu2, sigma2, eps=1e-6)"
    ),
    "torcheval/metrics/__init__.py": "",
    "torcheval/metrics/image/__init__.py": "",
    "torcheval/metrics/image/fid.py": TORCHEVAL,
}
DISTRIBUTIONS = {
    "pytorch_fid": "pytorch-fid",
    "torch_fidelity": "torch-fidelity",
    "cleanfid": "clean-fid",
    "torchmetrics": "torchmetrics",
    "monai": "monai",
    "ignite": "pytorch-ignite",
    "piq": "piq",
    "torcheval": "torcheval",
}
HOMES = {  # project: the module and the function that are replaced
    "pytorch_fid": ("pytorch_fid.fid_score", "calculate_frechet_distance"),
    "torch_fidelity": ("torch_fidelity.metric_fid", "fid_statistics_to_metric"),
    "cleanfid": ("cleanfid.fid", "frechet_distance"),
    "torchmetrics": ("torchmetrics.image.fid", "_compute_fid"),
    "monai": ("monai.metrics.fid", "compute_frechet_distance"),
    "ignite": ("ignite.metrics.gan.fid", "fid_score"),
    "piq": ("piq.fid", "_compute_fid"),
    "torcheval": (
        "torcheval.metrics.image.fid",
        "FrechetInceptionDistance._calculate_frechet_distance",
    ),
}


def function_of(project: str) -> Callable[..., Any]:
    """The function that the project has in its place now."""
    home, name = HOMES[project]
    return operator.attrgetter(name)(importlib.import_module(home))


def call(project: str, function: Any, one: tuple[Any, Any], two: tuple[Any, Any]) -> Any:
    """``function`` of two Gaussians (NumPy's mean and covariance), as its project calls it."""
    if project == "torch_fidelity":
        return function(*({"mu": mu, "sigma": sigma} for mu, sigma in (one, two)), False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy on `disp`, and on singular matrices
        if project in ("pytorch_fid", "cleanfid"):
            return function(*one, *two)
        (mu1, sigma1), (mu2, sigma2) = (map(torch.from_numpy, side) for side in (one, two))
        if project == "ignite":
            return function(mu1, mu2, sigma1, sigma2)
        self = (None,) if project == "torcheval" else ()
        return function(*self, mu1, sigma1, mu2, sigma2)


def install(folder: Path) -> None:
    """All of them, as version 9.9, importable once ``folder`` is on the path."""
    for path, text in SOURCES.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (folder / path.split("/")[0] / "__init__.py").touch()
        file.write_text(text)
    for name in DISTRIBUTIONS.values():
        info = folder / f"{name.replace('-', '_')}-9.9.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")


def new_torcheval(folder: Path, method: bool) -> None:
    """torcheval as it is after 0.0.7, with the method too or without it."""
    package = folder / "torcheval" / "metrics" / "functional"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "frechet.py").write_text(TORCHEVAL_FUNCTION)
    if not method:
        (folder / "torcheval" / "metrics" / "image" / "fid.py").write_text(
            "from torcheval.metrics.functional.frechet import gaussian_frechet_distance\n"
        )
