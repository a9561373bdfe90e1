"""Two folders in, a distance out: whole programs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.fid.network import FLOPS
from benchmarks.fid.pipeline import SEPARATE
from ganfast.bench.case import GANFAST, Case, ErrorOf, Provider, multiplying
from testing import pictures
from testing.inception_weights import save_random_weights

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = {
    "pytorch-fid": "pytorch_fid",
    "torch-fidelity": "torch_fidelity",
    "clean-fid": "cleanfid",
}

TOOLS = "pytorch-fid, torch-fidelity, prdc"

EXACT, HALF = 1e-4, 0.05
"""How far FID may be from the peer's own: with the network folded, and in bfloat16."""


class Program:
    """One provider of pipeline.py on two folders; calling it runs a new process."""

    def __init__(self, provider: str, place: tempfile.TemporaryDirectory[str]) -> None:
        self.provider, self.place = provider, place  # the folders are there as long as it is
        self.result: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        folders = pictures.Folders(Path(self.place.name))
        given = [folders.real, folders.fake, folders.place / "weights.pth", torch.get_num_threads()]
        command = [sys.executable, "-m", "benchmarks.fid.pipeline", self.provider, *map(str, given)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{self.provider}: {done.stderr.strip().splitlines()[-1][:300]}")
        self.result = json.loads(done.stdout.splitlines()[-1])
        return self.result


class Separate:
    """Several providers, one process after the other: the numbers of all, and the largest peak."""

    def __init__(self, place: tempfile.TemporaryDirectory[str]) -> None:
        for module in ("pytorch_fid", "torch_fidelity", "prdc"):
            if find_spec(module) is None:
                raise ModuleNotFoundError(f"{module} is not installed")
        self.programs = [Program(provider, place) for provider in SEPARATE]
        self.result: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        found = [program() for program in self.programs]
        peak = max(one["peak_mb"] for one in found)
        self.result = {name: x for one in found for name, x in one.items()} | {"peak_mb": peak}
        return self.result


def everything(kind: str, count: int = 128) -> Case:
    """All numbers of one pass, with intervals and the report, against the separate tools."""

    def error_of(place: Any) -> ErrorOf:
        known: dict[str, dict[str, Any]] = {}

        def error(name: str, found: dict[str, Any]) -> float:
            """That of FID by pytorch-fid; none will do where density or coverage differ by more
            than images whose distance hangs on the network's rounding."""
            known[name] = found
            right = known.get(TOOLS, found)
            apart = max(abs(found[x] - right[x]) for x in ("density", "coverage"))
            return abs(found["fid"] - right["fid"]) / right["fid"] if apart < 0.02 else math.inf

        return error

    return Case(
        name=f"{kind}-everything".replace(" ", "-").lower(),
        section=f"Time to everything, {count} against {count} images",
        label=f"{kind}, float32",
        inputs=partial(_folders, kind, count),
        providers={
            TOOLS: Provider(Separate, slow=True, optional=True),
            GANFAST: Provider(partial(Program, "ganfast everything"), EXACT, slow=True),
        },
        error_of=error_of,
        limit=partial(multiplying, 2048, torch.float32, 2 * count * FLOPS),
        seconds=0.0,
        rounds=2,
        after=_facts,
    )


def _folders(kind: str, count: int, device: Any, seed: int) -> tuple[Any]:
    place = tempfile.TemporaryDirectory(prefix="ganfast-bench-")
    pictures.folders(kind, count, Path(place.name))
    save_random_weights(Path(place.name) / "weights.pth")
    return (place,)


def _facts(steps: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "memory": {name: step.step.result["peak_mb"] for name, step in steps.items()},
        "shares": {GANFAST: steps[GANFAST].step.result["stages"]},
    }


def to_fid(kind: str, peer: str, provider: str = "ganfast", count: int = 512) -> Case:
    """``peer``, whose protocol it is, against ``provider`` of ganfast (names of
    pipeline.PROVIDERS)."""

    def theirs(place: Any) -> Program:
        if find_spec(MODULES[peer]) is None:
            raise ModuleNotFoundError(f"{peer} is not installed")
        return Program(peer, place)

    def error_of(place: Any) -> ErrorOf:
        fids: dict[str, float] = {}

        def error(name: str, found: dict[str, Any]) -> float:
            """Relative to the peer's own, where it is there."""
            fids[name] = found["fid"]
            right = fids.get(peer, found["fid"])
            return abs(found["fid"] - right) / right

        return error

    half = "bf16" in provider
    return Case(
        name=f"{kind}-{peer}-{provider}".replace(" ", "-").lower(),
        section=f"Time to FID, {count} against {count} images",
        label=f"{kind}, {'bf16' if half else 'float32'}, as {peer}",
        inputs=partial(_folders, kind, count),
        providers={
            peer: Provider(theirs, slow=True),
            GANFAST: Provider(partial(Program, provider), HALF if half else EXACT, slow=True),
        },
        error_of=error_of,
        limit=partial(multiplying, 2048, torch.float32, 2 * count * FLOPS),
        seconds=0.0,
        rounds=2,
        after=_facts,
    )
