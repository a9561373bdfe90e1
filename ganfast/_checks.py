"""The checks of arguments, wherever they come from: one message each, ``name: got X; give Y``, and
one error, InputError (InputTypeError where the type is the mistake).

A check returns the value as plain Python (or torch.device, or Path). Nothing heavy is imported.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganfast._remote import is_url, shown
from ganfast.errors import InputError, InputTypeError, one_line

if TYPE_CHECKING:
    import torch


def integer(name: str, got: Any, *, least: int | None = None) -> int:
    """A whole number: Python's, NumPy's or a 0-d integer tensor; never a bool."""
    try:
        value = None if _is_bool(got) else operator.index(got)
    except (TypeError, ValueError, RuntimeError):
        value = None
    if value is not None and (least is None or value >= least):
        return value
    wanted = "a whole number" + ("" if least is None else f" of at least {least}")
    kind = InputTypeError if value is None else InputError
    raise kind(f"{name}: got {got!r}; give {wanted}")


def integer_of(name: str, got: Any, known: Iterable[int]) -> int:
    """One of the whole numbers ``known``."""
    value, numbers = integer(name, got), list(known)
    if value not in numbers:
        raise InputError(f"{name}: got {got!r}; give one of {', '.join(map(str, numbers))}")
    return value


def number(
    name: str,
    got: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    hint: str = "",
) -> float:
    """A finite number: Python's, NumPy's or a tensor of one element; never a bool or a text.

    Args:
        least, above: the lower bound, included or not.
        most, below: the upper bound, included or not.
        hint: what else helps, after the sentence: "as WGAN's 0.01".
    """
    value = got if type(got) is float else _as_float(got)
    if (
        value is not None
        and -math.inf < value < math.inf  # not isfinite: torch.compile traces this
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    ):
        return value
    bounds = (("of at least", least), ("above", above), ("of at most", most), ("below", below))
    wanted = " and ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)
    wanted = f"a finite number {wanted}".strip() + (f", {hint}" if hint else "")
    kind = InputTypeError if value is None else InputError
    raise kind(f"{name}: got {got!r}; give {wanted}")


def flag(name: str, got: Any) -> bool:
    """True or False themselves: what is merely true, a 1 or a text, is somebody's mistake."""
    if not isinstance(got, bool):
        raise InputTypeError(f"{name}: got {got!r}; give True or False")
    return got


def one_of(name: str, got: Any, known: Iterable[str], *, form: str = "", pattern: str = "") -> str:
    """One of the names ``known``; a near miss is told what was probably meant.

    Args:
        form, pattern: what else is taken: as it is shown ("module:factory"), and the regular
            expression that the whole text matches.
    """
    names = list(known)
    if isinstance(got, str) and (got in names or (pattern and re.fullmatch(pattern, got))):
        return got
    listed = [*names, form] if form else names
    # "idx:" is no misspelling of "grid".
    bare = str(got).endswith(":")
    near = "; nothing stands behind the colon" if bare else suggestion(got, listed)
    raise InputError(f"{name}: got {shown(repr(got))}; give one of {', '.join(listed)}{near}")


def suggestion(got: Any, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for a near miss of one of ``known``, else nothing."""
    near = nearest(str(got), known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(got: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``got`` nearly is, upper or lower case; None if there is none."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(got.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[near[0]] if near else None


def device(name: str, got: Any) -> torch.device:
    """A device on which this torch can make a tensor."""
    import torch

    try:
        found = torch.device(got)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError) as error:
        # A torch without CUDA raises AssertionError.
        reason = one_line(error).split(". ")[0]
        raise InputError(
            f"{name}: got {got!r}, which can't be used ({reason}); give 'cpu'"
        ) from None
    return found


def place(name: str, got: Any) -> str:
    """A path, ``~`` being the home folder, or a URL as it is; file:// is a path."""
    text = os.fsdecode(got) if isinstance(got, (str, bytes, os.PathLike)) else got
    if is_url(text) and not text.startswith("file://"):
        return str(text)
    path(name, text)
    return os.path.expanduser(text.removeprefix("file://"))


def path(name: str, got: Any) -> Path:
    """A path on this machine, ``~`` being the home folder."""
    if is_url(got):
        if not got.startswith("file://"):
            raise InputError(f"{name}: got {shown(got)!r}; give a path on this machine")
        got = got.removeprefix("file://")
    try:
        return Path(os.fsdecode(got)).expanduser()
    except TypeError:
        raise InputTypeError(f"{name}: got {reprlib.repr(got)}; give a path") from None
    except RuntimeError as error:  # no home folder of that user
        raise InputError(f"{name}: got {got!r} ({one_line(error)}); give the whole path") from None


def _as_float(got: Any) -> float | None:
    try:
        return None if isinstance(got, (str, bytes)) or _is_bool(got) else float(got)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def _is_bool(got: Any) -> bool:
    if isinstance(got, (int, float)):
        return isinstance(got, bool)
    return str(getattr(got, "dtype", "")).endswith("bool")
