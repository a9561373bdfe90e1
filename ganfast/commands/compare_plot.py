"""The plot of `ganfast compare --plot`: a panel for each number, intervals, and what overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ganfast._atomic_file import write_atomically
from ganfast._terminal import printable

KINDS = (".png", ".svg", ".pdf")

Interval = tuple[float, float]


def groups(intervals: Mapping[int, Interval]) -> list[list[int]]:
    """The largest sets of numbers whose intervals all overlap each other, two or more in each.

    Intervals on a line that overlap by pairs have a common point, which is where one of them
    begins: the sets are the ones that are open there, less those within another.
    """
    found: list[list[int]] = []
    for start, _ in sorted(intervals.values()):
        members = [i for i, (low, high) in intervals.items() if low <= start <= high]
        if len(members) > 1 and members not in found:
            found.append(members)
    return [one for one in found if not any(set(one) < set(other) for other in found)]


def save_plot(
    path: str,
    names: Sequence[str],
    panels: Mapping[str, Sequence[float | None]],
    intervals: Mapping[str, Mapping[int, Interval]],
) -> None:
    """Write it to ``path``, a .png, .svg or .pdf, whole or not at all.

    Args:
        names: of the runs, in order.
        panels: by the name of a number the runs' values of it.
        intervals: by that name the 95% intervals of those runs that have one.

    Raises:
        ValueError: (an InputError) Matplotlib is missing, or the file can't be written.
    """
    from ganfast.train.pictures import COLOURS, new_figure

    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    width = max(3.6, 0.55 * len(names) + 1.6)
    figure = new_figure(width * columns, 3.4 * rows)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, (title, values) in zip(places, panels.items(), strict=False):
        there = [i for i, value in enumerate(values) if value is not None]
        known = [values[i] for i in there]
        axes.plot(there, known, color=COLOURS[0], alpha=0.35, zorder=1)
        axes.scatter(there, known, color=COLOURS[0], s=22, zorder=3)
        ends = intervals.get(title, {})
        if ends:
            lows, highs = zip(*ends.values(), strict=True)
            axes.vlines(list(ends), lows, highs, color=COLOURS[0], linewidth=2, zorder=2)
        axes.set_title(title, loc="left")
        axes.set_xticks(
            range(len(names)), [_short(name) for name in names], rotation=30, ha="right"
        )
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        _mark(axes, groups(ends), COLOURS[1])
    kind = PurePath(path).suffix.lower().removeprefix(".")
    write_atomically(path, "plot", lambda file: figure.savefig(file, format=kind))


def _mark(axes: Any, sets: Sequence[Sequence[int]], colour: str) -> None:
    """A line above the values joins the runs of each set."""
    if not sets:
        return
    low, high = axes.get_ylim()
    step = 0.07 * (high - low)
    for level, members in enumerate(sets, 1):
        y = high + level * step
        axes.plot(members, [y] * len(members), color=colour, marker="o", markersize=4)
    top = high + (len(sets) + 1) * step
    axes.text(-0.4, top, "not distinguishable", color=colour, fontsize="small", va="bottom")
    axes.set_ylim(low, top + 1.6 * step)


def _short(name: str) -> str:
    """Its end, which is where names differ, and nothing that Matplotlib takes for a formula."""
    text = printable(name, lines=False).replace("$", r"\$")
    return text if len(text) <= 24 else f"…{text[-23:]}"
