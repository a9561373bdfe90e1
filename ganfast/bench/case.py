"""One row of a table: providers that do the same work, checked first, then timed in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganfast.bench.timing import Rounds, Step, interleave, quantile, stopwatch
from ganfast.errors import one_line

GANFAST, COMPILED = "ganfast", "torch.compile"
_LIMIT = "the limit"
_MOST_SETS, _MOST_CAPTURED = 256, 64
_MOST_DRAWN = 10**8
PAST_CACHE = 2**30
"""Bytes that a limit's step touches on a GPU at least: no cache holds them."""

ErrorOf = Callable[[str, Any], float]
"""(provider, what its step returned) -> how wrong that is."""


class Limit(NamedTuple):
    """What the machine allows: a step of torch's own, timed among the providers, whose cost is
    known."""

    step: Step
    amount: float
    """Bytes that it moves, or floating-point operations."""
    cost: float
    """What the work costs at least, in the same unit."""


def copying(touched: int, cost: float, device: torch.device) -> Limit:
    """A copy that touches ``touched`` bytes together, half of them read and half of them written.

    On a CPU as many as the work touches: what fits into a cache is faster there for both. A GPU's
    inputs rotate through more than its cache, so the copy is past it too.
    """
    nbytes = max(touched, PAST_CACHE if device.type == "cuda" else 8)
    source = torch.zeros(nbytes // 8, device=device)
    target = torch.ones_like(source)
    return Limit(lambda: target.copy_(source), 2 * source.nbytes, cost)


def updating(touched: int, cost: float, device: torch.device) -> Limit:
    """``touched`` bytes that are read and written where they are, as an optimizer does with
    weights.

    A copy would be too slow a measure: it also fetches the memory that it is about to overwrite.
    """
    nbytes = max(touched, PAST_CACHE // 2 if device.type == "cuda" else 4)
    x = torch.ones(nbytes // 4, device=device)
    return Limit(lambda: x.mul_(1.0), 2 * x.nbytes, cost)


def multiplying(n: int, dtype: torch.dtype, cost: float, device: torch.device) -> Limit:
    """The product of two n x n matrices: 2 n^3 flops, the rate that linear algebra lives on."""
    a, b = (normal(n, n, seed=seed, device=device, dtype=dtype) for seed in (0, 1))
    out = torch.empty_like(a)
    return Limit(lambda: torch.mm(a, b, out=out), 2.0 * n**3, cost)


@dataclass(frozen=True)
class Provider:
    """One way to do the work of a case."""

    make: Callable[..., Step]
    """From the case's inputs: prepares what is not timed, and returns what is."""
    tolerance: float | None = None
    """The largest error that passes the gate; None: the error is reported, not judged."""
    slow: bool = False
    """A call takes seconds: no warm-up, and the error is that of a call that was timed."""
    optional: bool = False
    """Whether it may fail for reasons that are not ours: it is then left out, with the reason."""
    code: str = ""
    """The expression, for the report."""


def calling(function: Callable[..., Any]) -> Callable[..., Step]:
    """For ``Provider.make``: a call of ``function`` on the inputs."""
    return lambda *inputs: partial(function, *inputs)


def compiled(function: Callable[..., Any], tolerance: float) -> Provider:
    """``function`` through Inductor, for these shapes alone: the best that it can do.

    Inductor needs a C++ compiler, for one, so it is optional.
    """
    once = cache(lambda: torch.compile(function, dynamic=False, fullgraph=True))
    return Provider(lambda *inputs: partial(once(), *inputs), tolerance, optional=True)


@dataclass(frozen=True)
class Case:
    """The providers of one row, and what they are measured against."""

    name: str
    """The same from run to run."""
    section: str
    """The table that the row stands in."""
    label: str
    inputs: Callable[[torch.device, int], tuple[Any, ...]]
    """(device, seed) -> what every provider is made of. A GPU gets several, past its cache."""
    providers: dict[str, Provider]
    error_of: Callable[..., ErrorOf]
    """From the inputs: how wrong a result is."""
    limit: Callable[[torch.device], Limit] | None = None
    seconds: float = 1.5
    """For all rounds together, about."""
    rounds: int = 7
    """At least."""
    patience: float = math.inf
    """A rival that was timed for so long sits out what is left."""
    graphs: bool = False
    """Whether a CUDA device also times the steps captured in a CUDA graph."""
    rotates: bool = True
    """Whether the steps on a CUDA device go through inputs that are together larger than its cache;
    False for whole steps, whose weights stay where they are in training too."""
    items: int = 0
    """Images in a step, where the report is to tell how many a second that makes."""
    setting_up: float = 0.0
    """Seconds that it takes before it is timed, on a GPU, where those are many."""
    after: Callable[[dict[str, Step]], dict[str, dict[str, Any]]] | None = None
    """More facts, taken from the steps once everyone is warm: fact -> provider -> value."""


def without(case: Case, name: str) -> Case:
    """``case``, but for one provider."""
    return replace(case, providers={n: each for n, each in case.providers.items() if n != name})


@dataclass
class Measurement:
    """What one case came to."""

    rounds: Rounds
    errors: dict[str, float]
    missing: dict[str, str]
    """Who was left out, and why."""
    failed: dict[str, str]
    """Who was wrong, or broke."""
    limit: float
    """Seconds that the machine allows, NaN where the case has no limit."""
    rate: float
    """Bytes or floating-point operations a second of the limit's own step."""
    sets: int
    """How many inputs the steps rotate through."""
    past_cache: bool
    """Whether they are together larger than the GPU's cache."""
    facts: dict[str, dict[str, Any]]
    """What ``Case.after`` told: fact -> provider -> value."""


class GateError(RuntimeError):
    """ganfast itself did not get through the gate."""


class Comparison:
    """A case prepared on a device: the providers that passed the gate, ready to be timed.

    Raises:
        GateError: ganfast is not among them.
    """

    def __init__(self, case: Case, device: torch.device | str = "cpu") -> None:
        self.case, self.device = case, torch.device(device)
        self.errors: dict[str, float] = {}
        self.missing: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.steps: dict[str, list[Step]] = {}
        inputs = self._inputs()
        self._error = case.error_of(*inputs[0])
        for name, provider in case.providers.items():
            self._admit(name, provider, inputs)
        if not any(case.providers[name].slow for name in self.steps):
            del self._error  # the truth in float64 can be larger than everything else together
        if GANFAST not in self.steps:
            raise GateError(f"{case.name}: {(self.failed | self.missing)[GANFAST]}")

    def _inputs(self) -> list[tuple[Any, ...]]:
        first = self.case.inputs(self.device, 0)
        self.sets, self.past_cache = 1, False
        if self.device.type == "cuda" and self.case.rotates:
            cache_size = torch.cuda.get_device_properties(self.device).L2_cache_size
            nbytes = max(1, _nbytes(first))
            self.sets = max(2, min(_MOST_SETS, math.ceil(4 * cache_size / nbytes)))
            self.past_cache = self.sets * nbytes > 2 * cache_size
        return [first, *(self.case.inputs(self.device, seed) for seed in range(1, self.sets))]

    def _admit(self, name: str, provider: Provider, inputs: Sequence[tuple[Any, ...]]) -> None:
        try:
            if provider.slow:
                self.steps[name] = [_Kept(provider.make(*inputs[0]))]
                return
            steps = [provider.make(*each) for each in inputs]
            for _ in range(2):  # the second call is as warm as those that are timed
                self.errors[name] = self._error(name, steps[0]())
        except Exception as error:  # the others can still be timed
            left_out = provider.optional or isinstance(error, ModuleNotFoundError)
            where = self.missing if left_out else self.failed
            lines = str(error).strip().splitlines() or [""]
            where[name] = f"{type(error).__name__}: {lines[0]}"
            return
        if self._passes(name):
            self.steps[name] = steps

    def _passes(self, name: str) -> bool:
        error, tolerance = self.errors[name], self.case.providers[name].tolerance
        if tolerance is None or error <= tolerance:  # NaN is not
            return True
        self.failed[name] = f"wrong by {error:.3g} (at most {tolerance:g})"
        return False

    def measure(self, *, quick: bool = False, graph: bool = False) -> Measurement:
        """Time everyone, and the limit with them; ``graph``: each one's steps in a CUDA graph."""
        case, missing = self.case, dict(self.missing)
        steps, counts = dict(self.steps), dict.fromkeys(self.steps, 1)
        if graph:
            for name, each in self.steps.items():
                try:
                    with torch.cuda.device(self.device):
                        steps[name] = [_captured(each[:_MOST_CAPTURED])]
                    counts[name] = len(each[:_MOST_CAPTURED])
                except Exception as error:
                    missing[name] = f"not in a graph: {one_line(error)}"
                    del steps[name]
            if GANFAST not in steps:
                raise GateError(f"{case.name}: {missing[GANFAST]}")
        limit = case.limit(self.device) if case.limit else None
        slow = [name for name in steps if case.providers[name].slow]
        rounds = interleave(
            {**steps, _LIMIT: [limit.step]} if limit else steps,
            baseline=GANFAST,
            seconds=min(case.seconds, 0.3) if quick else case.seconds,
            least_rounds=3 if quick else case.rounds,
            slow=slow,
            patience=case.patience,
            watch=stopwatch(self.device),
        )
        for name, count in counts.items():
            if count > 1:
                rounds.seconds[name] = [seconds / count for seconds in rounds.seconds[name]]
        for name in slow:
            self.errors[name] = self._error(name, self.steps[name][0].result)  # type: ignore[attr-defined]
            self._passes(name)
        rate = allowed = math.nan
        if limit:  # it is what can be reached, so the good rounds count
            del rounds.loops[_LIMIT]
            rate = limit.amount / quantile(rounds.seconds.pop(_LIMIT), 0.2)
            allowed = limit.cost / rate
        firsts = {name: each[0] for name, each in self.steps.items()}
        facts = case.after(firsts) if case.after and not graph else {}
        return Measurement(
            rounds=rounds,
            errors=self.errors,
            missing=missing,
            failed=self.failed,
            limit=allowed,
            rate=rate,
            sets=self.sets,
            past_cache=self.past_cache,
            facts=facts,
        )


class _Kept:
    """A step whose last result can be had after it was timed."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __call__(self) -> None:
        self.result = self.step()


def _captured(steps: Sequence[Step]) -> Step:
    """A CUDA graph of ``steps``; what they return may be overwritten by the next."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for step in steps[:3]:
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for step in steps:
            step()
    return graph.replay


def _nbytes(inputs: Any) -> int:
    if isinstance(inputs, Tensor):
        return inputs.nbytes
    return sum(map(_nbytes, inputs)) if isinstance(inputs, (tuple, list)) else 0


def normal(
    *shape: int,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The same standard normal numbers on every device, but where they are too many to be drawn on
    the host in a second or two."""
    drawn_on = device if math.prod(shape) > _MOST_DRAWN else "cpu"
    generator = torch.Generator(drawn_on).manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype, device=drawn_on).to(device)


def largest(found: Tensor, exact: Tensor) -> float:
    """The largest error of a tensor, relative to its largest element."""
    off = (found.detach().double() - exact).abs().max()
    return float(off / exact.abs().max())
