"""The speed-up over every rival, a panel for each table of a suite."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.standing import Standing


def png(rows: list[Standing], facts: dict[str, Any]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    sections = list(dict.fromkeys(row.section for row in rows))
    heights = [1.2 + sum(row.section == section for row in rows) for section in sections]
    figure = Figure(figsize=(8.5, 1.0 + 0.42 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(sections), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, section in zip(panels, sections, strict=True):
        mine = [row for row in rows if row.section == section]
        rivals = list(dict.fromkeys(name for row in mine for name in row.rivals))
        for index, rival in enumerate(rivals):
            there = [(y, row.ratios[rival]) for y, row in enumerate(mine) if rival in row.ratios]
            lines = [y for y, _ in there]
            medians = [found["median"] for _, found in there]
            spread = [
                [found["median"] - found["p20"] for _, found in there],
                [found["p80"] - found["median"] for _, found in there],
            ]
            panel.errorbar(
                medians, lines, xerr=spread, fmt="o", color=f"C{index}", markersize=5, label=rival
            )
        panel.axvline(1.0, color="0.4", linewidth=1, linestyle="--")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        panel.xaxis.set_minor_locator(NullLocator())
        low, high = panel.get_xlim()
        ticks = [t for t in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if low <= t <= high]
        panel.set_xticks(ticks or [1.0])
        panel.set_yticks(range(len(mine)), [row.label for row in mine], fontsize=8)
        panel.set_ylim(len(mine) - 0.5, -0.5)
        panel.set_title(section, fontsize=10)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(
        f"speed-up of ganfast over each rival: {facts['cpu']}, {facts['threads']} threads",
        fontsize=10,
    )
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120, metadata={"Software": None})
    return out.getvalue()
