"""Types of arguments: each checks what was given, and says in one line what it takes instead."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable


def one_of(names: Iterable[str], form: str = "", pattern: str = "") -> Callable[[str], str]:
    """One of ``names``, or whatever matches ``pattern``, which is shown as ``form``. Helps with a
    typo."""
    known = [*names]
    shown = [*known, *([form] if form else [])]

    def check(given: str) -> str:
        if given in known or (pattern and re.fullmatch(pattern, given)):
            return given
        near = difflib.get_close_matches(given.lower(), shown, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise argparse.ArgumentTypeError(f"{given!r} is none of {', '.join(shown)}{hint}")

    return check


def whole(least: int) -> Callable[[str], int]:
    """A whole number of at least ``least``."""

    def check(given: str) -> int:
        try:
            value = int(given)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {least}, got {given!r}"
            )
        return value

    return check


def npz(given: str) -> str:
    """A path that ends in .npz, by which readers tell statistics from images."""
    if not given.lower().endswith(".npz"):
        raise argparse.ArgumentTypeError(f"must end in .npz, got {given!r}")
    return given
