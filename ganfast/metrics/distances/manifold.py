"""Precision and recall, density and coverage: is what is generated real, and is all that is real
generated?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganfast import _checks
from ganfast._dispatch import call, serve
from ganfast.errors import InputError
from ganfast.metrics.arrays import PIECE, alike, as_rows
from ganfast.metrics.extractors.precision import float32_products
from ganfast.metrics.no_autograd import no_autograd

PRECISION_K, DENSITY_K = 3, 5
"""Neighbours in the papers, which found them to do for image features."""


MANIFOLD = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class ManifoldMetrics:
    """``precision``, ``recall`` and ``coverage`` are from 0 to 1; ``density`` may exceed 1.

    ``k`` and ``density_k`` are the neighbours of either pair.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int
    density_k: int


@no_autograd
def manifold_metrics(real: Any, fake: Any, *, k: int | None = None) -> ManifoldMetrics:
    """Improved precision and recall (Kynkäänniemi et al., 2019, arXiv:1904.06991), density and
    coverage (Naeem et al., 2020, arXiv:2002.09797).

    With B_k(x) the ball around x whose radius is the distance to the k-th nearest of the other rows
    of x's own side::

        precision = share of fake rows that lie in a B_k of any real row      are samples realistic?
        recall    = share of real rows that lie in a B_k of any fake row      are all modes there?
        density   = mean over fake rows of how many real B_k hold it, over k
        coverage  = share of real rows whose B_k holds any fake row

    A fake row at exactly the radius of a ball is inside for precision and recall, as Kynkäänniemi
    et al. define it (and torch-fidelity computes it), and outside for density and coverage, as in
    Naeem et al.'s own code (``prdc`` on PyPI, which has it outside for precision and recall too).
    Such ties come with duplicates: of a set and itself, precision, recall, density and coverage are
    1 if it has none. Where a row has k duplicates its ball has no radius.

    Distances are sums of squared differences in float64, without cancellation: exact but for some
    units of the last place, the same for (x, y) and (y, x), whatever the number of threads. No
    matrix of all distances is made, and on a CPU no copy of the rows: memory is O(n k) and 100 MB
    of tiles at 2,048 features, so that the rows may be files mapped into memory (``np.load(path,
    mmap_mode="r")``), of half or single precision. On a GPU it is a transposed copy and O(n k).

    Args:
        real, fake: features (n, d) and (m, d), torch tensors on one device or NumPy arrays, of any
            floating dtype.
        k: neighbours; by default each paper's own, 3 for precision and recall and 5 for density and
            coverage.

    Raises:
        ValueError: (an InputError) other shapes or dtypes, NaN or inf, not more rows than k, or
            real rows that are all the same.
    """
    pair, single = (
        (PRECISION_K, DENSITY_K) if k is None else (_checks.integer("k", k, least=1),) * 2
    )
    real, fake = as_rows("real", real, least=2), as_rows("fake", fake, least=2)
    if real.shape[1] != fake.shape[1]:
        raise InputError(
            f"fake: got {fake.shape[1]} features, where real has {real.shape[1]}; use the same "
            "extractor for both"
        )
    for name, rows in (("real", real), ("fake", fake)):
        if len(rows) <= max(pair, single):
            raise InputError(
                f"{name}: got {len(rows)} rows; give more than k = {max(pair, single)} of them"
            )
    if all(bool((part == real[0]).all()) for part in real.split(PIECE)):
        raise InputError(
            f"real: got {len(real)} rows that are all the same, whose balls have no radius; give "
            "different images"
        )
    if not (real.dtype == fake.dtype == torch.float16 and real.device.type == "cpu"):
        real, fake = alike(real, fake)  # else as they are, perhaps in files
    with float32_products("fp32"):
        return _metrics(real, fake, pair, single)


def _metrics(real: Tensor, fake: Tensor, k: int, density_k: int) -> ManifoldMetrics:
    def kernel(function: str, *arguments: Any) -> Any:
        return call("neighbours", serve("neighbours", (real,)), function, *arguments)

    around_real = kernel("nearest_distances", real, max(k, density_k))
    around_fake = kernel("nearest_distances", fake, k)
    # All that is nearer than r is what is not farther than the number before it.
    below = torch.nextafter(around_real[:, density_k - 1], around_real.new_tensor(-torch.inf))
    limits = torch.stack([around_real[:, k - 1], below])
    holds, fake_inside, _, real_inside = kernel(
        "ball_counts", real, fake, limits, around_fake[:, k - 1][None]
    )
    return ManifoldMetrics(
        precision=_share(fake_inside[0]),
        recall=_share(real_inside[0]),
        density=int(fake_inside[1].sum()) / (density_k * len(fake)),
        coverage=_share(holds[1]),
        k=k,
        density_k=density_k,
    )


def _share(counts: Tensor) -> float:
    return int((counts > 0).sum()) / len(counts)
