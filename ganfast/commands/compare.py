"""`ganfast compare`: the results of several `ganfast fid --json` side by side."""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import PurePath
from typing import Any

from ganfast._atomic_file import require_writable
from ganfast._checks import place
from ganfast._terminal import note, printable
from ganfast.commands.compare_plot import KINDS, save_plot
from ganfast.commands.exit_codes import DONE, IN_WORDS
from ganfast.errors import InputError, one_line

_DESCRIPTION = """\
The results that `ganfast fid --json` wrote, side by side, in the order given: the checkpoints of
one training, say. Two FIDs are told apart only by their intervals (ganfast fid --interval),
two values of CMMD by their standard errors.
"""

_ROWS = (
    ("FID", "fid"),
    ("95% from", "low"),
    ("95% to", "high"),
    ("FID-infinity", "fid_infinity"),
    ("sFID", "sfid"),
    ("intra-FID", "intra_fid"),
    ("IS", "inception_score_mean"),
    ("KID", "kid_mean"),
    ("CMMD", "cmmd"),
    ("CMMD +-", "cmmd_error"),
    ("SWD", "swd"),
    ("precision", "prdc_precision"),
    ("recall", "prdc_recall"),
    ("density", "prdc_density"),
    ("coverage", "prdc_coverage"),
    ("memorised", "memorised"),
    ("real images", "n_real"),
    ("fake images", "n_fake"),
)
"""What a row is called and which entry of a result it shows."""

_ALIKE = ("protocol", "extractor", "precision", "dims", "n_fake")
"""What two numbers must have in common to be compared."""

_UNPLOTTED = ("low", "high", "cmmd_error", "n_real", "n_fake")

_NORMAL = 1.959963984540054


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="the results of several runs of ganfast fid side by side",
        description=_DESCRIPTION,
        epilog=IN_WORDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "results", metavar="RESULT.json", nargs="+", help="what ganfast fid --json printed"
    )
    parser.add_argument(
        "--plot",
        metavar="OUT.png",
        help="also draw the numbers with their intervals to this .png, .svg or .pdf (needs "
        "matplotlib)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=lambda arguments: _run(arguments, parser))


def _run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if len(arguments.results) < 2:
        parser.error("give two results or more")
    if arguments.plot is not None:
        if PurePath(arguments.plot).suffix.lower() not in KINDS:
            parser.error(
                f"--plot: got {arguments.plot!r}; give one that ends in {', '.join(KINDS)}"
            )
        require_writable(arguments.plot, "plot")
    runs = dict(zip(_names(arguments.results), map(_read, arguments.results), strict=True))
    compared: dict[str, Any] = {
        "results": runs,
        "not_distinguishable": _not_distinguishable(runs),
        "notes": _notes(runs),
    }
    if arguments.plot is not None:
        _plot(arguments.plot, runs)
    if arguments.json:
        print(json.dumps(compared, indent=2))
        return DONE
    for line in _table(runs):
        print(printable(line, lines=False))
    for word, pairs in compared["not_distinguishable"].items():
        for one, two in pairs:
            print(printable(f"{word} of {one} and {two}: not distinguishable", lines=False))
    for sentence in compared["notes"]:
        note(sentence)
    return DONE


def _names(paths: list[str]) -> list[str]:
    """The shortest ends of the paths that differ, without .json."""
    parts = [PurePath(path).with_suffix("").parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {path}" for number, path in enumerate(paths, 1)]


def _read(path: str) -> dict[str, Any]:
    try:
        with open(place("RESULT.json", path), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else one_line(error)
        raise InputError(f"RESULT.json: cannot read {path!r}: {why}") from None
    if not isinstance(found, dict) or not isinstance(found.get("fid"), int | float):
        raise InputError(
            f"RESULT.json: {path!r} has no fid; give what ganfast fid --json printed, as by "
            "ganfast fid REAL FAKE --json > RESULT.json"
        )
    known = {key: found[key] for _, key in _ROWS if isinstance(found.get(key), int | float)}
    known |= {key: found[key] for key in _ALIKE if key in found}
    interval = found.get("fid_interval")
    if isinstance(interval, list) and len(interval) == 2:
        known |= {"low": interval[0], "high": interval[1]}
    return known


def _not_distinguishable(runs: dict[str, dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """By the name of a number the pairs of runs whose 95% intervals of it overlap."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, interval in _INTERVALS:
        for (one, a), (two, b) in combinations(runs.items(), 2):
            first, second = interval(a), interval(b)
            if first and second and first[0] <= second[1] and second[0] <= first[1]:
                found.setdefault(word, []).append((one, two))
    return found


def _of_fid(run: dict[str, Any]) -> tuple[float, float] | None:
    return (run["low"], run["high"]) if "low" in run else None


def _of_cmmd(run: dict[str, Any]) -> tuple[float, float] | None:
    if "cmmd" not in run or "cmmd_error" not in run:
        return None
    away = _NORMAL * run["cmmd_error"]
    return run["cmmd"] - away, run["cmmd"] + away


_INTERVALS = (("FID", _of_fid), ("CMMD", _of_cmmd))
"""The numbers that have a 95% interval, and how to read it."""


def _plot(path: str, runs: dict[str, dict[str, Any]]) -> None:
    shown = {word: key for word, key in _ROWS if key not in _UNPLOTTED}
    panels = {
        word: [run.get(key) for run in runs.values()]
        for word, key in shown.items()
        if any(key in run for run in runs.values())
    }
    intervals = {
        word: {i: found for i, run in enumerate(runs.values()) if (found := interval(run))}
        for word, interval in _INTERVALS
    }
    save_plot(path, list(runs), panels, intervals)


def _notes(runs: dict[str, dict[str, Any]]) -> list[str]:
    """What a reader of the table must know."""
    notes = []
    for key in _ALIKE:
        values = {json.dumps(run.get(key)): name for name, run in runs.items()}
        if len(values) > 1:
            listed = "; ".join(f"{value} in {name}" for value, name in values.items())
            notes.append(f"the results differ in {key} ({listed}): their numbers don't compare")
    without = [name for name, run in runs.items() if "low" not in run]
    if without:
        notes.append(
            f"no interval in {', '.join(without)}: whether these FIDs differ is not known; make "
            "them with ganfast fid --interval"
        )
    return notes


def _table(runs: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each number that one of the runs has, a column for each run."""
    rows = [("", list(runs))]
    for word, key in _ROWS:
        if any(key in run for run in runs.values()):
            rows.append((word, [_shown(run.get(key)) for run in runs.values()]))
    widths = [max(len(cells[i]) for _, cells in rows) for i in range(len(runs))]
    return [
        f"{word:13} " + "  ".join(x.rjust(w) for x, w in zip(cells, widths, strict=True))
        for word, cells in rows
    ]


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
