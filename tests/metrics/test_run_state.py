"""A run that goes on: the same bits, from a file that is whole, and of the same run."""

import errno
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from ganfast.metrics.evaluation import run_state
from ganfast.metrics.evaluation.run_state import RunState, SideState
from ganfast.metrics.summary import Summary

IDENTITY = {"extractor": "ab" * 32, "batch_size": 50, "seed": 0, "kid": True, "weights": None}
DIM = 4


def summary():
    return Summary(DIM, classes=3, splits=2, chunks=2, sample=5)


def batch(number):
    generator = torch.Generator().manual_seed(number)
    positions = range(10 * number, 10 * number + 10)
    x = torch.randn(10, DIM, generator=generator)
    return x, torch.randn(10, 3, generator=generator), positions


def saved(path, upto=3, **kwargs):
    found = summary()
    for number in range(upto):
        found.add(*batch(number))
    state = RunState(path, {**IDENTITY, **kwargs})
    state.sides["real"] = SideState(found.state_dict(), upto, [("a\udcff.png", "truncated")])
    state.save()
    return found


def test_nothing_yet(tmp_path):
    state = RunState(tmp_path / "run.state", IDENTITY)
    assert state.load() is False and state.sides == {}
    state.delete()


def test_goes_on_with_the_same_bits(tmp_path):
    path = tmp_path / "run.state"
    whole = saved(path)
    state = RunState(path, dict(reversed(IDENTITY.items())))
    assert state.load() is True
    side = state.sides["real"]
    assert (side.next_batch, side.done) == (3, False)
    assert side.skipped == [("a\udcff.png", "truncated")]
    resumed = summary()
    resumed.load_state_dict(side.summary)
    for number in range(side.next_batch, 7):
        whole.add(*batch(number))
        resumed.add(*batch(number))
    state.sides["real"] = SideState(resumed.state_dict(), 7, side.skipped, done=True)
    state.sides["fake"] = SideState(summary().state_dict(), 0)
    state.save()
    again = RunState(path, IDENTITY)
    again.load()
    assert again.sides["real"].done and again.sides["fake"].next_batch == 0
    expected = whole.state_dict()
    assert list(again.sides["real"].summary) == list(expected)
    for key, value in again.sides["real"].summary.items():
        assert torch.equal(value, expected[key]) and value.dtype == expected[key].dtype
    assert os.listdir(tmp_path) == ["run.state"]
    again.delete()
    assert os.listdir(tmp_path) == []


def test_another_run_is_refused_with_all_that_differs(tmp_path):
    path = tmp_path / "run.state"
    saved(path, batch_size=64, workers=2)
    with pytest.raises(ValueError) as caught:
        RunState(path, {**IDENTITY, "seed": 1}).load()
    message = str(caught.value)
    for part in (
        "batch_size is 64 there and 50 now",
        "seed is 0 there and 1 now",
        "workers is 2 there and not given now",
        "give the same arguments",
        "delete the file",
    ):
        assert part in message
    assert "extractor" not in message and "\n" not in message


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "run.state"
    saved(path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:-3]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="state: .*can't be used as the state of a run") as e:
            RunState(path, IDENTITY).load()
        assert "\n" not in str(e.value)
    for arrays, match in (
        ({"mu": np.zeros(3)}, "no entry 'facts'"),
        ({"facts": np.frombuffer(b"{}", np.uint8)}, "not that of a run"),
        ({"facts": np.frombuffer(b"[1", np.uint8)}, "not that of a run"),
        ({"facts": np.frombuffer(b'{"ganfast_run_state": 9}', np.uint8)}, "format 9"),
    ):
        with open(path, "wb") as file:
            np.savez(file, **arrays)
        with pytest.raises(ValueError, match=match):
            RunState(path, IDENTITY).load()
    state = RunState(path, IDENTITY)
    assert state.sides == {}


def test_every_entry_is_checked(tmp_path):
    """Where the content of an array is changed its CRC-32 tells."""
    path = tmp_path / "run.state"
    found = saved(path)
    whole = path.read_bytes()
    for value in found.state_dict().values():
        content = value.numpy().tobytes()
        if len(content) < 16:
            continue
        at = whole.index(content)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="can't be read"):
            RunState(path, IDENTITY).load()


def test_no_room_keeps_the_state_before(tmp_path, monkeypatch):
    path = tmp_path / "run.state"
    saved(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match="state: .*No space left"):
        saved(path, upto=4)
    assert os.listdir(tmp_path) == ["run.state"] and path.read_bytes() == before
    with pytest.raises(ValueError, match="state: there is no folder"):
        RunState(tmp_path / "none" / "run.state", IDENTITY)


SAVER = """
import sys, torch
from ganfast.metrics.evaluation.run_state import RunState, SideState
state = RunState(sys.argv[1], {"seed": 0})
for number in range(10**9):
    x = torch.full((400, 400), float(number), dtype=torch.float64)
    state.sides = {"real": SideState({"x": x}, number)}
    state.save()
    if number == 0:
        print("ready", flush=True)
"""


def test_killed_at_any_moment(tmp_path):
    path, draw = tmp_path / "run.state", random.Random(0)
    saver = [sys.executable, "-c", SAVER, str(path)]
    for _ in range(2):
        with subprocess.Popen(saver, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        state = RunState(path, {"seed": 0})
        assert state.load()
        side = state.sides["real"]
        assert (side.summary["x"] == side.next_batch).all()
    state.save()
    assert os.listdir(tmp_path) == ["run.state"]  # nor does anything pile up beside it


def test_due(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(run_state.time, "monotonic", lambda: now[0])
    state = RunState(tmp_path / "run.state", IDENTITY)
    assert not state.due()
    now[0] += 30
    assert state.due()

    def slow(*_, **__):
        now[0] += 4

    monkeypatch.setattr(run_state, "save_arrays", slow)
    state.save()
    now[0] += 79
    assert not state.due()
    now[0] += 1
    assert state.due()
