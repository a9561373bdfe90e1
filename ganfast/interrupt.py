"""Ctrl-C that waits for the end of a step, of training or of an evaluation."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupt:
    """While the `with` lasts, the first Ctrl-C only sets ``requested``; the second one acts at
    once.

    A step that is cut in the middle leaves a critic that moved and a generator that did not, or
    moments that hold half a batch: nothing to resume from. Python takes signals in the main
    thread alone; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Interrupt:
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._before = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._before)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
