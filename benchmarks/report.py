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

from benchmarks import results
from benchmarks.suites import page_of

QUIET = 0.7
"""At most the load of a machine on which nothing else runs, a minute after something did."""


def header(kept: dict[str, Any], title: str) -> list[str]:
    facts = kept["machine"]
    caches = ", ".join(f"{level} {size}" for level, size in (facts["caches"] or {}).items())
    load = facts["load_before"]
    lines = [
        f"# {title} on {facts['cpu']}, {facts['threads']} threads",
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


def markdown(kept: dict[str, Any], plot: str | None = None) -> str:
    page = page_of(kept["suite"])
    title, foreword = page.told(kept)
    lines = header(kept, title)
    if kept["failed"]:
        lines += [f"**Failed, and so not in the tables:** {'; '.join(kept['failed'])}.", ""]
    if kept["skipped"]:
        lines += [f"Left out: {'; '.join(kept['skipped'])}.", ""]
    lines += [page.verdict(kept), "", foreword, "", *page.body(kept)]
    if plot:
        lines += [f"![the speed-ups]({plot})", ""]
    return "\n".join(lines + page.legend(kept)).rstrip("\n") + "\n"


def verdict(kept: dict[str, Any]) -> str:
    """Where ganfast loses, in a sentence."""
    return page_of(kept["suite"]).verdict(kept)


def publish(kept: dict[str, Any], folder: Path, suffix: str = "") -> Path:
    """Writes JSON, plot and Markdown, in this order; returns the Markdown's path."""
    stem = results.stem(kept, suffix)
    results.dump(folder / f"{stem}.json", kept)
    drawn = any("times" in one["extra_info"] for one in kept["benchmarks"])
    if drawn:
        results.write(folder / f"{stem}.png", page_of(kept["suite"]).png(kept))
    results.write(folder / f"{stem}.md", markdown(kept, f"{stem}.png" if drawn else None))
    return folder / f"{stem}.md"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Markdown and PNG beside the JSON of a run.")
    parser.add_argument("json", type=Path, help="what benchmarks/run.py wrote")
    path = parser.parse_args(argv).json
    try:
        kept = results.of_any_age(json.loads(path.read_text(encoding="utf-8")))
        suffix = path.stem.removeprefix(results.stem(kept))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {path}: not the JSON of a run: {error}", file=sys.stderr)
        return 2
    print(publish(kept, path.parent, suffix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
