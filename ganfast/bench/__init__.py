"""`ganfast bench`: what each op takes on this machine, in eager PyTorch and in ganfast.

A quick look, in a minute, at some of the cases that the repository's benchmarks/ measure with every
shape, more rivals, errors and limits. The cases and the timing of both are here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import ganfast
from ganfast import _checks
from ganfast.bench import evaluation, losses, matrices, optim, penalty
from ganfast.bench.case import GANFAST, Case, Comparison, normal
from ganfast.bench.timing import in_words


def measure(device: torch.device | str = "cpu", *, quick: bool = False) -> dict[str, Any]:
    """Everything that `ganfast bench` tells, as plain values that JSON can hold.

    Args:
        device: where to run.
        quick: tiny inputs, only to see that it works.

    Returns:
        the versions, the device, the threads, and ``rows``: for each case the median seconds of
        eager PyTorch and of ganfast, ``speedup``, which is the median of their ratios within each
        round, and how far both are from float64. ``difference`` is what the results can differ by
        at most: the sum of both errors.

    Raises:
        InputError: torch cannot use ``device``.
        RuntimeError: a result is wrong.
    """
    where = _checks.device("device", device)
    return {
        "ganfast": ganfast.__version__,
        "torch": torch.__version__,
        "device": str(where),
        "threads": torch.get_num_threads(),
        "rows": [compare(op, case, where, quick) for op, case in cases(where, quick)],
    }


def compare(op: str, case: Case, device: torch.device, quick: bool = False) -> dict[str, Any]:
    """The first provider of ``case``, which is eager PyTorch, and ganfast."""
    eager = next(iter(case.providers))
    if device.type == "cuda" and optim.FOREACH in case.providers:
        eager = optim.FOREACH  # torch's default there
    both = {name: case.providers[name] for name in (eager, GANFAST)}
    seconds = 0.02 if quick else 2.5
    short = replace(case, providers=both, limit=None, after=None, seconds=seconds, rounds=5)
    found = Comparison(short, device).measure()
    for name, why in (found.failed | found.missing).items():
        raise RuntimeError(f"{op}, {case.label}: {name}: {why}")
    return {
        "op": op,
        "case": case.label,
        "eager_seconds": found.rounds.median(eager),
        "ganfast_seconds": found.rounds.median(GANFAST),
        "speedup": found.rounds.ratio(eager)["median"],
        "eager_error": found.errors[eager],
        "ganfast_error": found.errors[GANFAST],
        "difference": found.errors[eager] + found.errors[GANFAST],
    }


def cases(device: torch.device, quick: bool) -> Iterator[tuple[str, Case]]:
    """The name of each op, and a case of it."""
    for count in (64,) if quick else (64, 65_536, 1_000_000):
        yield "discriminator_loss", losses.loss("discriminator", "nonsaturating", [(count,)])
    shape = (64, 3, 4, 4) if quick else (64, 3, 64, 64)
    yield "interpolate", penalty.interpolation(shape)
    yield "penalty_from_gradient", penalty.from_gradient(shape)

    def weights() -> list[Tensor]:
        sizes = [8] * 4 if quick else [128] * 64
        return [0.02 * normal(n, n, seed=seed) for seed, n in enumerate(sizes)]

    yield "optim.RMSprop, weight_clip", optim.update(optim.RMSPROP, "square layers", weights)
    yield "clip_weights_", optim.update(optim.CLIP, "square layers", weights)
    for count, n in ((8, 4),) if quick else ((4096, 8), (512, 32)):
        yield "sqrtm", matrices.roots(count, n, torch.float32)
    yield "trace_sqrtm", matrices.traces(1, 16 if quick else 512, torch.float64)
    yield "Moments", evaluation.statistics(*((50, 8) if quick else (5000, 512)))
    yield "preprocess", evaluation.preprocessing(*((2, 8) if quick else (32, 256)))


def report(facts: dict[str, Any]) -> str:
    """What ``measure`` found as a table for a person."""
    table = [("op", "on", "eager", "ganfast", "speed-up", "differ by")]
    for row in facts["rows"]:
        times = (in_words(row["eager_seconds"]), in_words(row["ganfast_seconds"]))
        slower = "  (slower)" if row["speedup"] < 1 else ""
        speed = f"{row['speedup']:.2f}x"
        table.append((row["op"], row["case"], *times, speed, f"{row['difference']:.0e}{slower}"))
    widths = [max(len(line[column]) for line in table) for column in range(5)]
    lines = [
        f"ganfast {facts['ganfast']}, torch {facts['torch']}, {facts['device']}, "
        f"{facts['threads']} threads; medians of rounds in which both took turns, the "
        "speed-up's of the rounds' ratios",
        "",
    ]
    for line in table:
        words = [line[column].ljust(widths[column]) for column in range(2)]
        figures = [line[column].rjust(widths[column]) for column in range(2, 5)]
        lines.append("  ".join([*words, *figures, line[5]]))
    return "\n".join(lines)
