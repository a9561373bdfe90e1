"""The network that FID and the Inception Score are defined with, as an Extractor."""

from __future__ import annotations

import os

import torch

from ganfast.metrics.extractors.extractor import Extractor, Preprocess, identity
from ganfast.metrics.inception.fast import FastInception
from ganfast.metrics.inception.graphed import GraphedNetwork
from ganfast.metrics.inception.network import CLASSES, FEATURES, SIZE, SPATIAL, build_network
from ganfast.metrics.inception.weights import load_weights
from ganfast.metrics.protocols import Protocol

NAME = "inception"


def load_inception(
    *,
    weights: str | os.PathLike[str] | None = None,
    protocol: Protocol,
    precision: str = "fp32",
    device: torch.device,
    compile: bool = False,
    dims: int = FEATURES,
    spatial: bool = False,
    progress: bool = False,
    preprocess: Preprocess | None = None,
) -> Extractor:
    """2048 features and 1008 logits (without bias) of images, by the weights in ``weights``; of
    ``dims`` below 2048, the features of an earlier layer and no logits. With ``spatial`` also the
    features of sFID.

    The arguments are those of :func:`load_extractor`, which has checked them. InputError where the
    weights are neither found nor downloaded, or not what they should be.
    """
    loaded = load_weights(weights, progress=progress)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    notes = []
    if not loaded.published:
        notes.append(
            f"{loaded.path} is not the published file of Inception weights: the number compares "
            f"only with others by the same weights"
        )
    whole = dims == FEATURES
    fast = FastInception(
        build_network(loaded.state),
        dims=dims,
        spatial=spatial,
        dtype=dtype,
        device=device,
        compile=compile,
    )
    return Extractor(
        GraphedNetwork(fast) if device.type == "cuda" and not compile else fast,
        name=NAME,
        identity=identity(NAME if whole else f"{NAME} {dims}", loaded.state),
        dim=dims,
        classes=CLASSES if whole else None,
        protocol=protocol,
        precision=precision,
        device=device,
        size=SIZE,
        layer=dims,
        spatial=SPATIAL if spatial else None,
        preprocess=preprocess,
        notes=notes,
    )
