"""From the JSON of a run to Markdown tables and a plot.

`python -m benchmarks.report FILE.json` makes both again, beside the file.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.rows import Row, rows
from ganfast.bench.case import GANFAST
from ganfast.bench.timing import in_words

MARK = "▼"
"""Before a row in which ganfast is slower than a rival."""


QUIET = 0.7
"""At most the load of a machine on which nothing else runs, a minute after something did."""

READING = """\
Times are medians over rounds in which all providers took turns, with the error behind the stroke; a
time with n= in brackets is of n rounds. A speed-up is the median of the ratios within each round,
in brackets its 20th and 80th percentile. [How it is measured, and what the limit
counts](../README.md)."""

ON_GPU = """\
Times are between CUDA events around steps that are enqueued back to back, as a training loop calls
them: of small inputs that is the processor's time to launch. In a CUDA graph it is the GPU's own.
Inputs rotate through more than the L2 cache holds{but}. The limit's own step reached {rate:.3g}
bytes or floating-point operations a second."""

BUSY = """\
**Other programs were running.** A thread that has to wait for a core holds up every
provider that uses two, and none that uses one: take these figures for a rehearsal."""


def table(head: Sequence[str], lines: Sequence[Sequence[str]], words: int) -> list[str]:
    """A Markdown table whose first ``words`` columns are words, the others figures."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return ["| " + " | ".join(line) + " |" for line in (head, rule, *lines)]


def times(mine: list[Row]) -> list[str]:
    names = sorted(unique(name for row in mine for name in row.stats), key=lambda n: n == GANFAST)
    rivals = [name for name in names if name != GANFAST]
    head = ["case", *names, *(f"over {name}" for name in rivals), "limit", "of the limit"]
    lines = [
        [
            f"{MARK} {row.label}" if row.lost_to else row.label,
            *(row.cell(name) for name in names),
            *(row.speedup(name) for name in rivals),
            in_words(row.limit),
            f"{row.share:.0%}",
        ]
        for row in mine
    ]
    return table(head, lines, 1)


def shares(mine: list[Row]) -> list[str]:
    """What share of the whole each part takes, where the parts were timed."""
    found = [
        (row.label, name, info["shares"])
        for row in mine
        for name, info in row.info.items()
        if info.get("shares")
    ]
    if not found:
        return []
    parts = unique(part for *_, each in found for part in each)
    lines = []
    for label, name, each in found:
        whole = sum(each.values())
        cells = [f"{in_words(each[p])}, {each[p] / whole:.0%}" if p in each else "-" for p in parts]
        lines.append([label, name, *cells])
    title = "What share of the whole each part takes:"
    return [title, "", *table(["case", "provider", *parts], lines, 2), ""]


def body(kept: dict[str, Any]) -> list[str]:
    """The tables of all sections, and the expressions that were timed."""
    found = rows(kept)
    lines: list[str] = []
    for section in unique(row.section for row in found):
        mine = [row for row in found if row.section == section]
        lines += [f"## {section}", "", *times(mine), "", *shares(mine)]
    codes = unique(
        f"- {row.section}: {name}: `{info['code']}`"
        for row in found
        for name, info in row.info.items()
        if "code" in info
    )
    return [*lines, "## The expressions", "", *codes, ""] if codes else lines


def verdict(kept: dict[str, Any]) -> str:
    """Where ganfast loses, in a sentence."""
    found = rows(kept)
    if not found:
        return "Nothing passed that was asked for, so there is no table."
    lost = [
        f"{row.section}, {row.label}: {value:.2f}x {name} (errors {row.info[GANFAST]['error']:.0e} "
        f"and {row.info[name]['error']:.0e})"
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


def left_out(kept: dict[str, Any]) -> list[str]:
    """What failed, and what was left out, each reason once."""
    lines = []
    if kept["failed"]:
        lines += [f"**Failed, and so not in the tables:** {'; '.join(kept['failed'])}.", ""]
    reasons: dict[str, list[str]] = {}
    for skipped in kept["skipped"]:
        case, _, why = skipped.partition(": ")
        reasons.setdefault(why, []).append(case)
    lines += [f"Left out: {why} ({', '.join(unique(names))})." for why, names in reasons.items()]
    return [*lines, ""] if reasons else lines


def header(kept: dict[str, Any], title: str) -> list[str]:
    facts = kept["machine_info"]
    caches = ", ".join(f"{level} {size}" for level, size in (facts["caches"] or {}).items())
    load = kept["load_before"]
    software = f"Python {facts['python']}, torch {facts['torch']}, "
    lines = [f"# {title} on {facts['cpu']}, {facts['threads']} threads", ""]
    if "gpu" in facts:
        names = {"cuda": "CUDA", "cudnn": "cuDNN", "triton": "Triton", "cupy": "CuPy"}
        names |= {"numpy": "NumPy", "scipy": "SciPy"}
        software += "".join(f"{names[each]} {facts[each]}, " for each in names if each in facts)
        lines = [
            f"# {title} on {facts['gpu']}",
            "",
            f"- GPU: {facts['gpu']}, compute capability {facts['capability']}, "
            f"{facts['processors']} processors, {facts['memory_gib']} GiB, L2 {facts['l2_mib']} "
            f"MiB, driver {facts['driver']}",
        ]
    lines += [
        f"- machine: {facts['cpu']} ({facts['architecture']}), {facts['cores']} cores, "
        f"caches of one core {caches or 'unknown'}, {facts['ram_gib']} GiB RAM, {facts['os']}",
        f"- software: {software}ganfast {facts['ganfast']} with kernels for {facts['isa']}",
        f"- measured on {kept['date']}; load of the machine just before: {load}",
        f"- again: `{kept['command']}`",
        "",
    ]
    busy = load is not None and load > QUIET and "gpu" not in facts
    return [*lines, BUSY, ""] if busy else lines


def foreword(kept: dict[str, Any]) -> tuple[str, str]:
    """Title and foreword of a suite's report: the docstring of its own file."""
    about = importlib.import_module(f"benchmarks.bench_{kept['suite']}").__doc__ or ""
    title, _, text = about.strip().partition("\n")
    reading = [text.strip(), "", READING]
    if "gpu" in kept["machine_info"]:
        facts = {row.label: row.info[GANFAST] for row in rows(kept)}
        near = [label for label, info in facts.items() if not info.get("past_cache", True)]
        but = f", but for {', '.join(near)}" if near else ""
        rate = max((info["rate"] for info in facts.values()), default=float("nan"))
        reading += ["", ON_GPU.format(but=but, rate=rate)]
    return title.rstrip("."), "\n".join(reading)


def markdown(kept: dict[str, Any], plot: str | None = None) -> str:
    title, about = foreword(kept)
    lines = [*header(kept, title), *left_out(kept), verdict(kept), "", about, "", *body(kept)]
    if plot:
        lines += [f"![the speed-ups]({plot})", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def publish(kept: dict[str, Any], folder: Path, suffix: str = "") -> Path:
    """Writes JSON, plot and Markdown, in this order; returns the Markdown's path."""
    stem = results.stem(kept, suffix)
    results.dump(folder / f"{stem}.json", kept)
    found = rows(kept)
    drawn = bool(found) and importlib.util.find_spec("matplotlib") is not None
    if drawn:
        from benchmarks import plot

        results.write(folder / f"{stem}.png", plot.png(found, kept["machine_info"]))
    results.write(folder / f"{stem}.md", markdown(kept, f"{stem}.png" if drawn else None))
    return folder / f"{stem}.md"


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


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
