"""The result of `ganfast fid`, for a person and for a program."""

from __future__ import annotations

import json
import math
from pathlib import PurePath
from typing import Any

from ganfast._terminal import printable

_MANIFOLD = ("precision", "recall", "density", "coverage")


def certificate(exact: dict[str, Any], fast: dict[str, Any]) -> dict[str, Any]:
    """What the precision of ``fast`` does to the FID of ``exact``, of the same images.

    ``relative_deviation`` is |FID - reference FID| / reference FID; None where that is 0 / 0.
    """
    reference, fid = exact["fid"], fast["fid"]
    deviation = abs(fid - reference)
    return {
        "precision": fast["precision"],
        "fid": fid,
        "images_per_second": fast["images_per_second"],
        "reference_precision": exact["precision"],
        "reference_fid": reference,
        "reference_images_per_second": exact["images_per_second"],
        "relative_deviation": deviation / reference if reference > 0 else None,
    }


def as_json(result: dict[str, Any]) -> str:
    """One object of standard JSON, which has no NaN: such a value is null."""
    return json.dumps(_to_json(result), indent=2, allow_nan=False)


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, PurePath) else value


def report(result: dict[str, Any]) -> str:
    """A few aligned lines; what was not asked for, or is not to be had, has none."""
    by_class = result.get("fid_per_class") or {}
    rows = [
        (
            "FID",
            f"{_number(result['fid'])}  ({_number(result['mean_term'])} of the means + "
            f"{_number(result['covariance_term'])} of the covariances)",
        ),
        ("sFID", _known(result.get("sfid"))),
        ("95% interval", _interval(result.get("fid_interval"))),
        ("FID-infinity", with_error(result, "fid_infinity", "fid_infinity_error")),
        ("IS", with_error(result, "inception_score_mean", "inception_score_std")),
        ("KID", with_error(result, "kid_mean", "kid_std")),
        ("CMMD", with_error(result, "cmmd", "cmmd_error")),
        ("SWD", with_error(result, "swd", "swd_error")),
        *_manifold(result),
        ("intra-FID", with_error(result, "intra_fid", "")),
        ("intra-P, R", _pair(result, "intra_precision", "intra_recall")),
        *((f"FID {name}", _of_class(result, name)) for name in by_class),
        ("vanished", ", ".join(result.get("vanished_classes") or ()) or None),
        ("memorised", _memorised(result)),
        *(("near copy", pair) for pair in _near_copies(result)),
        *(("costs most", image) for image in _costly(result)),
        ("images", f"{_count(result['n_real'])} real, {_count(result['n_fake'])} fake"),
        ("protocol", result["protocol"]),
        ("extractor", result["extractor"]),
        ("features", _whole(result.get("dims"))),
        ("precision", result["precision"]),
        *((name, _in_short(found)) for name, found in (result.get("by_extractor") or {}).items()),
        ("certified", _certified(result.get("certificate"))),
        ("speed", speed(result)),
        *(("note", sentence) for sentence in result["notes"]),
        *(("skipped", name) for name in result["skipped"]),
    ]
    return aligned(rows)


def speed(result: dict[str, Any]) -> str:
    """How long it took, and how many images a second where any was looked at."""
    rate, seconds = result["images_per_second"], f"{result['seconds']:.1f} s"
    return seconds if rate is None else f"{rate:.4g} images/s, {seconds}"


def aligned(rows: list[tuple[str, str | None]]) -> str:
    """A line for each name that has a text."""
    lines = (f"{name:13} {text}" for name, text in rows if text is not None)
    return "\n".join(printable(line, lines=False) for line in lines)


def _number(value: float | None, digits: int = 6) -> str:
    return "unknown" if value is None else f"{value:.{digits}g}"


def _known(value: float | None) -> str | None:
    return None if value is None else _number(value)


def _count(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"


def _whole(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _interval(bounds: Any) -> str | None:
    return None if bounds is None else f"{_number(bounds[0])} to {_number(bounds[1])}"


def with_error(result: dict[str, Any], name: str, error: str) -> str | None:
    value, deviation = result.get(name), result.get(error)
    if value is None:
        return None
    return _number(value) + ("" if deviation is None else f"  (+- {_number(deviation, 3)})")


def _manifold(result: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Precision and recall, density and coverage, and of how many images they are."""
    if result.get("prdc_precision") is None:
        return []
    values = {key: _number(result[f"prdc_{key}"], 4) for key in _MANIFOLD}
    counts = (_count(result[f"prdc_{side}"]) for side in ("n_real", "n_fake"))
    return [
        ("manifold", ", ".join(f"{key} {value}" for key, value in values.items())),
        ("manifold of", "{} real, {} fake images".format(*counts)),
    ]


def _pair(result: dict[str, Any], one: str, two: str) -> str | None:
    if result.get(one) is None:
        return None
    return f"precision {_number(result[one], 4)}, recall {_number(result[two], 4)}"


def _of_class(result: dict[str, Any], name: str) -> str:
    """The FID of a class, with precision and recall where they were asked for."""
    fid = _number(result["fid_per_class"][name])
    prdc = (result.get("prdc_per_class") or {}).get(name)
    return fid if prdc is None else f"{fid}  ({_pair(prdc, 'precision', 'recall')})"


def _memorised(result: dict[str, Any]) -> str | None:
    if result.get("memorised") is None:
        return None
    share, expected = (f"{100 * result[key]:.1f}%" for key in ("memorised", "memorised_expected"))
    return f"{share} of the fake images are near copies, {expected} are to be expected"


def _near_copies(result: dict[str, Any], most: int = 5) -> list[str]:
    pairs = (result.get("memorised_pairs") or [])[:most]
    return [f"{fake} of {real}  ({_number(ratio, 3)})" for fake, real, ratio in pairs]


def _costly(result: dict[str, Any], most: int = 5) -> list[str]:
    images = (result.get("costly_images") or [])[:most]
    return [f"{name}  (FID {change:+.3g} without it)" for name, change in images]


_SHORT = {
    "FID": "fid",
    "KID": "kid_mean",
    "CMMD": "cmmd",
    "SWD": "swd",
    "precision": "prdc_precision",
    "recall": "prdc_recall",
}


def _in_short(found: dict[str, Any]) -> str:
    """What another extractor says of the same images."""
    values = [f"{word} {_number(found[key])}" for word, key in _SHORT.items() if key in found]
    return f"{', '.join(values)}  ({found['dims']:,} features, {found['protocol']})"


def _certified(made: dict[str, Any] | None) -> str | None:
    if made is None:
        return None
    off = made["relative_deviation"]
    fast, exact = made["images_per_second"], made["reference_images_per_second"]
    return (
        f"FID {_number(made['reference_fid'])} in {made['reference_precision']} "
        f"({_number(exact, 4)} images/s), {_number(made['fid'])} in {made['precision']} "
        f"({_number(fast, 4)} images/s): "
        f"{'no relative deviation from 0' if off is None else f'relative deviation {off:.2g}'}"
    )
