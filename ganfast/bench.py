"""`ganfast bench`: what each op takes on this machine, in eager PyTorch and in ganfast.

A quick look, in a minute: eager is one natural way to write the op. The repository's benchmarks/
have every shape, more rivals, errors and limits.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

import ganfast
import ganfast.functional as GF
from ganfast import linalg, optim
from ganfast.errors import InputError
from ganfast.metrics import Moments, preprocess

Run = Callable[[], Tensor]

SAMPLE = 2e-3
"""Seconds that a step is repeated for at least: the clock and, on a GPU, the wait then cost
little."""
FEWEST, MOST = 5, 200
"""Rounds."""


class Duel(NamedTuple):
    """One op on one input, done in both ways; what they return is the same up to round-off."""

    op: str
    case: str
    eager: Run
    ganfast: Run


def measure(device: str = "cpu", *, quick: bool = False) -> dict[str, Any]:
    """Everything that `ganfast bench` tells, as plain values that JSON can hold."""
    try:
        where = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"device {device!r} can't be used ({reason}): try 'cpu'") from error
    seconds = 0.02 if quick else 2.5
    return {
        "ganfast": ganfast.__version__,
        "torch": torch.__version__,
        "device": str(where),
        "threads": torch.get_num_threads(),
        "rows": [compare(duel, where, seconds) for duel in duels(where, quick)],
    }


def compare(
    duel: Duel, device: torch.device, seconds: float, clock: Callable[[], float] = perf_counter
) -> dict[str, Any]:
    """Both in turn, round by round: what disturbs a round disturbs both of them."""

    def sample(run: Run, loops: int) -> float:
        start = clock()
        for _ in range(loops):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (clock() - start) / loops

    runs = {"eager": duel.eager, "ganfast": duel.ganfast}
    results = {name: run().detach().double() for name, run in runs.items()}
    scale = results["eager"].abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    difference = float((results["eager"] - results["ganfast"]).abs().max() / scale)
    loops = {}
    for name, run in runs.items():
        took = min(sample(run, 1) for _ in range(2))
        loops[name] = max(1, min(10_000, int(SAMPLE / max(took, 1e-9))))
    times: dict[str, list[float]] = {name: [] for name in runs}
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = clock() + seconds
        while len(times["eager"]) < FEWEST or (clock() < end and len(times["eager"]) < MOST):
            # In changing order: the second of two finds the caches as the first left them.
            order = list(runs) if len(times["eager"]) % 2 else list(reversed(runs))
            for name in order:
                times[name].append(sample(runs[name], loops[name]))
    finally:
        if collecting:
            gc.enable()
    ratios = [e / g for e, g in zip(times["eager"], times["ganfast"], strict=True)]
    return {
        "op": duel.op,
        "case": duel.case,
        "eager_seconds": median(times["eager"]),
        "ganfast_seconds": median(times["ganfast"]),
        "speedup": median(ratios),
        "difference": difference,
    }


def duels(device: torch.device, quick: bool) -> Iterator[Duel]:
    """One after another, so that no more than one holds memory."""
    for count in (64,) if quick else (64, 65_536, 1_000_000):
        yield discriminator_loss(count, device)
    shape = (4, 3, 8, 8) if quick else (64, 3, 64, 64)
    yield interpolate(shape, device)
    yield penalty_from_gradient(shape, device)
    sizes = (8,) * 4 if quick else (128,) * 64
    yield clipped_rmsprop(sizes, device)
    yield clip_weights(sizes, device)
    for count, n in ((8, 4),) if quick else ((4096, 8), (512, 32)):
        yield roots(count, n, device)
    yield trace(16 if quick else 512, device)
    yield statistics(*((50, 8) if quick else (5000, 512)), device)
    yield preprocessing(*((2, 8) if quick else (32, 256)), device)


def discriminator_loss(count: int, device: torch.device) -> Duel:
    real, fake = (normal(count, seed=seed, device=device).requires_grad_() for seed in (1, 2))

    def eager() -> Tensor:
        real.grad = fake.grad = None
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        loss.backward()
        return loss

    def ours() -> Tensor:
        real.grad = fake.grad = None
        loss = GF.discriminator_loss(real, fake)
        loss.backward()
        return loss

    return Duel("discriminator_loss", f"{count:,} logits a side, with backward", eager, ours)


def interpolate(shape: tuple[int, ...], device: torch.device) -> Duel:
    # Both draw an eps of their own, but between equal ends every point is the same.
    real = normal(*shape, seed=1, device=device)
    fake = real.clone()

    def eager() -> Tensor:
        eps = torch.rand(len(real), *[1] * (real.dim() - 1), device=device)
        return eps * real + (1 - eps) * fake

    return Duel("interpolate", f"{shape}", eager, lambda: GF.interpolate(real, fake))


def penalty_from_gradient(shape: tuple[int, ...], device: torch.device) -> Duel:
    gradient = normal(*shape, seed=1, device=device).requires_grad_()

    def eager() -> Tensor:
        gradient.grad = None
        penalty = (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()
        penalty.backward()
        return penalty

    def ours() -> Tensor:
        gradient.grad = None
        penalty = cast("Tensor", GF.penalty_from_gradient(gradient))
        penalty.backward()
        return penalty

    return Duel("penalty_from_gradient", f"{shape}, with backward", eager, ours)


def clipped_rmsprop(sizes: tuple[int, ...], device: torch.device) -> Duel:
    ours, theirs = weights(sizes, device), weights(sizes, device)
    one, other = (
        optim.RMSprop(ours, lr=5e-5, weight_clip=0.01),
        torch.optim.RMSprop(theirs, lr=5e-5),
    )

    def eager() -> Tensor:
        other.step()
        with torch.no_grad():
            for weight in theirs:
                weight.clamp_(-0.01, 0.01)
        return theirs[0]

    def ganfast_() -> Tensor:
        one.step()
        return ours[0]

    return Duel("optim.RMSprop, weight_clip", of(sizes), eager, ganfast_)


def clip_weights(sizes: tuple[int, ...], device: torch.device) -> Duel:
    ours, theirs = weights(sizes, device), weights(sizes, device)

    def eager() -> Tensor:
        with torch.no_grad():
            for weight in theirs:
                weight.clamp_(-0.01, 0.01)
        return theirs[0]

    def ganfast_() -> Tensor:
        GF.clip_weights_(ours, 0.01)
        return ours[0]

    return Duel("clip_weights_", of(sizes), eager, ganfast_)


def weights(sizes: tuple[int, ...], device: torch.device) -> list[Tensor]:
    found = []
    for seed, n in enumerate(sizes):
        found.append((0.02 * normal(n, n, seed=seed, device=device)).requires_grad_())
        found[-1].grad = normal(n, n, seed=seed + 1000, device=device)
    return found


def of(sizes: tuple[int, ...]) -> str:
    return f"{sum(n * n for n in sizes):,} weights in {len(sizes)} tensors"


def roots(count: int, n: int, device: torch.device) -> Duel:
    a = covariance(count, n, seed=1, device=device).float()

    def eager() -> Tensor:
        w, v = torch.linalg.eigh(a)
        return (v * w.clamp(min=0).sqrt()[..., None, :]) @ v.mT

    return Duel("sqrtm", f"{count:,} of {n} x {n}, float32", eager, lambda: linalg.sqrtm(a))


def trace(n: int, device: torch.device) -> Duel:
    a, b = (covariance(1, n, seed=seed, device=device)[0] for seed in (1, 2))

    def eager() -> Tensor:
        return torch.linalg.eigvals(a @ b).sqrt().real.sum()

    return Duel("trace_sqrtm", f"{n} x {n}, float64", eager, lambda: linalg.trace_sqrtm(a, b))


def preprocessing(count: int, side: int, device: torch.device) -> Duel:
    images = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, device=device)

    def eager() -> Tensor:
        x = F.interpolate(images.movedim(-1, 1).float() / 255, size=(299, 299), mode="bilinear")
        return (2 * x - 1).contiguous(memory_format=torch.channels_last)

    case = f"{count} x {side} x {side}"
    return Duel("preprocess", case, eager, lambda: preprocess(images, "pytorch-fid"))


def statistics(count: int, dim: int, device: torch.device) -> Duel:
    x = normal(count, dim, seed=1, device=device)

    def ours() -> Tensor:
        moments = Moments(dim)
        for rows in x.split(100):
            moments.update(rows)
        return moments.covariance

    case = f"{count:,} rows of {dim}, in batches of 100"
    return Duel("Moments", case, lambda: torch.cov(x.double().mT), ours)


def normal(*shape: int, seed: int, device: torch.device) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


def covariance(count: int, n: int, *, seed: int, device: torch.device) -> Tensor:
    rows = normal(count, 2 * n, n, seed=seed, device=device).double()
    return rows.mT @ rows / (2 * n)


def report(facts: dict[str, Any]) -> str:
    """What ``measure`` found as a table for a person."""
    table = [("op", "on", "eager", "ganfast", "speed-up", "differ by")]
    for row in facts["rows"]:
        told = (spelled(row["eager_seconds"]), spelled(row["ganfast_seconds"]))
        slower = "  (slower)" if row["speedup"] < 1 else ""
        speed = f"{row['speedup']:.2f}x"
        table.append((row["op"], row["case"], *told, speed, f"{row['difference']:.0e}{slower}"))
    widths = [max(len(line[column]) for line in table) for column in range(5)]
    lines = [
        f"ganfast {facts['ganfast']}, torch {facts['torch']}, {facts['device']}, "
        f"{facts['threads']} threads; medians of rounds in which both took turns",
        "",
    ]
    for line in table:
        words = [line[column].ljust(widths[column]) for column in range(2)]
        figures = [line[column].rjust(widths[column]) for column in range(2, 5)]
        lines.append("  ".join([*words, *figures, line[5]]))
    return "\n".join(lines)


def spelled(seconds: float) -> str:
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
