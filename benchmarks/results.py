"""The file that is kept: pytest-benchmark's JSON, less whatever tells whose machine it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import machine
from ganfast._atomic_file import write_atomically

# Lists of what stays, not of what goes: a field that a later version adds must not slip in.
MACHINE = (
    "gpu",
    "capability",
    "processors",
    "memory_gib",
    "l2_mib",
    "cuda",
    "driver",
    "cudnn",
    "triton",
    "cupy",
    "numpy",
    "scipy",
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
)
BENCHMARK = ("group", "name", "param", "extra_info")


def trim(
    raw: dict[str, Any], suite: str, command: str, failed: list[str], skipped: list[str]
) -> dict[str, Any]:
    """Of pytest-benchmark's JSON what the report and `pytest-benchmark compare` need, with numbers
    of 5 digits and without every single sample."""
    return {
        "suite": suite,
        "command": command,
        "failed": failed,
        "skipped": skipped,
        "machine_info": {
            key: raw["machine_info"][key] for key in MACHINE if key in raw["machine_info"]
        },
        "date": raw["datetime"][:10],
        "load_before": raw["load_before"],
        "version": raw["version"],
        "benchmarks": [
            {
                **{key: _short(one[key]) for key in BENCHMARK},
                "fullname": f"benchmarks/bench_{suite}.py::{one['name']}",
                "stats": {key: _short(x) for key, x in one["stats"].items() if key != "data"},
            }
            for one in raw["benchmarks"]
        ],
    }


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return value


def stem(kept: dict[str, Any], suffix: str = "") -> str:
    """<suite>-<machine>: a machine's next run replaces its last."""
    return f"{kept['suite']}-{machine.slug(kept['machine_info'])}{suffix}"


def write(path: Path, content: str | bytes) -> None:
    """Whole or not at all: a reader, or Ctrl-C, meets the old file or the new one."""
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, "the report", lambda file: file.write(data))


def dump(path: Path, kept: dict[str, Any]) -> None:
    """With a line for each benchmark, so that a diff of two runs can be read."""
    head = json.dumps({**kept, "benchmarks": []}, indent=1)
    lines = ",\n".join("  " + json.dumps(one) for one in kept["benchmarks"])
    write(path, head.replace('"benchmarks": []', f'"benchmarks": [\n{lines}\n ]') + "\n")
