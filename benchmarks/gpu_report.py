"""What `make gpu` measured, as Markdown."""

from __future__ import annotations

from typing import Any

GANFAST, COMPILED = "ganfast", "torch.compile"
MARK = "▼"
HEAD = (
    "player",
    "game",
    "dtype",
    "logits per side",
    "eager",
    "torch.compile",
    "ganfast",
    "over eager",
    "over torch.compile",
    "limit",
    "of the limit",
)
EXPLANATION = """\
Forward and backward of the mean loss. Times are medians over rounds in which all providers took
turns, between CUDA events; eager is the faster of its forms. {l2}The limit is the time to move the
bytes that must move (logits read in forward and in backward, gradients written; a linear loss reads
nothing in backward) at the bandwidth of torch's copy of 1 GiB in the same run:
{bandwidth:.0f} GB/s."""


def quantity(seconds: float) -> str:
    unit, scaled = ("us", seconds * 1e6) if seconds < 1e-3 else ("ms", seconds * 1e3)
    return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {unit}"


def fastest_eager(times: dict[str, Any]) -> str | None:
    eager = [name for name in times if name not in (GANFAST, COMPILED)]
    return min(eager, key=lambda name: times[name]["median"]) if eager else None


def lost(row: dict[str, Any], kind: str) -> list[str]:
    """Whom ganfast is slower than."""
    times = row[kind]
    if GANFAST not in times:
        return []
    mine = times[GANFAST]["median"]
    return [name for name, each in times.items() if each["median"] < mine]


def cells(row: dict[str, Any], kind: str) -> list[str]:
    times = row[kind]

    def median(name: str | None) -> float | None:
        return times[name]["median"] if name in times else None

    def over(name: str | None) -> str:
        rival, mine = median(name), median(GANFAST)
        return "-" if rival is None or mine is None else f"**{rival / mine:.2f}x**"

    def shown(value: float | None) -> str:
        return "-" if value is None else quantity(value)

    eager, mine = fastest_eager(times), median(GANFAST)
    return [
        row["player"],
        f"{MARK} {row['game']}" if lost(row, kind) else row["game"],
        row["dtype"],
        row["label"],
        shown(median(eager)),
        shown(median(COMPILED)),
        shown(mine),
        over(eager),
        over(COMPILED),
        shown(row["limit"]),
        "-" if mine is None else f"{row['limit'] / mine:.0%}",
    ]


def table(head: tuple[str, ...], rows: list[list[str]], words: int) -> list[str]:
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def verdict(rows: list[dict[str, Any]], kind: str) -> str:
    """Where ganfast loses, in a sentence."""
    there = [row for row in rows if GANFAST in row[kind]]
    losing = [
        f"{row['player']}, {row['game']}, {row['dtype']}, {row['label']} (to {', '.join(found)})"
        for row in there
        if (found := lost(row, kind))
    ]
    if not losing:
        return f"In none of the {len(there)} rows is ganfast slower than a rival."
    return (
        f"ganfast is slower than a rival in {len(losing)} of {len(there)} rows, marked {MARK}: "
        f"{'; '.join(losing)}."
    )


def tested(tests: dict[str, Any]) -> str:
    """The tests in a line."""
    if "passed" not in tests:
        return f"- tests/gpu: **{tests.get('problem', 'not run')}**"
    line = f"- tests/gpu: {tests['passed']} passed, {tests['failed']} failed, "
    line += f"{tests['skipped']} skipped in {tests['seconds']} s"
    failures = tests["failures"]
    return line + (f"; **failed: {', '.join(failures)}**" if failures else "")


def markdown(kept: dict[str, Any]) -> str:
    """The report of one run."""
    facts, measured = kept["machine"], kept["losses"]
    lines = [
        f"# ganfast on {facts['gpu']}",
        "",
        f"- GPU: {facts['gpu']}, compute capability {facts['capability']}, {facts['processors']} "
        f"processors, {facts['memory_gib']} GiB, L2 {facts['l2_mib']} MiB, "
        f"driver {facts['driver']}",
        f"- software: Python {facts['python']}, torch {facts['torch']} (CUDA {facts['cuda']}), "
        f"Triton {facts['triton']}",
        f"- measured on {facts['date']}; ganfast {kept['install']}",
        tested(kept["tests"]),
        "- again: `make gpu`",
        "",
    ]
    if "problem" in measured:
        lines += [f"**The benchmark stopped early:** {measured['problem']}", ""]
    rows = measured["rows"]
    if rows:
        near = [row["label"] for row in rows if not row["beyond_l2"]]
        l2 = "Inputs rotate through more than the L2 cache holds"
        l2 += f", but for {', '.join(dict.fromkeys(near))} logits. " if near else ". "
        bandwidth = measured["copy_bandwidth"] / 1e9
        lines += [EXPLANATION.format(l2=l2, bandwidth=bandwidth), ""]
    for kind, title in (
        ("times", "As a training loop calls it"),
        ("graph_times", "In a CUDA graph: the GPU's own time"),
    ):
        there = [row for row in rows if row[kind]]
        if there:
            lines += [f"## {title}", "", verdict(there, kind), ""]
            lines += [*table(HEAD, [cells(row, kind) for row in there], 4), ""]
    if rows:
        lines += [
            "## Errors",
            "",
            "Of value and gradient against float64, relative to their scales.",
            "",
        ]
        lines += [*table(("loss", "provider", "value", "gradient"), errors(rows), 2), ""]
    gone = [f"{name(row)}: {who}: {why}" for row in rows for who, why in row["missing"].items()]
    gone += measured["left_out"]
    if gone:
        lines += ["## Not measured", "", *(f"- {each}" for each in gone), ""]
    return "\n".join(lines)


def name(row: dict[str, Any]) -> str:
    return f"{row['player']}, {row['game']}, {row['dtype']}, {row['label']}"


def errors(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [name(row), provider, f"{found['value']:.1e}", f"{found['gradient']:.1e}"]
        for row in rows
        for provider, found in row["errors"].items()
    ]
