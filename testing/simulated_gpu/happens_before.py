"""Acquire and release for ttsem's race check, which knows neither.

A running sum stores its partial result, then counts itself with an acq_rel atomic on ``counter``;
whoever counts last reads what all the others have stored. That is no race, because what a program
did before it counted happens before whatever a program that counts later does after it has counted.
Only an acq_rel atomic on the argument of that name orders anything; the rest is ttsem's check.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
from ttsem import harness, pidraces, sanitize

COUNTER = "counter"

# In Triton's IR: `sem = 4 : i32`, or the word where it is printed.
_ACQUIRES_AND_RELEASES = re.compile(r"tt\.atomic_rmw.*(?:\bsem = 4 : i32|\bacq_rel\b)", re.S)

_find_race = pidraces.find_race
_address: int | None = None
"""Where the counter of the launch in progress is."""


def find_race(log: list[pidraces.Entry] | None) -> pidraces.PidRace | None:
    """ttsem's search, but for pairs of accesses that the counter puts in order."""
    arrivals = [i for i, entry in enumerate(log or ()) if _counts(entry)]
    if log is None or not arrivals:
        return _find_race(log)
    arrived: dict[Any, int] = {}
    for i in arrivals:
        arrived.setdefault(log[i][0], i)
    never = len(log)
    before, after = [], []
    for i, entry in enumerate(log):
        (before if i <= arrived.get(entry[0], never) else after).append(entry)
    # Programs run one after another here, so the log is in the order of their arrivals.
    found = _find_race(before) or _find_race(after)
    for program in dict.fromkeys(entry[0] for entry in after):
        if found:
            break
        mine = [entry for entry in after if entry[0] == program]
        unordered = [e for e in before if arrived.get(e[0], never) > arrived[program]]
        found = _find_race(unordered + mine) if unordered else None
    return found


def _counts(entry: pidraces.Entry) -> bool:
    _, kind, op, addresses, _, _ = entry
    ordered = kind == "a" and _ACQUIRES_AND_RELEASES.search(op)
    return bool(ordered) and addresses.size == 1 and int(addresses[0]) == _address


def _execute(record: harness.LaunchRecord, *args: Any, **kwargs: Any) -> harness.Execution:
    global _address
    _address = record.ptrs.get(COUNTER)
    # NumPy warns of what IEEE arithmetic does in silence.
    with mock.patch.dict(os.environ, TTSEM_GRID_ORDER=next(_orders)), np.errstate(all="ignore"):
        return _real_execute(record, *args, **kwargs)


# No launch may depend on which program runs first, and none may hide behind the one order.
_orders = itertools.cycle(["", "reverse", *(f"shuffle:{seed}" for seed in range(5))])


_real_execute = harness.execute


@contextlib.contextmanager
def understood() -> Iterator[None]:
    with (
        mock.patch.object(sanitize.pidraces, "find_race", find_race),
        mock.patch.object(sanitize.harness, "execute", _execute),
    ):
        yield
