"""Stand-ins that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any


class FakeClock:
    """Time that passes only when a step says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def step(self, name: str, *seconds: float, result: Any = None) -> Callable[[], Any]:
        """A step that takes these times in turn."""
        times = cycle(seconds)

        def run() -> Any:
            self.calls.append(name)
            self.now += next(times)
            return result

        return run
