"""The speed-up over eager PyTorch, drawn against the number of logits."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.losses.rows import Row


def png(rows: list[Row], facts: dict[str, Any]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    games = list(dict.fromkeys(row.game for row in rows))  # a game has one colour in both panels
    players = list(dict.fromkeys(row.player for row in rows))
    figure = Figure(figsize=(5.2 * len(players), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(players), squeeze=False, sharey=True)[0]
    for panel, player in zip(panels, players, strict=True):
        mine = [row for row in rows if row.player == player]
        for game in dict.fromkeys(row.game for row in mine):
            color = f"C{games.index(game)}"
            flat = sorted(
                (row for row in mine if row.game == game and row.heads == 1),
                key=lambda row: row.size,
            )
            sizes = [row.size for row in flat]
            medians = [row.speedup["median"] for row in flat]
            panel.plot(sizes, medians, "o-", color=color, label=game, markersize=4)
            low, high = ([row.speedup[p] for row in flat] for p in ("p20", "p80"))
            panel.fill_between(sizes, low, high, color=color, alpha=0.15, linewidth=0)
            for row in mine:
                if row.game == game and row.heads > 1:
                    panel.plot(row.size, row.speedup["median"], "*", color=color, markersize=9)
        panel.axhline(1.0, color="0.4", linewidth=1, linestyle="--")
        panel.set_xscale("log")
        panel.set_yscale("log", base=2)
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.set_title(f"{player} loss")
        panel.set_xlabel("logits per side")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    panels[0].set_ylabel("speed-up over the fastest eager form")
    if any(row.heads > 1 for row in rows):
        panels[0].plot([], [], "*", color="0.3", label="three PatchGAN heads")
        panels[0].legend(fontsize=8)
    figure.suptitle(
        f"ganfast, forward + backward, float32: {facts['cpu']}, {facts['threads']} threads",
        fontsize=10,
    )
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120, metadata={"Software": None})
    return out.getvalue()
