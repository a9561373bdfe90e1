"""Ctrl-C, and SIGTERM as schedulers send it, that wait for the end of a step, of training or of an
evaluation."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType


class Terminated(KeyboardInterrupt):
    """SIGTERM came. All that clears up after Ctrl-C does so after this."""


class Interrupt:
    """While the `with` lasts, the first Ctrl-C and every SIGTERM only set ``requested``; a second
    Ctrl-C acts at once. (A second SIGTERM says nothing new: launchers send it to a process, and
    once more to its group.)

    A step that is cut in the middle leaves a critic that moved and a generator that did not, or
    moments that hold half a batch: nothing to resume from. Python takes signals in the main
    thread alone; elsewhere this does nothing. A program's own handler of SIGTERM stays.
    """

    def __init__(self) -> None:
        self._first: int | None = None

    @property
    def requested(self) -> bool:
        return self._first is not None

    def raise_if_requested(self) -> None:
        """Raises KeyboardInterrupt, or Terminated, for the signal that came first."""
        if self.requested:
            raise Terminated if self._first == signal.SIGTERM else KeyboardInterrupt

    def __enter__(self) -> Interrupt:
        self._before = {}
        if _in_main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._request)
            if signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, _raise_terminated):
                self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._first is None:
            self._first = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt


@contextlib.contextmanager
def termination_raises() -> Iterator[None]:
    """Within, SIGTERM raises Terminated where it would have ended the process on the spot, with
    files half written and workers left behind."""
    if not _in_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
