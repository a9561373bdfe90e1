"""The tables of a suite of contests: a row for each case, a column for each provider."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from benchmarks.names import GANFAST
from benchmarks.standing import Standing, standings
from benchmarks.words import MARK, ratio, seconds, table

FEW = 3
"""With fewer rounds than this a time says how many there were."""

READING = """\
Times are medians over rounds in which all providers took turns, with the error behind the stroke; a
time with n= in brackets is of n rounds, fewer than the others had. A speed-up is the median of the
ratios within each round, in brackets its 20th and 80th percentile. [How it is measured, and what
the limit counts](../README.md)."""


def told(kept: dict[str, Any]) -> tuple[str, str]:
    """Title and foreword of the report: the docstring of the suite's own file."""
    about = importlib.import_module(f"benchmarks.bench_{kept['suite']}").__doc__ or ""
    title, _, foreword = about.strip().partition("\n")
    return title.rstrip("."), f"{foreword.strip()}\n\n{READING}"


def body(kept: dict[str, Any]) -> list[str]:
    found = standings(kept)
    lines: list[str] = []
    for section in _unique(row.section for row in found):
        mine = [row for row in found if row.section == section]
        lines += [f"## {section}", "", *times(mine), ""]
        lines += [f"- {reason}" for reason in left_out(mine)]
        lines += [""] if left_out(mine) else []
        if any(row.shares for row in mine):
            lines += ["What share of the step each part takes:", "", *shares(mine), ""]
    return lines


def times(rows: list[Standing]) -> list[str]:
    names = _unique(name for row in rows for name in row.times)
    names.sort(key=lambda name: name == GANFAST)
    rivals = [name for name in names if name != GANFAST]
    head = ["case", *names, *(f"over {name}" for name in rivals), "limit", "of the limit"]
    lines = []
    for row in rows:
        over = [
            ratio(row.ratios[name], spread=row.played[name] >= FEW) if name in row.ratios else "-"
            for name in rivals
        ]
        first = f"{MARK} {row.label}" if row.lost_to else row.label
        held = [seconds(row.limit), f"{row.share:.0%}"]
        lines.append([first, *(cell(row, name) for name in names), *over, *held])
    return table(head, lines, 1)


def cell(row: Standing, name: str) -> str:
    """Time, error, and memory where it was taken."""
    if name not in row.times:
        return "-"
    facts = [seconds(row.times[name]["median"]), f"{row.errors[name]:.0e}"]
    if name in row.memory:
        facts.append(f"{row.memory[name]:.0f} MB")
    few = f" (n={row.played[name]})" if row.played[name] < FEW else ""
    return " / ".join(facts) + few


def shares(rows: list[Standing]) -> list[str]:
    parts = _unique(part for row in rows for found in row.shares.values() for part in found)
    lines = []
    for row in rows:
        for name, found in row.shares.items():
            whole = sum(found.values())
            cells = [
                f"{seconds(found[part])}, {found[part] / whole:.0%}" if part in found else "-"
                for part in parts
            ]
            lines.append([row.label, name, *cells])
    return table(["case", "provider", *parts], lines, 2)


def left_out(rows: list[Standing]) -> list[str]:
    """Who could not be timed, each reason once."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for name, why in row.missing.items():
            about.setdefault(f"{name} was left out ({why})", []).append(row.label)
    return [f"{reason}: {', '.join(labels)}" for reason, labels in about.items()]


def verdict(kept: dict[str, Any]) -> str:
    """Where ganfast loses, in a sentence."""
    found = standings(kept)
    if not found:
        return "Nothing passed that was asked for, so there is no table."
    lost = [
        f"{row.section}, {row.label}: {value:.2f}x {name} (errors {row.errors[GANFAST]:.0e} and "
        f"{row.errors[name]:.0e})"
        for row in found
        for name, value in row.lost_to.items()
    ]
    if not lost:
        return f"In none of the {len(found)} rows is ganfast slower than a rival."
    marked = sum(bool(row.lost_to) for row in found)
    return (
        f"ganfast is slower than a rival in {marked} of {len(found)} rows, marked {MARK} "
        f"(its speed relative to that rival): {'; '.join(lost)}."
    )


def legend(kept: dict[str, Any]) -> list[str]:
    return []


def png(kept: dict[str, Any]) -> bytes:
    from benchmarks import bars

    return bars.png(standings(kept), kept["machine"])


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
