"""The extractors of an evaluation, and whether they suit what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.choices import DIMS, LIBRARIES, PRESETS
from ganfast.metrics.extractors import Extractor, load_extractor
from ganfast.metrics.images import ImageSource
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.protocols import PROTOCOLS
from ganfast.metrics.statistics import Statistics


def several(given: Any) -> list[str | Extractor]:
    """What the option ``extractor`` names: one, several with commas between them, or a list."""
    if isinstance(given, str):
        given = given.split(",")
    names = [given] if isinstance(given, Extractor) else given
    if not isinstance(names, Sequence) or not names:
        names = [given]  # which is then told of
    for name in names:
        if not isinstance(name, (str, Extractor)):
            raise InputTypeError(
                f"extractor: got a {type(name).__name__}; give a name, 'module:factory' for a "
                "network of your own, or what load_extractor gives"
            )
    called = [name if isinstance(name, str) else name.name for name in names]
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"extractor: got {twice!r} twice; give each once")
    return list(names)


def load_extractors(
    names: Sequence[str | Extractor],
    options: EvaluationOptions,
    opened: Mapping[str, ImageSource | Statistics],
    beside: Mapping[str, ImageSource],
    device: torch.device,
    progress: bool,
) -> list[Extractor]:
    """Each of ``names``; none where all sides are statistics.

    Raises:
        InputError: one can't be loaded, or statistics don't have what was asked for.
    """
    for name, source in opened.items():
        if isinstance(source, Statistics):
            _require_enough(name, source, name in beside, len(names), options)
    if not beside and not any(isinstance(one, ImageSource) for one in opened.values()):
        return []
    loaded = [_load(name, options, len(names) == 1, device, progress) for name in names]
    if options.sfid and all(one.spatial is None for one in loaded):
        raise InputError(
            f"sfid: got the extractor {', '.join(repr(one.name) for one in loaded)}, which gives "
            "no features of sFID; give inception (or load_extractor(spatial=True)), or leave sfid "
            "out"
        )
    return loaded


def _require_enough(
    name: str, source: Statistics, images: bool, extractors: int, options: EvaluationOptions
) -> None:
    if extractors > 1:
        raise InputError(
            f"extractor: got {extractors} of them, and {name} is a file of statistics, which one "
            "of them made; give the images, or one extractor"
        )
    asked = [one for one in options.sampled if not (images and one == "prdc")]
    if asked and (source.features is None or images):
        raise InputError(
            f"{asked[0]}: it compares images and {name} is a file of statistics; give the images "
            f"or a file of their features, or leave {asked[0]} out"
        )
    if options.sfid and source.spatial is None:
        raise InputError(
            f"sfid: {name} is a file of statistics without mu_s and sigma_s; give the images, make "
            "it anew with ganfast stats --sfid, or leave sfid out"
        )


def _load(
    name: str | Extractor,
    options: EvaluationOptions,
    alone: bool,
    device: torch.device,
    progress: bool,
) -> Extractor:
    if isinstance(name, Extractor):
        if alone and options.dims not in (None, name.dim):
            raise InputError(
                f"dims: got {options.dims}, and the extractor gives {name.dim} features; leave "
                "dims out"
            )
        return name
    # Beside others, what is about the Inception network is for it alone.
    inception = alone or name == "inception"
    own = not alone and (name in PRESETS or name.partition(":")[0] in LIBRARIES)
    return load_extractor(
        name,
        weights=options.weights if inception else None,
        protocol=PROTOCOLS["pytorch-fid" if own else options.protocol],
        precision=options.precision,
        device=device,
        compile=options.compile,
        dims=options.dims if inception else None,
        spatial=options.sfid and inception,
        progress=progress,
    )


def how_made(extractor: Extractor) -> dict[str, Any]:
    """What two sides' features must have in common to be compared."""
    return {
        "protocol": extractor.protocol.name,
        "extractor": extractor.identity,
        "precision": extractor.precision,
    }


def require_comparable(
    opened: Mapping[str, ImageSource | Statistics],
    extractor: Extractor | None,
    options: EvaluationOptions,
) -> list[str]:
    """What is to be kept in mind of the sides that are statistics; InputError if they were made in
    another way than each other, or than ``extractor`` looks at images."""
    statistics = [side for side in opened.values() if isinstance(side, Statistics)]
    allow, notes = options.allow_mismatch, []
    for own, other in zip(statistics, statistics[1:], strict=False):
        if own is not other:
            notes += own.check_comparable(other, allow_mismatch=allow)
    for one in statistics:
        if extractor is None:
            if options.dims not in (None, one.dim):
                raise InputError(
                    f"dims: got {options.dims}, and the statistics have {one.dim} features; leave "
                    "dims out"
                )
            continue
        if one.dim != extractor.dim:
            layer = extractor.layer is not None and one.dim in DIMS
            raise InputError(
                f"the statistics have {one.dim} features and the network {extractor.name!r} has "
                f"{extractor.dim}: "
                + (f"give --dims {one.dim} (dims={one.dim}), or " if layer else "")
                + "make them anew with ganfast stats"
            )
        notes += one.check_comparable(**how_made(extractor), allow_mismatch=allow)
    return notes
