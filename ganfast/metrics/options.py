"""What an evaluation can be told: each option once, for Python and for the command line.

Importing this imports neither torch nor NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganfast._options import check, option
from ganfast.errors import InputError
from ganfast.metrics.choices import (
    BACKGROUNDS,
    BATCH_SIZE,
    DECODERS,
    DIMS,
    EXTRACTORS,
    FEATURES_DTYPES,
    INTERVALS,
    LIBRARIES,
    ON_ERROR,
    PRECISIONS,
)
from ganfast.metrics.protocols import PROTOCOLS

if TYPE_CHECKING:
    import torch

    from ganfast.metrics.extractors import Extractor

CHUNKS = 20
"""Parts of each side that a bootstrap draws from and FID-infinity unites."""
REPLICATES = 100
"""FIDs that an interval by half-samples is made of: its Monte-Carlo error is 10 %."""
SAMPLE = 10_000
"""Images of each side that KID, precision and recall are taken from; 80 MB at 2,048 features."""
_EXTRACTOR = (
    rf"([^\W\d][\w.]*:[^\W\d][\w.]*|({'|'.join(LIBRARIES)}):[^\s,]+|{'|'.join(EXTRACTORS)})"
)
SAMPLED = ("kid", "cmmd", "prdc", "swd", "memorisation")
"""What compares images one by one."""
ADM_SAMPLE = 50_000
"""Fake images that ADM's evaluator takes precision and recall from; 400 MB at 2,048 features."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How images become features."""

    extractor: str | Extractor | Sequence[str | Extractor] = option(
        "inception",
        "what makes the features: inception (the published FID network), digits (the demo's "
        "classifier), dinov2 (ViT-L/14, as FD-DINOv2), clip (ViT-L/14@336, as CMMD), swav "
        "(ResNet-50, as dgm-eval), a model of a library, with its own resize, crop and scaling "
        "(timm:NAME, hf:REPOSITORY, torchvision:NAME), or module:factory of your own; of fid "
        "several with commas between them, which look at the images in one pass",
        choices=EXTRACTORS,
        form="module:factory",
        pattern=f"{_EXTRACTOR}(,{_EXTRACTOR})*",
        metavar="NAME",
    )
    weights: str | Path | None = option(
        None,
        "file of the Inception weights, or its URL; with the extractor swav that of its weights",
        unset="from torch.hub's folder, or downloaded",
        metavar="FILE",
    )
    dims: int | None = option(
        None,
        "features of the Inception network, each number another layer: {choices}; fewer suit fewer "
        "images, and compare only with the same",
        choices=DIMS,
        unset="2048",
    )
    protocol: str = option(
        "pytorch-fid",
        "whose resizing and scaling to follow: {choices}",
        choices=PROTOCOLS,
        metavar="NAME",
    )
    precision: str = option(
        "fp32",
        "precision of the network: {choices}; tf32 needs CUDA",
        choices=PRECISIONS,
        metavar="NAME",
    )
    device: str | torch.device | None = option(
        None,
        "where the network runs: {choices}",
        choices=("cpu", "cuda"),
        form="cuda:N",
        pattern=r"cuda:\d+",
        unset="cuda if there is one",
    )
    batch_size: int | None = option(
        None,
        "images that go through the network at once",
        least=1,
        unset=f"{BATCH_SIZE['cpu']}, on a GPU {BATCH_SIZE['cuda']}; a run that goes on has its own",
    )
    workers: int | None = option(
        None,
        "processes that decode images; 0 decodes in this one",
        least=0,
        unset="1, or with a GPU by the number of cores",
    )
    compile: bool = option(False, "put the network through torch.compile: minutes, for some speed")
    background: str = option(
        "white",
        "what shows through transparent pixels: {choices}",
        choices=BACKGROUNDS,
        metavar="COLOUR",
    )
    exif: bool = option(False, "turn photographs as their EXIF orientation says")
    max_pixels: int | None = option(
        None,
        "largest image that is decoded, in pixels; 0 for no limit",
        least=0,
        unset="Pillow's 178,956,970",
    )
    decoder: str = option(
        "auto",
        "what decodes plain files: {choices}; auto is simplejpeg (JPEG) and imagecodecs (PNG, "
        "WebP) where installed, each tried first and used if it gives Pillow's very pixels",
        choices=DECODERS,
        metavar="NAME",
    )
    on_error: str = option(
        "raise",
        "what a file that can't be read does: {choices}; skipped ones are named, and the exit code "
        "of a command is 3",
        choices=ON_ERROR,
        metavar="WHAT",
    )
    include: str | Sequence[str] = option(
        (),
        "take only files whose name matches this pattern, quoted ('*_fake_B.png'; with a slash it "
        "is about the path within the source); give it again for more patterns",
        metavar="PATTERN",
    )
    exclude: str | Sequence[str] = option(
        (),
        "leave out files whose name matches this pattern; give it again for more patterns",
        metavar="PATTERN",
    )
    num: int | None = option(
        None,
        "take only this many images of each source, the first ones in its order (that of names)",
        least=2,
        unset="all",
    )
    shuffle_seed: int | None = option(
        None, "with num or same_number, draw the images at random by this seed", least=0
    )
    key: str | None = option(
        None,
        "which item of batches that are dicts has the images",
        unset="the only one of a usual name, such as image, pixel_values, jpg",
        flag=False,
    )
    state: str | Path | None = option(
        None,
        "keep the run in this file, so that after an interruption the same call or command goes on "
        "from there to the identical result; it is removed when the result is out",
        metavar="FILE",
    )
    progress: bool = option(False, "show progress bars on stderr", flag=False)

    def __post_init__(self) -> None:
        check(self)
        chooses = self.num is not None or getattr(self, "same_number", False)
        if self.shuffle_seed is not None and not chooses:
            raise InputError(f"shuffle_seed: got {self.shuffle_seed} without num; give both")


@dataclass(frozen=True, kw_only=True)
class StatisticsOptions(ImageOptions):
    """The keywords of :func:`ganfast.metrics.image_statistics`."""

    sfid: bool = option(
        False,
        "also what sFID is made of (arXiv:2103.03841): mean and covariance of 2,023 features that "
        "keep their place in the image, of an earlier layer of the Inception network",
    )


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(ImageOptions):
    """The keywords of :func:`ganfast.metrics.score`."""

    splits: int = option(
        10,
        "parts of the images that the Inception Score is averaged over; image i is in part i "
        "modulo splits",
        least=1,
    )


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(ScoreOptions, StatisticsOptions):
    """The keywords of :func:`ganfast.metrics.evaluate`."""

    inception_score: bool = option(
        True, "also the Inception Score of the fake images (arXiv:1606.03498)"
    )
    kid: bool = option(
        False,
        f"also the Kernel Inception Distance (arXiv:1801.01401), of up to {SAMPLE:,} images of "
        "each side that the seed picks",
    )
    cmmd: bool = option(
        False,
        "also CMMD (arXiv:2401.09603), unbiased and times 1,000, of up to "
        f"{SAMPLE:,} images of each side; as the paper has it with the extractor clip",
    )
    prdc: bool = option(
        False,
        "also precision and recall (arXiv:1904.06991, k = 3), density and coverage "
        f"(arXiv:2002.09797, k = 5), of up to {SAMPLE:,} images of each side that the seed picks",
    )
    prdc_full: bool = option(
        False,
        "prdc from all images instead, whose features are kept in a file meanwhile: 8 KB an image "
        "at 2,048 features",
    )
    swd: bool = option(
        False,
        "also the sliced Wasserstein distance, mean of 1,000 directions, of up to "
        f"{SAMPLE:,} images of each side that the seed picks",
    )
    swd_full: bool = option(False, "swd from all images instead, kept as for prdc_full")
    features_folder: str | Path | None = option(
        None,
        "with prdc_full or swd_full, the folder in which the features of all images are kept until "
        "the result is out",
        unset="that of state, or the system's for temporary files",
        metavar="FOLDER",
    )
    features_dtype: str = option(
        "float32",
        "what they are kept in: {choices}, of which float16 takes half of the room and rounds "
        "features to 3 digits",
        choices=FEATURES_DTYPES,
        metavar="DTYPE",
    )
    keep_features: bool = option(
        False,
        "leave them in features_folder, as real.features.npy and fake.features.npy in the order of "
        "the images",
    )
    memorisation: bool = option(
        False,
        "also the share of fake images that are near copies of real ones, nearer to one than that "
        "is to any other (1 less authenticity, arXiv:2102.08921), and the nearest pairs by name; "
        f"of up to {SAMPLE:,} images of each side: give the training images as real",
    )
    held_out: str | Path | None = option(
        None,
        "with memorisation, real images that were not trained on: near copies are then the fake "
        "images that are nearer to a real one than any of these is",
        metavar="IMAGES",
    )
    adm: bool = option(
        False,
        "the table that papers report of ImageNet, as the evaluator of ADM makes it "
        "(arXiv:2105.05233): FID, sFID, IS, precision and recall, by the protocol torch-fidelity; "
        f"real may be its reference .npz, and of fake up to {ADM_SAMPLE:,} images count in "
        "precision and recall (400 MB)",
    )
    interval: bool = option(
        False,
        "also a 95% interval of FID, by the influence of each of up to "
        f"{SAMPLE:,} images of either side, and the fake images that cost most by name; no FID is "
        "computed again",
    )
    interval_by: str = option(
        "influence",
        "what makes the interval: {choices}; half-samples asks for one, from "
        f"{REPLICATES} FIDs (or as many as bootstrap says) of halves of the images, and takes that "
        "much longer and 1 GB of memory a side; in simulations both cover as often, and that by "
        "influence is not wider",
        choices=INTERVALS,
        metavar="NAME",
    )
    bootstrap: int = option(
        0,
        "another name of the interval by half-samples, with this many FIDs; 0 for none",
        least=0,
    )
    fid_infinity: bool = option(
        False,
        "also FID extrapolated to infinitely many fake images (arXiv:1911.07023; 1 GB of memory a "
        "side)",
    )
    per_class: bool = option(
        False,
        "also the FID of each class, a folder of one name in both sources (or a label of the same "
        "number in .npz files with arr_1, or beside the images of a loader), and their mean "
        "(intra-FID, arXiv:1802.05637); with prdc also precision and recall of each class; 50 MB "
        "of memory per class and side at 2,048 "
        "features",
    )
    label_key: str | None = option(
        None,
        "with per_class, which item of batches that are dicts has the labels",
        unset="the only one of a usual name, such as label, class, target",
        flag=False,
    )
    report: str | Path | None = option(
        None,
        "also write a page for people to this .html: the numbers with their interval, and the "
        "images that cost most, that are farthest from real ones, or that are missing",
        metavar="OUT.html",
    )
    seed: int = option(0, "seed of all that is drawn at random", least=0)
    cache: bool = option(
        True,
        "of 1,000 images of real or more, keep what the published networks see in them in a cache "
        "folder, which ganfast doctor names, by a hash of their content, so that they are looked "
        "at once",
    )
    same_number: bool = option(
        False, "take as many images of the larger side as the smaller one has"
    )
    allow_mismatch: bool = option(
        False, "compare with statistics that another protocol or network made"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.bootstrap < 4:
            raise InputError(f"bootstrap: got {self.bootstrap}; give 0 for none, or at least 4")

        for name in ("prdc", "swd"):
            if getattr(self, f"{name}_full"):
                object.__setattr__(self, name, True)
        if self.held_out is not None:
            object.__setattr__(self, "memorisation", True)
        if self.keep_features and not (self.whole and self.features_folder):
            raise InputError(
                "keep_features: got it without prdc_full or swd_full, or without features_folder; "
                "give both"
            )
        if self.features_folder is not None and not self.whole:
            raise InputError(
                f"features_folder: got {str(self.features_folder)!r} without prdc_full or "
                "swd_full; give one of them"
            )
        if self.adm:
            if self.protocol == "clean":
                raise InputError(
                    "adm: got it with the protocol 'clean', and ADM's is torch-fidelity; leave one "
                    "of them out"
                )
            for name, value in (("sfid", True), ("prdc", True), ("protocol", "torch-fidelity")):
                object.__setattr__(self, name, value)
        if self.report is not None:
            if Path(self.report).suffix.lower() not in (".html", ".htm"):
                raise InputError(f"report: got {str(self.report)!r}; give one that ends in .html")
            by_halves = self.bootstrap or self.interval_by == "half-samples"
            object.__setattr__(self, "interval", not by_halves)
        if self.interval_by == "half-samples":
            object.__setattr__(self, "bootstrap", self.bootstrap or REPLICATES)
            object.__setattr__(self, "interval", False)
        if self.interval and self.bootstrap:
            raise InputError(
                "interval: got it with bootstrap, which is another one; give one, or interval_by="
                "'half-samples'"
            )
        if self.per_class and self.chunks:
            raise InputError(
                "per_class: got it with bootstrap or fid_infinity, which divide the images "
                "otherwise; make two runs"
            )

    @property
    def chunks(self) -> int:
        return CHUNKS if self.bootstrap or self.fid_infinity else 0

    @property
    def sampled(self) -> list[str]:
        """What compares images one by one, of those that were asked for."""
        return [name for name in SAMPLED if getattr(self, name)]

    @property
    def whole(self) -> list[str]:
        """What of that is to be from all images."""
        return [name for name in ("prdc", "swd") if getattr(self, f"{name}_full")]

    @property
    def sample(self) -> int:
        needed = set(self.sampled) - set(self.whole)
        return SAMPLE if needed or self.interval or self.report is not None else 0

    def sample_of(self, side: str) -> int:
        """How many images of "real" or "fake" are kept."""
        full = self.adm and side == "fake" and not self.prdc_full
        return ADM_SAMPLE if full else self.sample
