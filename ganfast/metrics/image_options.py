"""How an evaluation is told to look at images: each option once, for Python and the command line.

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
    EXTRACTOR_FORMS,
    EXTRACTORS,
    LIBRARIES,
    ON_ERROR,
    PRECISIONS,
)
from ganfast.metrics.protocols import PROTOCOLS

if TYPE_CHECKING:
    import torch

    from ganfast.metrics.extractors import Extractor

_EXTRACTOR = (
    rf"([^\W\d][\w.]*:[^\W\d][\w.]*|({'|'.join(LIBRARIES)}):[^\s,]+|{'|'.join(EXTRACTORS)})"
)


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
        form=EXTRACTOR_FORMS,
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
