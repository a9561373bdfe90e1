"""The losses' report: tables by player, the expressions of the rivals, the plot."""

from __future__ import annotations

from typing import Any

from benchmarks import words
from benchmarks.losses import cases, forms, plot
from benchmarks.losses.rows import Row, rows
from benchmarks.names import COMPILED, GANFAST
from benchmarks.words import MARK, seconds

HEAD = (
    "game",
    "logits per side",
    "eager",
    "eager, other form",
    "torch.compile",
    "ganfast",
    "limit",
    "speed-up over eager",
    "over torch.compile",
    "of the limit",
    "error, ganfast",
    "error, eager",
)


def ratio(found: dict[str, float]) -> str:
    return f"**{found['median']:.2f}x** ({found['p20']:.2f}-{found['p80']:.2f})"


def short(name: str) -> str:
    return name.removeprefix("eager").strip()


def cells(row: Row) -> list[str]:
    def time(name: str) -> str:
        return seconds(row.times[name]["median"]) if name in row.times else "-"

    def eager(index: int) -> str:
        if index >= len(row.eager):
            return "-"
        name = row.eager[index]
        return f"{time(name)} {short(name)}".strip()

    return [
        f"{MARK} {row.game}" if row.lost_to else row.game,
        row.label,
        eager(0),
        eager(1),
        time(COMPILED),
        time(GANFAST),
        seconds(row.limit),
        ratio(row.speedup),
        ratio(row.ratios[COMPILED]) if COMPILED in row.ratios else "-",
        f"{row.share:.0%}",
        f"{row.errors[GANFAST]:.1e}",
        f"{row.errors[row.fastest]:.1e}",
    ]


def table(found: list[Row]) -> list[str]:
    return words.table(HEAD, [cells(row) for row in found], 2)


def verdict(kept: dict[str, Any]) -> str:
    """Where ganfast loses, in a sentence."""
    found = rows(kept)
    if not found:
        return "Nothing passed that was asked for, so there is no table."
    lost = [
        f"{row.player}, {row.game}, {row.label}: {value:.2f}x {name}"
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


EXPLANATION = """\
Forward and backward of the mean loss, float32, gradients made new at every step. Times are medians
over rounds in which all providers took turns; a speed-up is the median of the ratios within each
round, in brackets its 20th and 80th percentile. torch.compile has the faster eager form. The limit
is the time to move 12 bytes per logit (8 where the loss is linear) at the bandwidth of torch's copy
of the same size, measured in the same rounds. Errors are the larger of value and gradient against
float64, each relative to its scale. `ones` and `zeros` are made outside of what is timed. What two
games share is measured once: the discriminator of nonsaturating is also that of minimax and
maximum_likelihood, the generator of wasserstein also that of hinge. [How it is
measured](../README.md)."""


def told(kept: dict[str, Any]) -> tuple[str, str]:
    return "Losses", EXPLANATION


def body(kept: dict[str, Any]) -> list[str]:
    found = rows(kept)
    lines: list[str] = []
    for player in dict.fromkeys(row.player for row in found):
        lines += [f"## {player.capitalize()}", ""]
        lines += [*table([row for row in found if row.player == player]), ""]
    return lines


def legend(kept: dict[str, Any]) -> list[str]:
    """What stands behind each eager form, as it was run."""
    found = rows(kept)
    lines = ["## The eager forms", ""]
    for player, game in dict.fromkeys((row.player, row.game) for row in found):
        if game in cases.games.GAMES:
            case = cases.flat(player, game, 1)
            codes = [f"`{form.code}`" for form in forms.of(player, case.phi, case.target)]
            lines.append(f"- {player}, {game}: {'; '.join(codes)}")
    return lines


def png(kept: dict[str, Any]) -> bytes:
    return plot.png(rows(kept), kept["machine"])
