"""One row of a table: providers that do the same work, checked first, then timed in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
import torch

from benchmarks.interleave import interleave
from benchmarks.limit import Yardstick
from benchmarks.names import GANFAST
from benchmarks.ours import NotThere

Step = Callable[[], Any]
_YARD = "the yardstick"


@dataclass(frozen=True)
class Entry:
    """One provider in a contest."""

    make: Callable[[], Step]
    """Prepares what is not timed, and returns what is."""
    tolerance: float | None = None
    """The largest error that passes the gate; None: the error is told, not judged."""
    slow: bool = False
    """A call takes seconds: no warm-up, and the error is that of a call that was timed."""
    optional: bool = False
    """Whether it may fail for reasons that are not ours: it is then left out, with the reason."""


class Case(Protocol):
    """What a suite lists: knows its names at once and prepares its contest when asked."""

    @property
    def name(self) -> str: ...

    def contest(self) -> Contest: ...


@dataclass
class Contest:
    """The providers of one row, and what they are held against."""

    section: str
    """The table that the row stands in."""
    label: str
    entries: dict[str, Entry]
    error: Callable[[str, Any], float]
    """(provider, what its step returned) -> how wrong that is."""
    yard: Yardstick
    cost: float
    """What the work costs at least, in the yardstick's unit."""
    seconds: float = 1.5
    """For all rounds together, about."""
    rounds: int = 7
    """At least."""
    each: float = math.inf
    """A rival that was timed for so long sits out what is left."""
    extra: dict[str, Any] = field(default_factory=dict)
    """More facts for the row."""
    afterwards: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """And such that are taken once everyone is warm."""

    def measure(self, quick: bool = False) -> dict[str, Any]:
        """Gate, rounds, errors and limit. Raises NotThere without an op of ours to measure."""
        steps, errors, missing, broken = self._admit()
        results: dict[str, Any] = {}
        slow = {name for name in steps if self.entries[name].slow}
        for name in slow:
            steps[name] = _keeping(results, name, steps[name])
        found = interleave(
            {**steps, _YARD: self.yard.step},
            baseline=GANFAST,
            seconds=min(self.seconds, 0.3) if quick else self.seconds,
            least_rounds=3 if quick else self.rounds,
            slow=slow,
            each=self.each,
        )
        for name in slow:
            errors[name] = self.error(name, results.pop(name))
            if not self._passes(name, errors[name]):
                broken[name] = self._off(name, errors[name])
        yard = found["times"].pop(_YARD)
        for kind in ("ratios", "played", "loops"):
            found[kind].pop(_YARD)
        return {
            "section": self.section,
            "label": self.label,
            **found,
            "errors": errors,
            # A limit is what can be reached, so the good rounds of the yardstick count.
            "limit": self.yard.limit(self.cost, yard["p20"]),
            "rate": self.yard.amount / yard["p20"],
            "missing": missing,
            "broken": broken,
            **self.extra,
            **{name: take() for name, take in self.afterwards.items()},
        }

    def _admit(self) -> tuple[dict[str, Step], dict[str, float], dict[str, str], dict[str, str]]:
        """The providers that may start; the errors so far; who is left out or failed, and why."""
        steps, errors, missing, broken = {}, {}, {}, {}
        for name, entry in self.entries.items():
            try:
                step = entry.make()
                if not entry.slow:
                    for _ in range(2):  # the second call is as warm as those that are timed
                        errors[name] = self.error(name, step())
            except NotThere as why:
                if name == GANFAST:
                    raise
                missing[name] = str(why)
                continue
            except Exception as error:
                # The others can still be timed. Inductor needs a C++ compiler, for one.
                lines = str(error).strip().splitlines() or [""]
                where = missing if entry.optional else broken
                where[name] = f"{type(error).__name__}: {lines[0]}"
                continue
            if entry.slow or self._passes(name, errors[name]):
                steps[name] = step
            else:
                broken[name] = self._off(name, errors[name])
        if GANFAST not in steps:
            raise AssertionError(broken[GANFAST])
        return steps, errors, missing, broken

    def _passes(self, name: str, error: float) -> bool:
        tolerance = self.entries[name].tolerance
        return tolerance is None or error <= tolerance  # NaN is not

    def _off(self, name: str, error: float) -> str:
        return f"wrong by {error:.3g} (at most {self.entries[name].tolerance:g})"


def _keeping(results: dict[str, Any], name: str, step: Step) -> Step:
    def run() -> None:
        results[name] = step()

    return run


def largest(found: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest error of a tensor, relative to its largest element."""
    off = (found.detach().double() - exact).abs().max()
    return float(off / exact.abs().max())


def hold(benchmark: Any, case: Case, quick: bool) -> None:
    """The body of a suite's only test: one case, and its facts in extra_info.

    pytest-benchmark, which keeps the books, gets one more call of ganfast.
    """
    torch.compiler.reset()  # or the shapes of earlier cases count against Dynamo's limit
    benchmark.group = case.name
    contest = case.contest()
    try:
        found = contest.measure(quick)
    except NotThere as why:
        pytest.skip(str(why))
    except AssertionError as wrong:
        pytest.fail(str(wrong), pytrace=False)
    benchmark.extra_info |= found
    benchmark.pedantic(contest.entries[GANFAST].make(), rounds=1, iterations=1)
    if found["broken"]:
        told = "; ".join(f"{name}: {why}" for name, why in found["broken"].items())
        pytest.fail(told, pytrace=False)
