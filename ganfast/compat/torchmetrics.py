"""ganfast's image metrics as torchmetrics has them: for MetricCollection and Lightning's log.

::

    from ganfast.compat.torchmetrics import FrechetInceptionDistance, PrecisionRecall
    from torchmetrics import MetricCollection

    metrics = MetricCollection({"fid": FrechetInceptionDistance(), "manifold": PrecisionRecall()})
    metrics.update(real_images, real=True)
    metrics.update(fake_images, real=False)
    metrics.compute()

Metrics with one extractor, or the default one, share it, and it looks at a batch once; those that
keep a sample of the images share that too (compute groups). This module imports torchmetrics, which
``import ganfast`` doesn't.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast import _checks
from ganfast.compat.image_metric import NAMES, ImageMetric
from ganfast.errors import InputError
from ganfast.linalg import frechet_distance
from ganfast.metrics.choices import SPLITS
from ganfast.metrics.distances.kid import kernel_inception_distance
from ganfast.metrics.distances.manifold import MANIFOLD, manifold_metrics
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.frechet_inception_distance import as_side, warn_of_few
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.options import SAMPLE
from ganfast.metrics.summary.sample import PURPOSE, position_hash
from ganfast.metrics.summary.score_tally import PROBABILITIES, ScoreTally, are_probabilities

__all__ = [
    "FrechetInceptionDistance",
    "InceptionScore",
    "KernelInceptionDistance",
    "PrecisionRecall",
]


class FrechetInceptionDistance(ImageMetric):
    """FID (Heusel et al. 2017, arXiv:1706.08500): a tensor without axes, float64 but for
    set_dtype(). Its states are sums in float64 that add up over processes and merged metrics."""

    higher_is_better = False
    plot_lower_bound = 0.0
    real_count: Tensor
    fake_count: Tensor

    def own_states(self) -> None:
        dim = self.dim()
        for side in NAMES.values():
            self.add_state(f"{side}_count", torch.tensor(0), "sum")
            self.add_state(f"{side}_sum", torch.zeros(dim, dtype=torch.float64), "sum")
            self.add_state(f"{side}_products", torch.zeros(dim, dim, dtype=torch.float64), "sum")

    def take(self, side: str, features: Tensor, logits: Tensor | None) -> None:
        x = features.to(torch.float64)
        count, summed, products = (
            getattr(self, f"{side}_{name}") for name in ("count", "sum", "products")
        )
        setattr(self, f"{side}_count", count + len(x))
        setattr(self, f"{side}_sum", summed + x.sum(0))
        setattr(self, f"{side}_products", torch.addmm(products, x.T, x))

    @no_autograd
    def compute(self) -> Tensor:
        """InputError below 2 images of a side; a warning below as many as a covariance needs."""
        real, fake = int(self.real_count), int(self.fake_count)
        for name, count in (("real", real), ("fake", fake)):
            if count < 2:
                raise InputError(
                    f"compute: got {count} images with real={name == 'real'}; give at least 2 "
                    "images of each side, by update()"
                )
        warn_of_few(real, fake, self.dim(), stacklevel=5)
        fid = frechet_distance(*self._moments("real"), *self._moments("fake"))
        return self.value(fid)

    def _moments(self, side: str) -> tuple[Tensor, Tensor]:
        count, summed, products = (
            getattr(self, f"{side}_{name}") for name in ("count", "sum", "products")
        )
        mean = summed / count
        return mean, (products - count * torch.outer(mean, mean)) / (count - 1)


class _Sampled(ImageMetric):
    """Those that compare images one by one keep the features of up to ``sample`` images of each
    side, drawn at random by ``seed`` from all processes together."""

    def __init__(self, *args: Any, sample: int = SAMPLE, seed: int = 0, **kwargs: Any) -> None:
        self._size = _checks.integer("sample", sample, least=2)
        self._seed = _checks.integer("seed", seed, least=0)
        super().__init__(*args, **kwargs)

    def own_states(self) -> None:
        # Metrics whose states have the same names and values are one compute group, of which one
        # alone is updated: those that draw otherwise have other names.
        drawn = "" if (self._size, self._seed) == (SAMPLE, 0) else f"_{self._size}_{self._seed}"
        self._names = {
            side: [f"{side}_{what}{drawn}" for what in ("seen", "rows", "hashes")]
            for side in NAMES.values()
        }
        for seen, rows, hashes in self._names.values():
            self.add_state(seen, torch.tensor(0), "sum")
            self.add_state(rows, [], "cat")
            self.add_state(hashes, [], "cat")

    def take(self, side: str, features: Tensor, logits: Tensor | None) -> None:
        seen, rows, hashes = self._names[side]
        here = Ranks.of_this_process()
        first = int(getattr(self, seen))
        places = np.arange(first, first + len(features), dtype=np.int64) * here.count + here.rank
        drawn = (position_hash(places, self._seed, PURPOSE) >> np.uint64(1)).astype(np.int64)
        setattr(self, seen, getattr(self, seen) + len(features))
        getattr(self, rows).append(features.detach().float())
        getattr(self, hashes).append(torch.from_numpy(drawn).to(features.device))
        if sum(map(len, getattr(self, rows))) > 2 * self._size:
            self._replace(side, *self._smallest(side))

    def _replace(self, side: str, *values: Tensor) -> None:
        for name, value in zip(self._names[side][1:], values, strict=True):
            getattr(self, name)[:] = [value]  # in place: other metrics of a group have this list

    def _smallest(self, side: str) -> tuple[Tensor, Tensor]:
        """The sample (m, d), in random order, and the hashes by which it is drawn (m,)."""
        parts = (getattr(self, name) for name in self._names[side][1:])
        rows, hashes = (x if isinstance(x, Tensor) else torch.cat(x) for x in parts)
        order = hashes.argsort(stable=True)[: self._size]
        return rows[order], hashes[order]

    def _sample(self, side: str) -> Tensor:
        found = getattr(self, self._names[side][1])
        if not len(found) or not len(found[0]):
            raise InputError(
                f"compute: got 0 images with real={side == 'real'}; give images of each side, by "
                "update()"
            )
        return self._smallest(side)[0]

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        # A process without an image of a side gives an empty part of the same width.
        for side, names in self._names.items():
            if not getattr(self, names[1]):
                there = {"device": self.device}
                empty = torch.empty(0, self.dim(), **there)
                self._replace(side, empty, torch.empty(0, dtype=torch.int64, **there))
        super()._sync_dist(*args, **kwargs)


class KernelInceptionDistance(_Sampled):
    """KID (Binkowski et al. 2018, arXiv:1801.01401): mean and deviation over ``subsets``, as
    :func:`ganfast.metrics.kernel_inception_distance` gives them of the sample."""

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(
        self, *args: Any, subsets: int = 100, subset_size: int = 1000, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.subsets = _checks.integer("subsets", subsets, least=1)
        self.subset_size = _checks.integer("subset_size", subset_size, least=2)

    @no_autograd
    def compute(self) -> tuple[Tensor, Tensor]:
        mean, deviation = kernel_inception_distance(
            *map(self._sample, ("real", "fake")),
            subsets=self.subsets,
            subset_size=self.subset_size,
            seed=self._seed,
        )
        return self.value(mean), self.value(deviation)


class PrecisionRecall(_Sampled):
    """``precision``, ``recall``, ``density`` and ``coverage`` of the sample, in a dict: see
    :func:`ganfast.metrics.manifold_metrics`, whose ``k`` this is."""

    higher_is_better = True
    plot_lower_bound = 0.0

    def __init__(self, *args: Any, k: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.k = None if k is None else _checks.integer("k", k, least=1)

    @no_autograd
    def compute(self) -> dict[str, Tensor]:
        found = manifold_metrics(*map(self._sample, ("real", "fake")), k=self.k)
        return {name: self.value(getattr(found, name)) for name in MANIFOLD}


class InceptionScore(ImageMetric):
    """The Inception Score (Salimans et al. 2016, arXiv:1606.03498) of the generated images: mean
    and deviation over ``splits``; image i of a process is in part i modulo splits."""

    higher_is_better = True
    plot_lower_bound = 0.0
    seen: Tensor

    def __init__(self, *args: Any, splits: int = SPLITS, **kwargs: Any) -> None:
        self.splits = _checks.integer("splits", splits, least=1)
        super().__init__(*args, **kwargs)

    def own_states(self) -> None:
        classes = self.classes()
        if classes is None:
            raise InputError(
                "extractor: got one without logits, and the Inception Score is made of them; give "
                "one that returns (features, logits)"
            )
        self._width = classes
        self.add_state("seen", torch.tensor(0), "sum")
        for name, value in ScoreTally(classes, self.splits).state_dict().items():
            self.add_state(name, value, "sum")

    def update(self, images: Tensor, real: bool = False) -> None:
        """Take in ``images`` that are not real; nothing of those that are."""
        if not as_side(real):
            super().update(images, False)

    def forward(self, images: Tensor, real: bool = False) -> None:
        """As update()."""
        self.update(images, real)

    def take(self, side: str, features: Tensor, logits: Tensor | None) -> None:
        if logits is None or logits.dim() != 2 or logits.shape[1] != self._width:
            got = None if logits is None else tuple(logits.shape)
            raise InputError(f"extractor: got logits of shape {got}; give (n, {self._width})")
        if are_probabilities(logits):
            raise InputError(PROBABILITIES)
        tally = self._tally()
        part = torch.arange(int(self.seen), int(self.seen) + len(logits), device=self.device)
        tally.add(logits.to(self.device), part % self.splits)
        self.seen = self.seen + len(logits)
        for name, value in tally.state_dict().items():
            setattr(self, name, value)

    def _tally(self) -> ScoreTally:
        made = ScoreTally(self._width, self.splits)
        for name in made.state_dict():
            setattr(made, name, getattr(self, name).clone())
        return made

    @no_autograd
    def compute(self) -> tuple[Tensor, Tensor]:
        tally = self._tally()
        if not bool((tally.count > 0).all()):
            raise InputError(
                f"compute: got {int(self.seen)} generated images, which leave one of {self.splits} "
                "splits empty; give more images or fewer splits"
            )
        mean, deviation = tally.score()
        return self.value(mean), self.value(deviation)
