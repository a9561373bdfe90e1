"""`ganfast doctor`: what is installed, what is built, which backend serves which op, and why."""

from __future__ import annotations

import importlib
import os
import platform
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy
import torch

import ganfast
from ganfast import _dispatch
from ganfast.errors import one_line

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8)
REBUILD = (
    "install a C++17 compiler, then ganfast again "
    "(pip install --force-reinstall --no-deps --no-cache-dir ganfast)"
)


def examine() -> dict[str, Any]:
    """Everything the doctor knows, as plain values that JSON can hold."""
    return {
        "versions": {
            "ganfast": ganfast.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "triton": _version("triton"),
            "cupy": _version("cupy"),
            "pillow": _version("PIL"),  # decodes the images of `ganfast fid`
        },
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
        "cpu_kernels": _cpu_kernels(),
        "cuda": _cuda(),
        "inception_weights": _weights(),
        "cache": _cache(),
        "forced_backend": ",".join(_dispatch.forced()) or None,
        "ops": _ops(),
    }


def _version(package: str) -> str | None:
    """The package's version, None if it is not there; one that is there and broken says so."""
    try:
        return str(importlib.import_module(package).__version__)
    except ModuleNotFoundError as error:
        return None if error.name == package else f"broken: {error}"
    except Exception as error:  # whatever a half-installed GPU stack raises is what we report
        return f"broken: {one_line(error)}"


def _cpu_kernels() -> dict[str, Any]:
    """Whether the C++ extension loads, and which instruction sets it chose from."""
    try:
        cpu = importlib.import_module("ganfast._cpu")
    except ImportError as error:
        return {"built": False, "error": one_line(error), "isa": None, "supported_isas": []}
    isas = list(cpu.supported_isas())
    return {"built": True, "error": None, "isa": cpu.isa(), "supported_isas": isas}


def _cuda() -> dict[str, Any]:
    """The CUDA devices that torch sees, or why it sees none."""
    if not torch.backends.cuda.is_built():
        return {"version": None, "devices": [], "error": "this torch is built without CUDA"}
    if not torch.cuda.is_available():
        return {"version": torch.version.cuda, "devices": [], "error": "torch sees no CUDA device"}
    devices = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "name": facts.name,
                "capability": f"{facts.major}.{facts.minor}",
                "memory_gib": round(facts.total_memory / 2**30, 1),
            }
        )
    return {"version": torch.version.cuda, "devices": devices, "error": None}


def _weights() -> dict[str, str | None]:
    """Whether `ganfast fid` finds its network's weights, and where they belong."""
    weights = importlib.import_module("ganfast.metrics.inception.weights")
    found = weights.find_weights()
    return {"folder": str(weights.weights_folder()), "found": found and str(found)}


def _cache() -> dict[str, Any]:
    """Where `ganfast fid` keeps what it knows of reference images, and how much that is."""
    cache = importlib.import_module("ganfast.metrics.evaluation.cache")
    found = cache.entries()
    size = sum(facts.st_size for _, facts in found)
    return {"folder": str(cache.cache_folder()), "entries": len(found), "bytes": size}


def _ops() -> list[dict[str, Any]]:
    """For every op, device and dtype: the backend that serves, and what every one answered."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    rows = []
    for op, row in _dispatch.OPS.items():
        # What no kernel reads, such as pixels for a loss, is not asked about.
        read = {*row.cpu, *row.triton, *row.cuda}
        for device in devices:
            for dtype in (each for each in DTYPES if each in read):
                verdicts = _dispatch.explain(op, torch.empty(0, device=device, dtype=dtype))
                rows.append(
                    {
                        "op": op,
                        "device": device,
                        "dtype": str(dtype).removeprefix("torch."),
                        "backend": _serving(verdicts),
                        "verdicts": [
                            {"backend": name, "ok": ok, "reason": reason}
                            for name, ok, reason in verdicts
                        ],
                    }
                )
    return rows


def _serving(verdicts: Sequence[tuple[str, bool, str]]) -> str | None:
    """The backend that a call would get; None where the forced one cannot serve: it raises."""
    able = [name for name, ok, _ in verdicts if ok]
    names = _dispatch.forced() or able
    return next((name for name in names if name in able), None)


def report(facts: dict[str, Any]) -> str:
    """The facts of ``examine`` as a page for a person."""
    versions, kernels, cuda = facts["versions"], facts["cpu_kernels"], facts["cuda"]
    if kernels["built"] and not kernels["isa"]:
        cpp = "built, but this processor has none of the instruction sets they need"
    elif kernels["built"]:
        offered = ", ".join(kernels["supported_isas"])
        cpp = f"built; runs {kernels['isa']} (this machine supports {offered})"
    else:
        cpp = f"NOT built ({kernels['error']}); slower ones serve. To have them, {REBUILD}"
    gpus = [f"{d['name']} (sm {d['capability']}, {d['memory_gib']} GiB)" for d in cuda["devices"]]
    lines = [
        *(f"{name:12} {version or 'not installed'}" for name, version in versions.items()),
        f"{'platform':12} {facts['platform']}",
        f"{'threads':12} {facts['threads']} of torch's, on {facts['cpu_count']} CPUs",
        f"{'C++ kernels':12} {cpp}",
        f"{'CUDA':12} {', '.join(filter(None, [cuda['version'], *gpus, cuda['error']]))}",
    ]
    weights = facts["inception_weights"]
    missing = f"not in {weights['folder']}: fetched at first use, or --weights FILE"
    lines.append(f"{'FID weights':12} {weights['found'] or missing}")
    cache = facts["cache"]
    sets = "set" if cache["entries"] == 1 else "sets"
    held = f"{cache['entries']} {sets} of reference images, {cache['bytes'] / 1e6:,.0f} MB"
    lines.append(f"{'cache':12} {cache['folder']}: {held}; to clear it, delete the folder")
    if facts["forced_backend"]:
        lines.append(f"{'forced':12} every call runs on {facts['forced_backend']!r} or raises")
    return "\n".join([*lines, "", *_served(facts["ops"]), "", *_refusals(facts["ops"])])


def _served(rows: list[dict[str, Any]]) -> list[str]:
    """One line per op, device and serving backend, its dtypes together."""
    dtypes: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        key = row["op"], row["device"], row["backend"] or "nothing: the forced one cannot"
        dtypes.setdefault(key, []).append(row["dtype"])
    table = [("op", "device", "served by", "dtypes")]
    table += [(*key, " ".join(names)) for key, names in dtypes.items()]
    widths = [max(len(line[column]) for line in table) for column in range(3)]
    return [
        "  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[3]])
        for line in table
    ]


def _refusals(rows: list[dict[str, Any]]) -> list[str]:
    """Why a backend does not serve: its reasons, each with the ops that it is about under it."""
    about: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        for verdict in row["verdicts"]:
            if not verdict["ok"]:
                reasons = about.setdefault((verdict["backend"], row["device"]), {})
                ops = reasons.setdefault(verdict["reason"], [])
                ops += [] if row["op"] in ops else [row["op"]]
    lines = ["why not the others"] if about else []
    asked = len({row["op"] for row in rows})
    for (name, device), reasons in about.items():
        lines.append(f"  {name} on {device}")
        for reason, ops in reasons.items():
            which = "every op" if len(ops) == asked else ", ".join(ops)
            lines += _wrapped(reason, 4) + _wrapped(which, 6)
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(
        text, 88, initial_indent=space, subsequent_indent=space,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
