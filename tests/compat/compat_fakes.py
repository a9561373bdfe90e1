"""Small stand-ins for the four projects: the real names and signatures, their usual formulas."""

from __future__ import annotations

from pathlib import Path

# Both projects call SciPy in the way that its release 1.18 refuses.
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

TORCHMETRICS = """
import torch

def _compute_fid(mu1, sigma1, mu2, sigma2):
    roots = torch.linalg.eigvals(sigma1 @ sigma2).sqrt().real.sum()
    return (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * roots
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
    "torchmetrics/image/fid.py": TORCHMETRICS,
    "torchmetrics/image/mifid.py": "from torchmetrics.image.fid import _compute_fid\n",
}
DISTRIBUTIONS = {
    "pytorch_fid": "pytorch-fid",
    "torch_fidelity": "torch-fidelity",
    "cleanfid": "clean-fid",
    "torchmetrics": "torchmetrics",
}
HOMES = {  # project: the module and the function that are replaced
    "pytorch_fid": ("pytorch_fid.fid_score", "calculate_frechet_distance"),
    "torch_fidelity": ("torch_fidelity.metric_fid", "fid_statistics_to_metric"),
    "cleanfid": ("cleanfid.fid", "frechet_distance"),
    "torchmetrics": ("torchmetrics.image.fid", "_compute_fid"),
}


def install(folder: Path) -> None:
    """All four, as version 9.9, importable once ``folder`` is on the path."""
    for path, text in SOURCES.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (folder / path.split("/")[0] / "__init__.py").touch()
        file.write_text(text)
    for name in DISTRIBUTIONS.values():
        info = folder / f"{name.replace('-', '_')}-9.9.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
