"""What looks at images: the Inception network, the demo's digit classifier, or the user's own."""

from __future__ import annotations

import os

import torch

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.choices import DIMS, EXTRACTORS, LIBRARIES, PRESETS
from ganfast.metrics.extractors.custom import load_custom
from ganfast.metrics.extractors.extractor import Extractor
from ganfast.metrics.extractors.precision import check_precision
from ganfast.metrics.protocols import Protocol, find_protocol

__all__ = ["Extractor", "load_extractor"]


def load_extractor(
    name: str = "inception",
    *,
    weights: str | os.PathLike[str] | None = None,
    protocol: Protocol | str = "pytorch-fid",
    precision: str = "fp32",
    device: torch.device | str = "cpu",
    compile: bool = False,
    dims: int | None = None,
    spatial: bool = False,
    progress: bool = False,
) -> Extractor:
    """An extractor by its name, ready to be called with uint8 images.

    Args:
        name: "inception", "digits" (the demo's classifier, trained in some seconds), "dinov2",
            "clip" (as FD-DINOv2 and CMMD have them) and "swav" (as dgm-eval has it), "timm:NAME",
            "hf:REPOSITORY" or "torchvision:NAME" (of libraries, which prepare the images as the
            model wants them), or an import path "module:factory": see
            :func:`ganfast.metrics.extractors.custom.load_custom`.
        weights: the file of the Inception weights, or of SwAV's; by default torch hub's cache, else
            a download.
        protocol: how images become the network's input: a Protocol or its name.
        precision: "fp32", "tf32" (on CUDA only) or "bf16".
        device: where images are prepared and looked at.
        compile: by torch.compile, which takes a minute and needs a C++ compiler.
        dims: features of the Inception network, each number another layer: 64, 192, 768 or, by
            default, 2048. The layers after it are not computed; only the last has logits.
        spatial: whether to give the features of sFID too, which the whole Inception network has.
        progress: whether a download shows how far it is, on stderr.

    Raises:
        ValueError: (an InputError of one line) a mistake in these, or weights that can be neither
            found nor downloaded.
    """
    if not isinstance(name, str):
        raise InputTypeError(
            f"name: got a {type(name).__name__}; give a name, or 'module:factory' for a network of "
            "your own"
        )
    protocol = find_protocol(protocol)
    device = _checks.device("device", device)
    if dims is not None:
        dims = _checks.integer_of("dims", dims, DIMS)
    check_precision(precision, device)  # before weights are fetched or a network is made
    if spatial and (name != "inception" or dims not in (None, DIMS[-1])):
        got = f"the extractor {name}" if name != "inception" else f"its layer of {dims} features"
        raise InputError(
            f"sfid: it is made of the whole Inception network, and got {got}; leave sfid out, or "
            "extractor and dims"
        )
    if name == "inception":
        # With the network and the reader of its weights, which the others don't need.
        from ganfast.metrics.extractors.inception import load_inception

        return load_inception(
            weights=weights,
            protocol=protocol,
            precision=precision,
            device=device,
            compile=compile,
            dims=DIMS[-1] if dims is None else dims,
            spatial=spatial,
            progress=progress,
        )
    if weights is not None and name != "swav":
        raise InputError(
            f"weights: got a file, and the extractor {name} has its own; leave weights out"
        )
    if dims is not None:
        raise InputError(
            f"dims: got {dims}, and the extractor {name} has features of its own; leave dims out"
        )
    prefix, _, model = name.partition(":")
    library = prefix in LIBRARIES
    if library and not model:
        raise InputError(f"extractor: got {name!r}, which names no model; give {prefix}:NAME")
    if library or name in PRESETS:
        if protocol.name != "pytorch-fid":  # the default
            raise InputError(
                f"protocol: got {protocol.name!r}, and the extractor {name} has its own; leave "
                "protocol out"
            )
        from ganfast.metrics.extractors.libraries import load_library

        return load_library(
            name,
            name=name,
            precision=precision,
            device=device,
            compile=compile,
            weights=None if weights is None else str(_checks.path("weights", weights)),
        )
    return load_custom(
        EXTRACTORS.get(name) or name,
        name=name,
        protocol=protocol,
        precision=precision,
        device=device,
        compile=compile,
    )
