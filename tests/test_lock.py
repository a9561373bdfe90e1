"""Who has a lock keeps other processes out, until it lets go or dies."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ganfast import _lock
from ganfast._lock import Lock
from ganfast.errors import InputError
from ganfast.metrics import evaluate
from ganfast.train import TrainConfig, train

pytestmark = pytest.mark.skipif(_lock.fcntl is None, reason="a system without such locks")

HOLDER = """
import os, pathlib, sys
from ganfast._lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]), "busy")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def another_process_has(path, script=HOLDER) -> Iterator[subprocess.Popen]:
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_another_process_is_refused_until_the_holder_ends(tmp_path):
    path = tmp_path / ".lock"
    with another_process_has(path) as process:
        with pytest.raises(InputError, match="^busy$"):
            Lock(path, "busy")
        process.communicate("")
        assert not path.exists()  # an orderly end tidies up
    with Lock(path, "busy"):
        assert path.exists()
    assert not path.exists()


def test_a_killed_holder_leaves_nothing_that_refuses(tmp_path):
    path = tmp_path / ".lock"
    with another_process_has(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.exists()
    with Lock(path, "busy"):
        pass
    assert not path.exists()


def test_workers_that_outlive_the_holder_do_not_hold_it(tmp_path):
    path = tmp_path / ".lock"
    with another_process_has(path, HOLDER.replace("print", "os.fork() and print")) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Lock(path, "busy"):  # while the child waits for the end of our input
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_where_there_are_no_locks_nobody_is_refused(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(_lock.fcntl, "lockf", refuse)
        with Lock(tmp_path / ".lock", "busy"):
            pass
    with another_process_has(tmp_path / ".lock"):
        monkeypatch.setattr(_lock, "fcntl", None)
        with Lock(tmp_path / ".lock", "busy"):
            pass


def test_a_second_run_into_a_folder_is_refused_before_it_touches_anything(tmp_path):
    config = TrainConfig(data="ring", steps=1, out=tmp_path, width=4, overwrite=True)
    train(config)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with another_process_has(tmp_path / ".lock"):
        with pytest.raises(InputError, match="^out: got .*another run is under way"):
            train(config)
        (tmp_path / ".lock").unlink()
    assert {path: path.read_bytes() for path in before} == before
    train(config)
    assert not (tmp_path / ".lock").exists()


def test_a_state_file_in_use_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "metrics"))
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    options = {"extractor": "tiny_network:network", "state": tmp_path / "run.state"}
    with (
        another_process_has(tmp_path / ".run.state.lock"),
        pytest.raises(InputError, match="^state: got .*another run is using"),
    ):
        evaluate(images[:4], images[4:], **options)
    evaluate(images[:4], images[4:], **options)
    assert list(tmp_path.iterdir()) == []
