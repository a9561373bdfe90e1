"""The file that is kept: what was measured, less whatever tells whose machine it was."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine

# Lists of what stays, not of what goes: a field that a later version adds must not slip in.
MACHINE = (
    "cpu",
    "architecture",
    "cores",
    "threads",
    "caches",
    "ram_gib",
    "os",
    "python",
    "torch",
    "ganfast",
    "isa",
    "date",
    "load_before",
)
BENCHMARK = ("group", "param", "extra_info")
STATS = ("min", "median", "mean", "stddev", "iqr", "rounds", "iterations")


def trim(
    raw: dict[str, Any],
    command: str,
    failed: Sequence[str] = (),
    skipped: Sequence[str] = (),
    suite: str = "losses",
) -> dict[str, Any]:
    """Of pytest-benchmark's JSON what the report needs, with numbers of 5 digits."""
    return {
        "suite": suite,
        "command": command,
        "machine": {key: raw["machine_info"].get(key) for key in MACHINE},
        "failed": list(failed),
        "skipped": list(skipped),
        "benchmarks": [
            {
                **{key: _short(one.get(key)) for key in BENCHMARK},
                "stats": {key: _short(one["stats"].get(key)) for key in STATS},
            }
            for one in raw["benchmarks"]
        ],
    }


def of_any_age(kept: dict[str, Any]) -> dict[str, Any]:
    """A file from before there were other suites says neither whose it is nor what was skipped."""
    return {"suite": "losses", "skipped": [], **kept}


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return value


def stem(kept: dict[str, Any], suffix: str = "") -> str:
    """<suite>-<cpu>-<n>threads: a machine's next run replaces its last."""
    facts = kept["machine"]
    return f"{kept['suite']}-{machine.slug(facts)}-{facts['threads']}threads{suffix}"


def write(path: Path, content: str | bytes) -> None:
    """Beside and renamed: a reader, or Ctrl-C, meets the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if isinstance(content, bytes):
            beside.write_bytes(content)
        else:
            beside.write_text(content, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def dump(path: Path, kept: dict[str, Any]) -> None:
    """With a line for each benchmark, so that a diff of two runs can be read."""
    head = json.dumps({**kept, "benchmarks": []}, indent=1)
    lines = ",\n".join("  " + json.dumps(one) for one in kept["benchmarks"])
    write(path, head.replace('"benchmarks": []', f'"benchmarks": [\n{lines}\n ]') + "\n")
