"""Two folders in, a distance out: whole programs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import Contest, Entry
from benchmarks.fid import pictures
from benchmarks.limit import multiplying
from benchmarks.names import GANFAST
from benchmarks.ours import NotThere
from tests.metrics.inception_weights import save_random_weights

ROOT = Path(__file__).resolve().parent.parent.parent

FLOPS = 2 * 5.7e9
"""Of the network for one image of 299 x 299: 5.7e9 multiplications with an addition."""

EXACT, HALF = 1e-4, 0.05
"""How far FID may be from the peer's own: with the network folded, and in bfloat16."""


@dataclass(frozen=True)
class ToFid:
    """The peer whose protocol it is against ours."""

    kind: str
    peer: str
    ours: str = "ganfast"
    count: int = 512

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.peer}-{self.ours}".replace(" ", "-").lower()

    def contest(self) -> Contest:
        kept = tempfile.TemporaryDirectory(prefix="ganfast-bench-")  # until the contest is over
        try:
            folders = pictures.folders(self.kind, self.count, Path(kept.name))
        except ImportError as why:
            raise NotThere(f"the pictures need {why.name}") from None
        weights = folders.place / "weights.pth"
        save_random_weights(weights)
        told: dict[str, dict[str, Any]] = {}

        def entry(name: str, provider: str, tolerance: float | None = None) -> Entry:
            def make() -> Any:
                peer = provider.replace("-", "_").replace("clean_fid", "cleanfid")
                if name != GANFAST and find_spec(peer) is None:
                    raise NotThere("it is not installed")
                given = [provider, str(folders.real), str(folders.fake), str(weights)]

                def run() -> dict[str, Any]:
                    told[name] = _run([*given, str(torch.get_num_threads())])
                    return told[name]

                return run

            return Entry(make, tolerance, slow=True)

        def error(name: str, found: dict[str, Any]) -> float:
            """Relative to the peer's own, where it is there."""
            fid = told.get(self.peer, found)["fid"]
            return abs(found["fid"] - fid) / fid

        tolerance = HALF if "bf16" in self.ours else EXACT
        return Contest(
            section=f"Time to FID, {self.count} against {self.count} images",
            label=f"{self.kind}, {'bf16' if 'bf16' in self.ours else 'float32'}, as {self.peer}",
            entries={
                self.peer: entry(self.peer, self.peer),
                GANFAST: entry(GANFAST, self.ours, tolerance),
            },
            error=error,
            yard=multiplying(2048, torch.float32),
            cost=2 * self.count * FLOPS,
            seconds=0.0,
            rounds=1,
            afterwards={
                "memory": lambda kept=kept: {
                    name: found["peak_mb"] for name, found in told.items()
                },
                "shares": lambda: {GANFAST: told[GANFAST]["stages"]},
            },
        )


def _run(given: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.fid.pipeline", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{given[0]}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
