"""One oracle for each row of _dispatch.OPS: what a backend's functions must give, on small inputs.

The files of tests named after an op go deep; this makes sure that no row, and no backend of a row,
is without a comparison with float64. A new op needs a function here, or the suite is red.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import truth
from torch import Tensor

from ganfast import optim, reference
from ganfast.games import PHIS, LossSpec
from ganfast.reference.features import DistanceSpec
from ganfast.reference.penalty import PenaltySpec
from ganfast.reference.preprocess import PreprocessSpec

Oracle = Callable[[Any, str, torch.dtype], None]

ORACLES: dict[str, Oracle] = {}
"""By the name of an op: checks (module of a backend, device, dtype that the op reads)."""


def oracle(*ops: str) -> Callable[[Oracle], Oracle]:
    def register(function: Oracle) -> Oracle:
        ORACLES.update(dict.fromkeys(ops, function))
        return function

    return register


def normal(*shape: int, device: str, dtype: torch.dtype, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64).to(device, dtype)


def compare(module: Any, function: str, exact: Any, *arguments: Any, size: float = 4.0) -> Any:
    """``function`` of ``module`` within the rule of truth.py of the reference in float64.

    ``exact`` is the reference's module; ``arguments`` are given to it in float64. Returns what the
    backend gave.
    """
    got = getattr(module, function)(*arguments)
    torchs = getattr(exact, function)(*arguments)
    oracles = getattr(exact, function)(*map(widened, arguments))
    for mine, other, true in zip(*map(tensors, (got, torchs, oracles)), strict=True):
        truth.assert_as_good_as_torch(mine.cpu(), other.to(mine.dtype).cpu(), true.cpu(), size)
    return got


def tensors(x: Any) -> list[Tensor]:
    return [x] if isinstance(x, Tensor) else [each for each in x if each is not None]


def widened(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.double() if x.is_floating_point() else x
    if isinstance(x, tuple) and not hasattr(x, "_fields"):
        return tuple(map(widened, x))
    return torch.float64 if isinstance(x, torch.dtype) else x


@oracle("discriminator_loss", "generator_loss")
def losses(module: Any, device: str, dtype: torch.dtype) -> None:
    logits = tuple(normal(n, device=device, dtype=dtype, seed=n) for n in (1025, 31))
    one = torch.ones((), device=device, dtype=dtype)
    for phi in PHIS.values():
        spec = LossSpec(phi, (0.9, 0.0), 1, "mean")
        compare(module, "adversarial_loss", reference.losses, logits, spec, None, dtype)
        arguments = (one,), logits, spec, None, (True, True)
        compare(module, "adversarial_loss_gradient", reference.losses, *arguments, size=0.1)
        spec = LossSpec(phi, (1.0,), 1, "mean", compares="pairs")
        pair = logits[0], logits[0].flip(0).contiguous()
        compare(module, "adversarial_loss", reference.losses, pair, spec, None, dtype)
        arguments = (one,), pair, spec, None, (True, True)
        compare(module, "adversarial_loss_gradient", reference.losses, *arguments, size=0.1)
    spec = LossSpec(PHIS["hinge"], (1.0, 0.0), 1, "mean", statistics=True)
    statistics = one.new_empty(5, dtype=reference.losses.accumulation_dtype(dtype))
    module.adversarial_loss(logits, spec, None, dtype, statistics)
    exact = reference.losses.loss_statistics([x.double() for x in logits], spec)
    torch.testing.assert_close(statistics.double(), exact, rtol=1e-5, atol=1e-6)


@oracle("feature_matching_loss")
def features(module: Any, device: str, dtype: torch.dtype) -> None:
    shapes = (4097,), (3, 5, 7), (1,)
    fake, real = (
        tuple(normal(*s, device=device, dtype=dtype, seed=seed) for s in shapes) for seed in (0, 1)
    )
    for square in (False, True):
        spec = DistanceSpec(square, (0.5 / 4097, 0.01, -2.0))
        value = compare(module, "feature_distance", reference.features, real, fake, spec)
        arguments = torch.full_like(value, 0.7), real, fake, spec, (True, False, True)
        compare(module, "feature_distance_gradient", reference.features, *arguments)


@oracle("interpolate")
def interpolate(module: Any, device: str, dtype: torch.dtype) -> None:
    real, fake = (normal(6, 3, 7, device=device, dtype=dtype, seed=s) for s in (0, 1))
    compare(module, "interpolate", reference.penalty, real, fake, 5, 2)
    compare(module, "interpolate_gradient", reference.penalty, real, 5, 2, (True, True))


@oracle("penalty_from_gradient")
def penalty(module: Any, device: str, dtype: torch.dtype) -> None:
    x, v = (normal(6, 41, device=device, dtype=dtype, seed=s) for s in (0, 1))
    for spec in (PenaltySpec(1.0, False, 10.0, 1), PenaltySpec(6.0, True, 1.0, 2)):
        value, norms = compare(module, "penalty", reference.penalty, x, spec, size=400.0)
        grad = torch.full_like(value, 0.7)
        compare(module, "penalty_gradient", reference.penalty, grad, x, norms, spec, size=40.0)
        arguments = v, grad, x, norms, spec
        compare(module, "penalty_second_order", reference.penalty, *arguments, size=400.0)


@oracle("clip_weights_")
def clip(module: Any, device: str, dtype: torch.dtype) -> None:
    weights = [normal(n, device=device, dtype=dtype, seed=n) for n in (1, 4097)]
    expected = [x.clamp(-0.3, 0.3) for x in weights]
    count = module.clip_weights_(weights, 0.3, True)
    for x, clamped in zip(weights, expected, strict=True):
        assert torch.equal(x, clamped)
    bound = torch.tensor(0.3, dtype=dtype, device=device)
    assert int(count) == sum(int((x.abs() == bound).sum()) for x in expected)


OPTIMIZERS = {kind._op: kind for kind in map(vars(optim).get, optim.__all__)}


def step_of(op: str) -> Oracle:
    """Two steps: the second one reads what the first has kept."""

    def check(module: Any, device: str, dtype: torch.dtype) -> None:
        weights = [normal(n, device=device, dtype=dtype, seed=n) for n in (3, 4097)]
        variants = [[torch.nn.Parameter(x.clone()) for x in weights] for _ in range(2)]
        variants.append([torch.nn.Parameter(x.double()) for x in weights])
        optimizers = [OPTIMIZERS[op](each, lr=0.05, weight_clip=1.5) for each in variants]
        for seed in range(2):
            for parameters in variants:
                for p in parameters:
                    g = normal(*p.shape, device=device, dtype=dtype, seed=seed)
                    p.grad = g.to(p.dtype)
            optimizers[0]._create_state()
            for optimizer, by in zip(
                optimizers, (module, reference.optim, reference.optim), strict=True
            ):
                getattr(by, op)(optimizer)
        for mine, other, true in zip(*variants, strict=True):
            given = (x.detach().cpu() for x in (mine, other, true))
            truth.assert_as_good_as_torch(*given, 4.0)

    return check


ORACLES.update({op: step_of(op) for op in OPTIMIZERS})


def covariances(count: int, n: int, device: str, dtype: torch.dtype, seed: int = 0) -> Tensor:
    x = normal(count, 2 * n, n, device=device, dtype=torch.float64, seed=seed)
    return (x.mT @ x / n).to(dtype)


@oracle("sqrtm")
def sqrtm(module: Any, device: str, dtype: torch.dtype) -> None:
    for n in (1, 7, 33):
        a = covariances(5, n, device, dtype)
        roots, definite = module.batch_sqrtm(a, 1e-5)
        exact = reference.linalg.batch_sqrtm(a.double(), 1e-5)[0]
        limit = 50 * torch.finfo(dtype).eps * float(exact.abs().max())
        torch.testing.assert_close(roots.double(), exact, rtol=0, atol=limit)
        assert definite.all() and roots.dtype == dtype
    assert not module.batch_sqrtm(-covariances(2, 5, device, dtype), 1e-5)[1].any()


@oracle("trace_sqrtm")
def trace_sqrtm(module: Any, device: str, dtype: torch.dtype) -> None:
    for n in (1, 7, 33):
        a, b = (covariances(5, n, device, dtype, seed=s) for s in (0, 1))
        traces, definite = module.batch_trace_sqrtm(a, b, 1e-5, 1e-5)
        exact = reference.linalg.batch_trace_sqrtm(a.double(), b.double(), 1e-5, 1e-5)[0]
        torch.testing.assert_close(traces, exact, rtol=1e-12, atol=0)
        assert definite.all()


@oracle("pivoted_panel")
def pivoted_panel(module: Any, device: str, dtype: torch.dtype) -> None:
    a = covariances(1, 40, device, dtype)[0]
    results = []
    for by in (module, reference.linalg):
        rest, order = a.clone(), torch.arange(40, device=device)
        panel, factor = a.new_zeros(16, 40), a.new_zeros(40, 40)
        done = by.pivoted_panel(rest, order, panel, factor, 0, 1e-12, 1e-14, 16)
        assert sorted(order.tolist()) == list(range(40))
        results.append((done, order[:done], factor))  # the others may come in any order
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@oracle("symmetry")
def symmetry(module: Any, device: str, dtype: torch.dtype) -> None:
    a = normal(3, 9, 9, device=device, dtype=dtype)
    a[2, 3, 4] = torch.nan
    torch.testing.assert_close(
        module.symmetry(a), reference.linalg.symmetry(a), rtol=0, atol=0, equal_nan=True
    )


@oracle("moments")
def moments(module: Any, device: str, dtype: torch.dtype) -> None:
    rows = (normal(20, 33, device=device, dtype=torch.float64) * 40 + 90).to(dtype)
    buffer = module.RowBuffer(32, 33, torch.device(device))
    assert buffer.append(rows)
    torch.testing.assert_close(buffer.rows(), rows.double(), rtol=0, atol=0)
    wide = rows.double()
    high, low = buffer.centre()
    torch.testing.assert_close(high + low, wide.mean(0), rtol=1e-15, atol=1e-14)
    matrix = torch.zeros(33, 33, dtype=torch.float64, device=device)
    buffer.square(matrix, torch.zeros(33, dtype=torch.float64, device=device))
    centred = wide - wide.mean(0)
    torch.testing.assert_close(matrix.tril(), (centred.mT @ centred).tril(), rtol=1e-12, atol=1e-9)


@oracle("neighbours")
def neighbours(module: Any, device: str, dtype: torch.dtype) -> None:
    """Far from the origin, where |x|^2 + |y|^2 - 2 x.y would have no digits; with duplicates."""
    x, y = (normal(n, 9, device=device, dtype=dtype, seed=n) + 1e4 for n in (70, 41))
    x[50:60], y[30:] = x[0], x[5:16]
    wide = [side.double().cpu() for side in (x, y)]
    squared = [(a[:, None] - b).square().sum(2) for a, b in (wide[:1] * 2, wide[1:] * 2, wide)]
    limits = []
    for side, all_pairs in zip((x, y), squared, strict=False):
        nearest = module.nearest_distances(side, 4)
        expected = all_pairs.fill_diagonal_(torch.inf).topk(4, largest=False).values
        torch.testing.assert_close(nearest.cpu(), expected, rtol=1e-14, atol=0)
        # A hair more: what lies on the rim is in, whoever summed its squares.
        limits.append((nearest[:, :2] if side is x else nearest[:, 3:]).T * (1 + 1e-12))
    counts = module.ball_counts(x, y, *limits)
    for i, inside in enumerate((squared[2][None] <= limits[0].cpu()[:, :, None],
                                squared[2][None] <= limits[1].cpu()[:, None])):  # fmt: skip
        holds, within = (inside.sum(axis) for axis in ((2, 1) if i == 0 else (1, 2)))
        assert torch.equal(counts[2 * i].cpu(), holds)
        assert torch.equal(counts[2 * i + 1].cpu(), within)


@oracle("preprocess")
def preprocess(module: Any, device: str, dtype: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 9, 13, 3), generator=source, dtype=dtype).to(device)
    for resize in ("bilinear", "tf1", "pil-bicubic"):
        spec = PreprocessSpec(resize, 1 / 128, -1.0, True, 7, 16)
        got = module.preprocess(images, spec, torch.float32)
        exact = reference.preprocess.preprocess(images, spec, torch.float64)
        torch.testing.assert_close(got.double(), exact, rtol=0, atol=2e-6)


def check(op: str, module: Any, device: str, dtype: torch.dtype) -> None:
    """AssertionError where ``module`` does not do what the reference says of ``op``."""
    if op not in ORACLES:
        raise AssertionError(f"{op} has no oracle: add one to tests/op_oracles.py")
    ORACLES[op](module, device, dtype)
