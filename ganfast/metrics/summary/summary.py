"""All that one pass over one side of a comparison keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.choices import SPLITS
from ganfast.metrics.distributed import gather
from ganfast.metrics.no_autograd import no_autograd
from ganfast.metrics.summary.batch_checks import check_logits, check_rows, positions_of
from ganfast.metrics.summary.chunked_moments import ChunkedMoments, ChunkOf
from ganfast.metrics.summary.feature_file import FeatureFile
from ganfast.metrics.summary.late_checks import LateChecks, without_waiting
from ganfast.metrics.summary.sample import BottomSample
from ganfast.metrics.summary.score_tally import ScoreTally
from ganfast.metrics.summary.streaming import Moments


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

    Memory, whatever the number of images: at most max(chunks, 1) x (8 dim^2 + 8192 dim) bytes for
    the moments, which at dim 2048 is 50 MB for one and 1 GB for 20 chunks, and 8 dim for an image
    of a chunk that has fewer than 1,023; 8 splits x classes for the score; 4 sample x dim for the
    sample. All of it is where the features are.

    Raises:
        ValueError: (an InputError) an argument out of its range.
    """

    def __init__(
        self,
        dim: int,
        *,
        classes: int | None = None,
        splits: int = SPLITS,
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
        chunks = _checks.integer("chunks", chunks, least=0)
        self.seed = _checks.integer("seed", seed, least=0)
        if self.seed >= 2**63:
            raise InputError(f"seed: got {seed}; give a whole number below 2**63")
        sample = _checks.integer("sample", sample, least=0)
        self._moments = ChunkedMoments(self.dim, chunks, self.seed, chunk_of, device)
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
        where = positions_of(positions)
        late = features.is_cuda if isinstance(features, Tensor) else False
        check_rows("features", features, self.dim, where, late=late)
        if self._tally is not None:
            logits = check_logits(logits, self._tally.classes, where, late=late)
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
        self._moments.add(features, where, late)
        self._sample.add(features, where)
        if self._spatial is not None:
            assert spatial is not None
            self._spatial.update_unchecked(spatial)

    def renumber(self, numbers: Sequence[int | None]) -> None:
        """Let chunk i be the present number ``numbers[i]``; None: one that no image was of."""
        self._moments.renumber(numbers)

    def settle(self) -> None:
        """Wait for the GPU, if features came from one; InputError if some, or logits, were not what
        add() takes."""
        self._late.read()

    @property
    def count(self) -> int:
        """The number of images so far."""
        return self._moments.count

    @property
    def chunks(self) -> int:
        """Into how many parts the moments are divided; 0 where they are not."""
        return self._moments.chunks

    @property
    def moments(self) -> Moments:
        """Of all images; where there are chunks, their merger in a fixed order, made anew at each
        reading."""
        self.settle()
        return self._moments.whole()

    @property
    def spatial_moments(self) -> Moments | None:
        """Of the other layer's features, where the Summary was made with ``spatial``."""
        self.settle()
        return self._spatial

    @property
    def chunk_moments(self) -> list[Moments]:
        """Of each chunk; none where ``chunks`` is 0."""
        self.settle()
        return list(self._moments.parts) if self.chunks else []

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
        settings = gather(torch.tensor(self.settings), group)
        if not bool((settings == settings[0]).all()):
            names = "dim, classes, splits, chunks, sample, seed and spatial, if any"
            raise InputError(
                f"Summary: got ({names}) = {settings.tolist()} by rank; make it alike in all "
                "processes"
            )
        for part in self._named().values():
            part.all_reduce(group)

    @no_autograd
    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all there is, as plain tensors: an object that goes on from here computes the
        same bits as one that never stopped. At dim 2048 up to 50 MB for each chunk."""
        self.settle()
        return {
            "settings": torch.tensor(self.settings),
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
        own, given = self.settings, state["settings"].tolist() if "settings" in state else "none"
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
            f"moments.{i}": part for i, part in enumerate(self._moments.parts)
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
        classes = 0 if self.classes is None else self.classes
        settings = [self.dim, classes, self.splits, self.chunks, self._sample.size, self.seed]
        return settings + ([] if self._spatial is None else [self._spatial.dim])
