"""All that one pass over one side of a comparison keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.distributed import gather
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.summary.feature_file import FeatureFile
from ganfast.metrics.summary.late_checks import LateChecks, not_finite, without_waiting
from ganfast.metrics.summary.sample import BottomSample, position_hash
from ganfast.metrics.summary.score_tally import PROBABILITIES, ScoreTally, are_probabilities
from ganfast.metrics.summary.streaming import Moments

PURPOSE = 1
"""Of the hash that gives an image its chunk."""


class ChunkOf(Protocol):
    def __getitem__(self, positions: np.ndarray, /) -> np.ndarray: ...


class Summary:
    """Moments, Inception Score and a sample of the images of one side, in one pass.

    ::

        summary = Summary(2048, classes=1008)
        for batch in source.batches(50):
            features, logits = extractor(batch.images)
            summary.add(features, logits, batch.positions)

    The result does not depend, but for round-off, on the order of the images or on their division
    into batches, processes and interrupted runs: whatever is drawn at random is a function of an
    image's position in its source and of ``seed``. For the same sequence of calls it is the same to
    the last bit.

    Args:
        dim: features of an image.
        classes: of the logits; None: logits are not looked at, and there is no Inception Score.
        splits: parts for the Inception Score.
        chunks: 0, or into how many random parts the moments are to be divided for
            bootstrap_interval and fid_infinity: 20 is enough for both.
        sample: how many images' features to keep, for what compares images one by one.
        features: a file that all images' features go to, for the same.
        spatial: the number of features of another layer, of which moments are kept beside; None:
            add() is given none.
        seed: of chunks and sample.
        chunk_of: by its position, the chunk of an image; by default drawn at random. If it has
            chunks beyond ``chunks``, there are so many.
        device: where moments are computed; by default where the first features are, or, of a state
            that is loaded, where its tensors are: on a GPU give it.

    Memory, whatever the number of images: max(chunks, 1) x (8 dim^2 + 8192 dim) bytes for the
    moments, which at dim 2048 is 50 MB for one and 1 GB for 20 chunks; 8 splits x classes for the
    score; 4 sample x dim for the sample. All of it is where the features are.

    Raises:
        ValueError: (an InputError) an argument out of its range.
    """

    def __init__(
        self,
        dim: int,
        *,
        classes: int | None = None,
        splits: int = 10,
        chunks: int = 0,
        sample: int = 0,
        features: FeatureFile | None = None,
        spatial: int | None = None,
        seed: int = 0,
        chunk_of: ChunkOf | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.dim = _checks.integer("dim", dim, least=1)
        self.classes = None if classes is None else _checks.integer("classes", classes, least=1)
        self.splits = _checks.integer("splits", splits, least=1)
        self.chunks = _checks.integer("chunks", chunks, least=0)
        self.seed = _checks.integer("seed", seed, least=0)
        if self.seed >= 2**63:
            raise InputError(f"seed: got {seed}; give a whole number below 2**63")
        sample = _checks.integer("sample", sample, least=0)
        self._parts = [Moments(self.dim, device=device) for _ in range(max(self.chunks, 1))]
        self._chunk_of, self._device = chunk_of, device
        self._spatial = None if spatial is None else Moments(spatial, device=device)
        self._tally = None if classes is None else ScoreTally(classes, self.splits)
        self._sample = BottomSample(sample, self.dim, self.seed)
        self._all = features
        self._late = LateChecks()

    def __repr__(self) -> str:
        return f"Summary(dim={self.dim}, count={self.count})"

    @no_autograd
    def add(
        self,
        features: Tensor,
        logits: Tensor | None,
        positions: Sequence[int],
        spatial: Tensor | None = None,
    ) -> None:
        """Take in n images.

        Args:
            features: (n, dim), any floating dtype.
            logits: (n, classes), any floating dtype; not looked at without ``classes``.
            positions: n whole numbers that say where in its source each image stands, each once in
                all calls and processes together; gaps are fine.
            spatial: (n, spatial), where the Summary was made with it: of a layer before the
                features, which are not finite if it isn't.

        Raises:
            ValueError: (an InputError) other shapes, or values that are not finite, with their
                positions; nothing is taken in then. On a GPU, where nothing waits for them, such
                values are told of at the next reading (of any result or state, or by settle()), or
                after 256 batches, and whatever is read then raises the same.
        """
        where = _positions(positions)
        late = features.is_cuda if isinstance(features, Tensor) else False
        self._check("features", features, len(where), self.dim, where, late)
        if self._tally is not None:
            if logits is None:
                raise InputError(
                    f"logits: got None; give (n, {self.classes}), or make the Summary with "
                    "classes=None if the extractor has none"
                )
            self._check("logits", logits, len(where), self._tally.classes, where, late)
            if not late and are_probabilities(logits):
                raise InputError(PROBABILITIES)
        if self._all is not None:  # first, since there may be no room
            self._all.add(features, where)
        if late and len(where):
            self._late.note(where, features, None if self._tally is None else logits)
        if self._tally is not None:
            assert logits is not None
            # Round-robin: consecutive parts would need the number of images before the first one
            # is seen. And in a folder sorted by class, consecutive parts hold a few classes each,
            # whose score is low; round-robin ones hold all classes.
            part = without_waiting(torch.from_numpy(where % self.splits), logits.device)
            self._tally.add(logits, part)
        if self.chunks < 2 and self._chunk_of is None:
            self._take(0, features, late)
        else:
            if self._chunk_of is None:
                chunk = position_hash(where, self.seed, PURPOSE) % np.uint64(self.chunks)
            else:
                chunk = self._chunk_of[where]
            order = torch.from_numpy(np.argsort(chunk, kind="stable"))
            there, sizes = np.unique(chunk, return_counts=True)
            self._make_chunks(max(there.tolist(), default=-1) + 1)
            rows = features[without_waiting(order, features.device)]
            for i, own in zip(there.tolist(), rows.split(sizes.tolist()), strict=True):
                self._take(i, own, late)
        self._sample.add(features, where)
        if self._spatial is not None:
            assert spatial is not None
            self._spatial.update_unchecked(spatial)

    def _make_chunks(self, count: int) -> None:
        if count > self.chunks and self._chunk_of is not None:
            more = range(len(self._parts), count)
            self._parts += [Moments(self.dim, device=self._device) for _ in more]
            self.chunks = count

    def renumber(self, numbers: Sequence[int | None]) -> None:
        """Let chunk i be the present number ``numbers[i]``; None: one that no image was of."""
        self._make_chunks(max((i + 1 for i in numbers if i is not None), default=0))
        self._parts = [
            Moments(self.dim, device=self._device) if i is None else self._parts[i] for i in numbers
        ]
        self.chunks = len(numbers)

    def _take(self, i: int, features: Tensor, late: bool) -> None:
        part = self._parts[i]
        (part.update_unchecked if late else part.update)(features)

    def settle(self) -> None:
        """Wait for the GPU, if features came from one; InputError if some, or logits, were not what
        add() takes."""
        self._late.read()

    @property
    def count(self) -> int:
        """The number of images so far."""
        return sum(part.count for part in self._parts)

    @property
    def moments(self) -> Moments:
        """Of all images; where there are chunks, their merger in a fixed order, made anew at each
        reading."""
        self.settle()
        if len(self._parts) == 1:
            return self._parts[0]
        whole = Moments(self.dim)
        for part in self._parts:
            whole.merge(part)
        return whole

    @property
    def spatial_moments(self) -> Moments | None:
        """Of the other layer's features, where the Summary was made with ``spatial``."""
        self.settle()
        return self._spatial

    @property
    def chunk_moments(self) -> list[Moments]:
        """Of each chunk; none where ``chunks`` is 0."""
        self.settle()
        return list(self._parts) if self.chunks else []

    @property
    def sample(self) -> Tensor:
        """(m, dim) float32 on the CPU, m the smaller of ``sample`` and ``count``: features of
        images drawn without replacement, in random order."""
        self.settle()
        return self._sample.rows()

    @property
    def sample_positions(self) -> np.ndarray:
        """(m,) int64: where each image of ``sample`` stands."""
        return self._sample.positions()

    @property
    def all_features(self) -> FeatureFile:
        """Of all images, where the Summary was made with ``features``."""
        self.settle()
        assert self._all is not None
        return self._all

    def inception_score(self) -> tuple[float, float]:
        """Mean and population deviation over the parts, image i being in part i mod ``splits``;
        see ganfast.metrics.inception_score.

        Raises:
            ValueError: (an InputError) no logits, or a part that has no image.
        """
        if self._tally is None:
            raise InputError("inception_score: got no logits; make the Summary with classes=...")
        self.settle()
        if not bool((self._tally.count > 0).all()):
            raise InputError(
                f"inception_score: got {self.count} images, which leave one of {self.splits} "
                "splits empty; make the Summary with fewer splits"
            )
        return self._tally.score()

    @no_autograd
    def all_reduce(self, group: Any = None) -> None:
        """Make this object, in every process of ``group``, hold the images of all of them; of the
        file of features, in the first one.

        Processes may hold different numbers of images, or none; each must call this, and once: a
        second call would count the images once more for each process.

        Raises:
            ValueError: (an InputError, in all of them) they were not made with the same arguments.
        """
        self.settle()
        settings = gather(self._settings(), group)
        if not bool((settings == settings[0]).all()):
            names = "dim, classes, splits, chunks, sample, seed and spatial, if any"
            raise InputError(
                f"Summary: got ({names}) = {settings.tolist()} by rank; make it alike in all "
                "processes"
            )
        for part in self._parts:
            part.all_reduce(group)
        if self._tally is not None:
            self._tally.all_reduce(group)
        if self._spatial is not None:
            self._spatial.all_reduce(group)
        if self._sample.size:
            self._sample.all_reduce(group)
        if self._all is not None:
            self._all.all_reduce(group)

    @no_autograd
    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all there is, as plain tensors: an object that goes on from here computes the
        same bits as one that never stopped. At dim 2048 up to 50 MB for each chunk."""
        self.settle()
        return {
            "settings": self._settings(),
            **{
                f"{name}.{key}": value
                for name, part in self._named().items()
                for key, value in part.state_dict().items()
            },
        }

    @no_autograd
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace all images by those of ``state``, which ``state_dict()`` of an object made with
        the same arguments gave.

        Raises:
            ValueError: (an InputError) any other state.
        """
        own = self._settings().tolist()
        given = state["settings"].tolist() if "settings" in state else "none"
        if given != own:
            raise InputError(
                f"state: got that of a Summary with (dim, classes, splits, chunks, sample, seed) = "
                f"{given}; give one with {own}"
            )
        self._late = LateChecks()
        for name, part in self._named().items():
            start = f"{name}."
            part.load_state_dict(
                {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}
            )

    def _named(self) -> dict[str, Moments | ScoreTally | BottomSample | FeatureFile]:
        named: dict[str, Moments | ScoreTally | BottomSample | FeatureFile] = {
            f"moments.{i}": part for i, part in enumerate(self._parts)
        }
        if self._tally is not None:
            named["score"] = self._tally
        if self._spatial is not None:
            named["spatial"] = self._spatial
        if self._all is not None:
            named["features"] = self._all
        return {**named, "sample": self._sample}

    @property
    def settings(self) -> list[int]:
        """What it was made with, as numbers."""
        found: list[int] = self._settings().tolist()
        return found

    def _settings(self) -> Tensor:
        classes = 0 if self.classes is None else self.classes
        sample = self._sample.size
        settings = [self.dim, classes, self.splits, self.chunks, sample, self.seed]
        return torch.tensor(settings + ([] if self._spatial is None else [self._spatial.dim]))

    def _check(
        self, name: str, x: Tensor, n: int, width: int, where: np.ndarray, late: bool
    ) -> None:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise InputTypeError(f"{name}: got {kind}; give a floating tensor")
        if tuple(x.shape) != (n, width):
            raise InputError(
                f"{name}: got shape {tuple(x.shape)}; give ({n}, {width}), for {n} positions and "
                f"{width} as the Summary was made"
            )
        # One NaN or inf makes the sum one; only then is each looked at.
        if not late and not bool(torch.isfinite(x.sum(dtype=torch.float32))):
            bad = where[(~torch.isfinite(x)).any(1).cpu().numpy()]
            if len(bad):
                raise not_finite(name, bad, n)


def _positions(positions: Sequence[int]) -> np.ndarray:
    given = np.asarray(positions)
    if given.size == 0:
        return np.zeros(0, dtype=np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iu" or int(given.min()) < 0:
        raise InputError(
            f"positions: got {given.dtype} of shape {given.shape}; give a whole number of at least "
            "0 for each image"
        )
    return given.astype(np.int64)
