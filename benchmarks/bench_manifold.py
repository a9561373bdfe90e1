"""Precision and recall, density and coverage.

Features as a network gives them, 2,048 of each image, from memory to the four numbers; torch-
fidelity has two of them, precision and recall. All take five neighbours. The error is the largest
difference from the numbers by float64; behind it the memory that a provider takes beside the
features. The limit is one product of both sides and half of the product of each with itself, which
is symmetric, at the rate of torch's float32 matrix product.

    python -m benchmarks.bench_manifold PROVIDER COUNT DIM

prints the MB that one provider needs at its peak, and

    python -m benchmarks.bench_manifold products COUNT [DIM [ROUNDS]]

the time of features in files, mapped into memory as with prdc_full, over that of the same limit,
whose rate is measured before and after each round: 50,000 images take minutes.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Harness
from benchmarks.machine import peak_kib
from ganfast.bench.case import GANFAST, Case, ErrorOf, Provider, Step, calling, multiplying, normal
from ganfast.metrics import manifold_metrics
from testing import gaussians

K, DIM = 5, 2048
ROOT = Path(__file__).resolve().parent.parent

Numbers = dict[str, float]


def cases(quick: bool, device: str) -> list[Case]:
    if quick:
        return [manifold(*((300, 64) if device == "cpu" else (40, 8)), device)]
    counts = (2000, 5000, 10_000) if device == "cpu" else (10_000, 50_000)
    return [manifold(count, DIM, device) for count in counts]


def test_manifold(benchmark, harness: Harness, case: Case, graph: bool, provider: str) -> None:
    harness.record(benchmark, case, graph, provider)


def manifold(count: int, dim: int, device: str) -> Case:
    slow = count * dim > 10**6
    large = count**2 > 10**9  # what makes a matrix of all distances has no room

    def inputs(device: torch.device, seed: int) -> tuple[Tensor, Tensor]:
        sides = (gaussians.features(count, dim, seed=2 * seed + s, mean=0.05 * s) for s in (0, 1))
        real, fake = (side.float().to(device) for side in sides)
        return real, fake

    providers = {
        "prdc": Provider(prdc, slow=slow, optional=True),
        "torch-fidelity": Provider(torch_fidelity, slow=slow, optional=True),
        "torch.cdist, topk": Provider(calling(by_cdist), slow=slow),
        GANFAST: Provider(calling(ganfasts), 1e-12, slow=slow),
    }
    if device != "cpu":
        del providers["prdc"]
    if large:
        providers = {name: providers[name] for name in ("torch-fidelity", GANFAST)}
    return Case(
        name=f"manifold-{count}-{dim}",
        section=f"Precision, recall, density, coverage of float32 features, d = {dim:,}",
        label=f"{count:,} + {count:,} images",
        inputs=inputs,
        providers=providers,
        error_of=error_of,
        limit=partial(multiplying, 2048, torch.float32, 4.0 * count**2 * dim),
        seconds=0.0,
        rounds=3,
        patience=60.0,
        after=partial(memory, count, dim) if device == "cpu" else None,
    )


def ganfasts(real: Tensor, fake: Tensor) -> Numbers:
    return vars(manifold_metrics(real, fake, k=K))


def by_cdist(real: Tensor, fake: Tensor) -> Numbers:
    """As it is usually written: three matrices."""
    near = [torch.cdist(x, x).topk(K + 1, largest=False).values[:, -1] for x in (real, fake)]
    between = torch.cdist(real, fake)
    inside = between < near[0][:, None]
    return {
        "precision": float(inside.any(0).float().mean()),
        "recall": float((between < near[1]).any(1).float().mean()),
        "density": float(inside.sum(0).float().mean()) / K,
        "coverage": float((between.min(1).values < near[0]).float().mean()),
    }


def prdc(real: Tensor, fake: Tensor) -> Step:
    from prdc import compute_prdc

    def run() -> Numbers:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints how many there are
            found: Numbers = compute_prdc(real.numpy(), fake.numpy(), nearest_k=K)
        return found

    return run


def torch_fidelity(real: Tensor, fake: Tensor) -> Step:
    from testing.torchvision_stub import import_torchvision

    import_torchvision()
    from torch_fidelity.metric_prc import prc_features_to_metric

    options = {"prc_neighborhood": K, "prc_batch_size": 10_000, "verbose": False}
    in_parts = len(real) > 10_000  # or it makes three matrices
    return partial(prc_features_to_metric, fake, real, save_cpu_ram=in_parts, **options)


def error_of(real: Tensor, fake: Tensor) -> ErrorOf:
    exact = by_products(real.double(), fake.double())
    return lambda _, found: max(abs(found[name] - exact[name]) for name in exact if name in found)


def by_products(real: Tensor, fake: Tensor) -> Numbers:
    """In float64, in which |x|^2 + |y|^2 - 2 x.y of these features is good to 13 digits."""

    def squared(x: Tensor, y: Tensor) -> Tensor:
        return (x.square().sum(1)[:, None] + y.square().sum(1)).addmm_(x, y.T, alpha=-2)

    def strips(x: Tensor, y: Tensor) -> Any:
        return ((first, squared(part, y)) for first, part in enumerate(x.split(1000)))

    def nearest(x: Tensor) -> Tensor:
        parts = (d.topk(K + 1, largest=False).values[:, -1] for _, d in strips(x, x))
        return torch.cat(list(parts))

    near, near_fake = nearest(real), nearest(fake)
    held = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    recalled = covered = 0
    for first, distances in strips(real, fake):
        inside = distances < near[first * 1000 :][: len(distances), None]
        held += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distances < near_fake).any(1).sum())
    return {
        "precision": float((held > 0).double().mean()),
        "recall": recalled / len(real),
        "density": float(held.double().mean()) / K,
        "coverage": covered / len(real),
    }


def memory(count: int, dim: int, steps: dict[str, Step]) -> dict[str, dict[str, float]]:
    """A high-water mark never falls, so each needs a process of its own."""
    found = {}
    for name in steps:
        command = [sys.executable, "-m", "benchmarks.bench_manifold", name, str(count), str(dim)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found[name] = float(done.stdout)
    return {"memory": found}


def main(provider: str, count: int, dim: int) -> None:
    make = manifold(count, dim, "cpu").providers[provider].make

    def sides(rows: int) -> tuple[Tensor, Tensor]:
        # Made in float32: what is needed to make them must not be more than what is measured.
        return normal(rows, dim, seed=0), normal(rows, dim, seed=1)

    make(*sides(300))()  # libraries, threads and their buffers
    step = make(*sides(count))
    before = peak_kib()
    step()
    print((peak_kib() - before) * 1024 / 1e6)


def against_products(
    count: int, dim: int = DIM, rounds: int = 1, *, side: int = 2048
) -> list[float]:
    """The time over that of the products, by round; their rate is that of a product of matrices
    with so many rows."""
    limit = multiplying(side, torch.float32, 4.0 * count**2 * dim, torch.device("cpu"))

    def seconds(step: Step, times: int = 1) -> float:
        began = time.perf_counter()
        for _ in range(times):
            step()
        return (time.perf_counter() - began) / times

    with tempfile.TemporaryDirectory() as folder:
        real, fake = (in_file(f"{folder}/{seed}", count, dim, seed) for seed in (0, 1))
        manifold_metrics(real[:300], fake[:300], k=K)
        ratios, rate = [], seconds(limit.step, 9)
        for _ in range(rounds):
            took = seconds(partial(manifold_metrics, real, fake, k=K))
            before, rate = rate, seconds(limit.step, 9)
            ratios.append(took / ((before + rate) / 2 * limit.cost / limit.amount))
    return ratios


def in_file(path: str, count: int, dim: int, seed: int) -> np.ndarray:
    """Features as case() has them, made a piece at a time."""
    rows = np.memmap(path, "float32", "w+", shape=(count, dim))
    for start in range(0, count, 5000):
        part = rows[start : start + 5000]
        part[:] = gaussians.features(len(part), dim, seed=start + seed, mean=0.05 * seed).numpy()
    return rows


if __name__ == "__main__":
    if sys.argv[1] == "products":
        print(*(f"{ratio:.2f}" for ratio in against_products(*map(int, sys.argv[2:]))))
    else:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
