"""Timing on a machine that is not quiet: all providers in turn, round by round.

What disturbs one round disturbs each provider in it alike, so the ratio of two providers within a
round holds still where their times do not; the median over the rounds drops what hit only one of
them. The order within a round is shuffled, or the one after the cache-cold one would always be
lucky.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Step = Callable[[], Any]


class Stopwatch:
    """Seconds of the wall clock: for steps that have ended when they return."""

    shortest = 1e-3
    """A sample is at least this long, so that clock and loop cost less than 0.1 % of it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock

    def time(self, steps: Iterable[Step]) -> float:
        """Seconds for all ``steps``, one after another."""
        start = self.clock()
        for step in steps:
            step()
        return self.clock() - start


class CudaStopwatch(Stopwatch):
    """Seconds between two CUDA events around steps that are enqueued back to back."""

    shortest = 4e-3

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def time(self, steps: Iterable[Step]) -> float:
        with torch.cuda.device(self.device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            for step in steps:
                step()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) * 1e-3


def stopwatch(device: torch.device) -> Stopwatch:
    """The one that is right for steps on ``device``."""
    return CudaStopwatch(device) if device.type == "cuda" else Stopwatch()


def quantile(values: Iterable[float], q: float) -> float:
    """The q-quantile with linear interpolation."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, with the 20th and 80th percentile around it."""
    return {name: quantile(values, q) for name, q in (("median", 0.5), ("p20", 0.2), ("p80", 0.8))}


@dataclass
class Rounds:
    """What was timed: for each name the seconds of one step in every round that it took part in."""

    baseline: str
    seconds: dict[str, list[float]]
    loops: dict[str, int]
    """How many steps made a sample."""

    def median(self, name: str) -> float:
        return quantile(self.seconds[name], 0.5)

    def ratio(self, name: str) -> dict[str, float]:
        """Time over the baseline's time in the same round; above 1 the baseline wins.

        The k-th time of a name is one of the k-th round, since whoever sits out does so to the end.
        """
        pairs = zip(self.seconds[name], self.seconds[self.baseline], strict=False)
        return spread([time / base for time, base in pairs])


def interleave(
    steps: Mapping[str, Sequence[Step]],
    *,
    baseline: str,
    seconds: float,
    least_rounds: int = 7,
    most_rounds: int = 400,
    slow: Collection[str] = (),
    patience: float = math.inf,
    watch: Stopwatch | None = None,
) -> Rounds:
    """Time everyone in shuffled rounds for about ``seconds``.

    Args:
        steps: for each name the steps that it takes one after another, over and over.
        baseline: the name that the ratios are relative to; it takes part in every round.
        slow: those whose step takes seconds: not warmed up, and a sample is one step.
        patience: the seconds after which one that is not the baseline sits out the other rounds,
            once it was in two.
    """
    watch = watch or Stopwatch()
    turns = {name: itertools.cycle(each) for name, each in steps.items()}
    loops = dict.fromkeys(steps, 1)
    for name in steps:
        if name not in slow:
            for step in steps[name]:
                step()  # the first call may compile, allocate and fault pages in
            loops[name] = _loops(turns[name], watch)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    spent = dict.fromkeys(steps, 0.0)
    names, shuffle = list(steps), random.Random(0).shuffle
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = watch.clock() + seconds
        done = 0
        while done < least_rounds or (done < most_rounds and watch.clock() < end):
            shuffle(names)
            for name in list(names):
                took = watch.time(itertools.islice(turns[name], loops[name]))
                taken[name].append(took / loops[name])
                spent[name] += took
                if name != baseline and spent[name] >= patience and len(taken[name]) > 1:
                    names.remove(name)
            done += 1
    finally:
        if collecting:
            gc.enable()
    return Rounds(baseline, taken, loops)


def _loops(turns: Iterator[Step], watch: Stopwatch) -> int:
    """How many steps make a sample that is long enough, once warm."""
    loops = 1
    while True:
        took = watch.time(itertools.islice(turns, loops))
        if took >= watch.shortest:
            return loops
        # Aim a little high; a first call that was slow to warm up must not end the search.
        wanted = math.ceil(1.2 * loops * watch.shortest / max(took, 1e-9))
        loops = max(2 * loops, min(wanted, 16 * loops))


def in_words(seconds: float) -> str:
    """Three digits in us below a millisecond, in ms below a second."""
    unit, scaled = next(
        (unit, seconds * factor)
        for unit, factor, most in (("us", 1e6, 1e-3), ("ms", 1e3, 1.0), ("s", 1.0, math.inf))
        if seconds < most
    )
    return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {unit}"
