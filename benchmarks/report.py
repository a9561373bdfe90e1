"""From the JSON of a run to a Markdown table and a plot.

``python benchmarks/report.py FILE.json`` makes both again, beside the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: not benchmarks/, whose names are common words
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import cases, forms, results
from benchmarks.providers import COMPILED, GANFAST
from benchmarks.rows import Row, rows

MARK = "▼"

QUIET = 0.7
"""At most the load of a machine on which nothing else runs, a minute after something did."""

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


def seconds(value: float) -> str:
    """Three digits in us below a millisecond, else in ms."""
    unit, scaled = ("us", value * 1e6) if value < 1e-3 else ("ms", value * 1e3)
    digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
    return f"{scaled:.{digits}f} {unit}"


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
    lines = [HEAD, ["---"] * 2 + ["---:"] * (len(HEAD) - 2), *(cells(row) for row in found)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def verdict(found: list[Row]) -> str:
    """Where ganfast loses, in a sentence."""
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


def header(kept: dict[str, Any]) -> list[str]:
    facts = kept["machine"]
    caches = ", ".join(f"{level} {size}" for level, size in (facts["caches"] or {}).items())
    load = facts["load_before"]
    lines = [
        f"# Losses on {facts['cpu']}, {facts['threads']} threads",
        "",
        f"- machine: {facts['cpu']} ({facts['architecture']}), {facts['cores']} cores, "
        f"caches of one core {caches or 'unknown'}, {facts['ram_gib']} GiB RAM, {facts['os']}",
        f"- software: Python {facts['python']}, torch {facts['torch']}, "
        f"ganfast {facts['ganfast']} with kernels for {facts['isa']}",
        f"- measured on {facts['date']}; load of the machine just before: {facts['load_before']}",
        f"- again: `{kept['command']}`",
        "",
    ]
    if load is not None and load > QUIET:
        lines += [
            "**Other programs were running.** A thread that has to wait for a core holds up every",
            "provider that uses two, and none that uses one: take these figures for a rehearsal.",
            "",
        ]
    return lines


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


def legend(found: list[Row]) -> list[str]:
    """What stands behind each eager form, as it was run."""
    lines = ["## The eager forms", ""]
    for player, game in dict.fromkeys((row.player, row.game) for row in found):
        if game in cases.games.GAMES:
            case = cases.flat(player, game, 1)
            codes = [f"`{form.code}`" for form in forms.of(player, case.phi, case.target)]
            lines.append(f"- {player}, {game}: {'; '.join(codes)}")
    return lines


def markdown(kept: dict[str, Any], plot: str | None = None) -> str:
    found = rows(kept)
    lines = header(kept)
    if kept["failed"]:
        lines += [f"**Failed, and so not in the tables:** {'; '.join(kept['failed'])}.", ""]
    lines += [verdict(found), "", EXPLANATION, ""]
    for player in dict.fromkeys(row.player for row in found):
        lines += [f"## {player.capitalize()}", ""]
        lines += [*table([row for row in found if row.player == player]), ""]
    if plot:
        lines += [f"![speed-up over eager PyTorch against the number of logits]({plot})", ""]
    return "\n".join(lines + legend(found)) + "\n"


def publish(kept: dict[str, Any], folder: Path, suffix: str = "") -> Path:
    """Writes JSON, plot and Markdown, in this order; returns the Markdown's path."""
    from benchmarks import plot

    stem = results.stem(kept, suffix)
    results.dump(folder / f"{stem}.json", kept)
    found = rows(kept)
    if found:
        results.write(folder / f"{stem}.png", plot.png(found, kept["machine"]))
    text = markdown(kept, f"{stem}.png" if found else None)
    results.write(folder / f"{stem}.md", text)
    return folder / f"{stem}.md"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Markdown and PNG beside the JSON of a run.")
    parser.add_argument("json", type=Path, help="what benchmarks/run.py wrote")
    path = parser.parse_args(argv).json
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        suffix = path.stem.removeprefix(results.stem(kept))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {path}: not the JSON of a run: {error}", file=sys.stderr)
        return 2
    print(publish(kept, path.parent, suffix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
