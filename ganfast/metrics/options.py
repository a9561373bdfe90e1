"""What an evaluation can be asked for: each option once, for Python and for the command line.

Importing this imports neither torch nor NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ganfast._options import option
from ganfast.errors import InputError
from ganfast.metrics.choices import FEATURES_DTYPES, INTERVALS, SPLITS
from ganfast.metrics.image_options import ImageOptions

CHUNKS = 20
"""Parts of each side that a bootstrap draws from and FID-infinity unites."""
REPLICATES = 100
"""FIDs that an interval by half-samples is made of: its Monte-Carlo error is 10 %."""
SAMPLE = 10_000
"""Images of each side that KID, precision and recall are taken from; 80 MB at 2,048 features."""
SAMPLED = ("kid", "cmmd", "prdc", "swd", "memorisation")
"""What compares images one by one."""
ADM_SAMPLE = 50_000
"""Fake images that ADM's evaluator takes precision and recall from; 400 MB at 2,048 features."""


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
        SPLITS,
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
        "the images; each can then be given in the place of the images",
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
        "much longer and up to 1.7 GB of memory a side; in simulations both cover as often, and "
        "that by influence is not wider",
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
        "also FID extrapolated to infinitely many fake images (arXiv:1911.07023; up to "
        "1.7 GB of memory)",
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

    def chunks_of(self, side: str) -> int:
        """Of "real" or "fake". FID at infinity is over the numbers of fake images alone."""
        return self.chunks if side != "real" or self.bootstrap else 0

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
