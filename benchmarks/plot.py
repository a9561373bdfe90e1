"""The speed-up over every rival, a panel for each table of a suite."""

from __future__ import annotations

import io
from typing import Any

from benchmarks.rows import Row


def png(rows: list[Row], facts: dict[str, Any]) -> bytes:
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
        rivals = list(dict.fromkeys(name for row in mine for name in row.ratios))
        for index, rival in enumerate(rivals):
            there = [(y, row.ratios[rival]) for y, row in enumerate(mine) if rival in row.ratios]
            ratios = [ratio for _, ratio in there]
            medians = [ratio["median"] for ratio in ratios]
            spread = [
                [ratio["median"] - ratio["p20"] for ratio in ratios],
                [ratio["p80"] - ratio["median"] for ratio in ratios],
            ]
            lines, color = [y for y, _ in there], f"C{index}"
            panel.errorbar(
                medians, lines, xerr=spread, fmt="o", color=color, markersize=5, label=rival
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
    where = facts.get("gpu") or f"{facts['cpu']}, {facts['threads']} threads"
    figure.suptitle(f"speed-up of ganfast over each rival: {where}", fontsize=10)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120, metadata={"Software": None})
    return out.getvalue()
