"""Timing on a machine that is not quiet: all providers in turn, round by round.

What disturbs one round disturbs each provider in it alike, so the ratio of two providers within a
round holds still where their times do not; the median over the rounds drops what hit only one of
them. The order within a round is shuffled, or the one after the cache-cold one would always be
lucky.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Container, Sequence
from typing import Any

LEAST = 1e-3
"""A sample is at least this long, so that clock and loop cost less than 0.1 % of it."""


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile with linear interpolation."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": quantile(values, 0.5),
        "p20": quantile(values, 0.2),
        "p80": quantile(values, 0.8),
    }


def sample(step: Callable[[], Any], loops: int, clock: Callable[[], float]) -> float:
    """Seconds for ``loops`` steps."""
    repeat = range(loops)
    start = clock()
    for _ in repeat:
        step()
    return clock() - start


def loops_for(step: Callable[[], Any], least: float, clock: Callable[[], float]) -> int:
    """How many steps make a sample of at least ``least`` seconds, once warm."""
    loops = 1
    while True:
        took = sample(step, loops, clock)
        if took >= least:
            return loops
        # Aim a little high; a first call that was slow to warm up must not end the search.
        loops = max(2 * loops, min(math.ceil(1.2 * loops * least / max(took, 1e-9)), 16 * loops))


def interleave(
    steps: dict[str, Callable[[], Any]],
    *,
    baseline: str,
    seconds: float,
    least_rounds: int = 7,
    most_rounds: int = 400,
    least: float = LEAST,
    clock: Callable[[], float] = time.perf_counter,
    seed: int = 0,
    slow: Container[str] = (),
    each: float = math.inf,
) -> dict[str, Any]:
    """Times every step in shuffled rounds for about ``seconds``.

    A step that is ``slow`` takes seconds: it is not warmed up, and a sample is one call. One that
    was timed for ``each`` seconds sits out the rounds that follow, but for the baseline.

    Returns ``rounds``; ``played``: in how many of them each name took part; ``times``: for each
    name the median, p20 and p80 of the seconds per step; and ``ratios``: the same of time / time of
    ``baseline`` in the same round (above 1, the baseline wins).
    """
    order = random.Random(seed)
    names = list(steps)
    loops = {}
    for name, step in steps.items():
        if name in slow:
            loops[name] = 1
            continue
        step()  # the first call may compile, allocate and fault pages in
        loops[name] = loops_for(step, least, clock)
    times: dict[str, list[float]] = {name: [] for name in names}
    spent = dict.fromkeys(names, 0.0)
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        rounds = 0
        while rounds < least_rounds or (rounds < most_rounds and clock() - start < seconds):
            order.shuffle(names)
            for name in list(names):
                took = sample(steps[name], loops[name], clock)
                times[name].append(took / loops[name])
                spent[name] += took
                if name != baseline and spent[name] >= each:
                    names.remove(name)  # so its k-th time is one of the k-th round
            rounds += 1
    finally:
        if collecting:
            gc.enable()
    base = times[baseline]
    return {
        "rounds": rounds,
        "baseline": baseline,
        "loops": loops,
        "played": {name: len(times[name]) for name in steps},
        "times": {name: summary(times[name]) for name in steps},
        "ratios": {
            name: summary([t / b for t, b in zip(times[name], base, strict=False)])
            for name in steps
        },
    }
