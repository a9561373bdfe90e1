"""Signals that wait, and those that do not."""

from __future__ import annotations

import signal
import threading

import pytest

from ganfast.interrupt import Interrupt, Terminated, termination_raises

INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.fixture(autouse=True)
def handlers_are_put_back():
    before = {number: signal.getsignal(number) for number in (INT, TERM)}
    yield
    assert {number: signal.getsignal(number) for number in (INT, TERM)} == before


@pytest.mark.parametrize(("first", "error"), [(INT, KeyboardInterrupt), (TERM, Terminated)])
def test_the_first_signal_waits_and_decides(first, error):
    with Interrupt() as interrupt:
        interrupt.raise_if_requested()
        assert not interrupt.requested
        signal.raise_signal(first)
        signal.raise_signal(TERM)  # launchers send it more than once
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt) as caught:
            interrupt.raise_if_requested()
    assert caught.type is error


@pytest.mark.parametrize("first", [INT, TERM])
def test_ctrl_c_after_a_signal_acts_at_once(first):
    with Interrupt() as interrupt:
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(INT)
        assert interrupt.requested


def test_sigterm_raises_within_a_command_and_waits_within_its_steps():
    with termination_raises():
        with Interrupt() as interrupt:
            signal.raise_signal(TERM)
            assert interrupt.requested
        with pytest.raises(Terminated):
            signal.raise_signal(TERM)


def test_a_programs_own_handler_of_sigterm_stays():
    seen = []
    before = signal.signal(TERM, lambda number, frame: seen.append(number))
    try:
        with termination_raises(), Interrupt() as interrupt:
            signal.raise_signal(TERM)
            assert seen == [TERM] and not interrupt.requested
    finally:
        signal.signal(TERM, before)


def test_elsewhere_than_in_the_main_thread_nothing_is_changed():
    seen = []

    def work():
        with termination_raises(), Interrupt() as interrupt:
            seen.append((signal.getsignal(TERM), signal.getsignal(INT), interrupt.requested))

    before = signal.getsignal(TERM), signal.getsignal(INT), False
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
