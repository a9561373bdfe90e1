"""What a person sees on the terminal: text that is safe to show, notes, a progress bar."""

from __future__ import annotations

import importlib.util
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO


def printable(text: str, stream: TextIO | None = None, *, lines: bool = True) -> str:
    """``text`` with escapes for what ``stream`` (stdout) cannot or should not show; without
    ``lines`` for the ends of lines too.

    A file's name need not be text, and may hold sequences that a terminal obeys.
    """
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    kept = "\n\t" if lines else ""
    safe = "".join(c if c in kept or not _commands(c) else _escaped(c) for c in text)
    return safe.encode(encoding, "backslashreplace").decode(encoding)


def _commands(character: str) -> bool:
    """Control characters, and the marks that turn the direction of writing."""
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def note(sentence: str) -> None:
    """A line on stderr that is no error."""
    print(f"ganfast: note: {printable(sentence, sys.stderr, lines=False)}", file=sys.stderr)


def shows_progress() -> bool:
    """A bar is for a person: where stderr is a file it would be a page of noise."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def running(what: str, *, show: bool = True) -> Iterator[None]:
    """Within, a line says that ``what`` is being computed, and is gone then; nothing if not
    ``show``, or where nobody watches: of what lasts too short to count, or has nothing to count."""
    if not (show and shows_progress() and importlib.util.find_spec("tqdm")):
        yield
        return
    from tqdm import tqdm

    line = f"{what} ..."
    with tqdm(desc=line, bar_format="{desc}", leave=False, file=sys.stderr, dynamic_ncols=True):
        yield


class Progress:
    """A bar on stderr by tqdm, with the rate and the time that is left; nothing if not ``show``.

    Without tqdm there is one line at the start and no bar.
    """

    def __init__(
        self, title: str, total: int | None, *, unit: str, done: int = 0, show: bool = True
    ) -> None:
        self._bar: Any = None
        if not show:
            return
        if importlib.util.find_spec("tqdm") is None:
            count = "" if total is None else f"{total} "
            print(f"{title}: {count}{unit} (a bar needs tqdm: pip install tqdm)", file=sys.stderr)
            return
        from tqdm import tqdm

        self._bar = tqdm(
            desc=title,
            total=total,
            initial=done,
            unit="B" if unit == "bytes" else f" {unit}",
            unit_scale=unit == "bytes",
            unit_divisor=1024 if unit == "bytes" else 1000,
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0.1,
        )

    def advance(self, count: int = 1) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def show(self, **values: str) -> None:
        """What stands behind the bar from now on."""
        if self._bar is not None:
            self._bar.set_postfix(values)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
