"""A progress bar on stderr, by tqdm."""

from __future__ import annotations

import importlib.util
import sys
from types import TracebackType
from typing import Any


class Progress:
    """Images done, images a second and the time that is left; nothing where it is not to be shown.

    Without tqdm there is a line at the start and no bar.
    """

    def __init__(self, name: str, total: int | None, done: int, *, show: bool) -> None:
        self._bar: Any = None
        if not show:
            return
        if importlib.util.find_spec("tqdm") is None:
            count = "" if total is None else f"{total} "
            print(f"{name}: {count}images (a bar needs tqdm: pip install tqdm)", file=sys.stderr)
            return
        from tqdm import tqdm

        self._bar = tqdm(
            desc=name, total=total, initial=done, unit=" images", file=sys.stderr, smoothing=0.1
        )

    def advance(self, images: int) -> None:
        if self._bar is not None:
            self._bar.update(images)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
