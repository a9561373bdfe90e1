"""Commands under torchrun: one result, one voice, and nobody left waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from helpers import pair

from ganfast.commands import distributed
from ganfast.errors import InputError

# An evaluation that exchanges something, and whose process 1 does what the first argument says.
WORKER = """
import os
import signal
import sys
import torch
import torch.distributed as dist
from ganfast import cli, metrics
from ganfast.commands import distributed
from ganfast.errors import InputError
from known_result import RESULT

behaviour, *argv = sys.argv[1:]


def evaluate(real, fake, **given):
    assert given["device"] == "cpu", given
    print("printed by", dist.get_rank())
    if dist.get_rank() == 1:
        if behaviour == "wrong":
            raise ZeroDivisionError("a bug")
        if behaviour == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    if behaviour.startswith("all mistaken"):
        raise InputError("real: nothing here")
    total = torch.tensor([1.0 + dist.get_rank()])
    dist.all_reduce(total)
    return {**RESULT, "fid": float(total), "skipped": ["a.png"] if behaviour == "skip" else []}


def first_to_fail(store, ask=distributed._is_first_to_fail):
    first = ask(store)
    for _ in range(2 * first):  # as torchrun does when another process has ended before we spoke
        os.kill(os.getpid(), signal.SIGTERM)
    return first


if behaviour == "all mistaken, one signalled":
    distributed._is_first_to_fail = first_to_fail
metrics.evaluate = evaluate
torch.set_num_threads(1)
sys.exit(cli.main(argv))
"""

slow = pytest.mark.slow
pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")


@pytest.fixture
def command(tmp_path, sides, result) -> Callable[..., list[str]]:
    """The worker's command line, for one behaviour."""
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "known_result.py").write_text(f"RESULT = {result!r}")

    def line(behaviour: str) -> list[str]:
        return [str(tmp_path / "worker.py"), behaviour, "fid", *sides, "--device", "cpu", "--json"]

    return line


def torchrun(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Two processes, as a user starts them. torchrun itself says a page when one fails."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    launcher += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, *command], env=environment, capture_output=True, text=True, timeout=600
    )


@slow
def test_torchrun_gives_one_result(command):
    done = torchrun(command("work"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fid"] == 3.0  # from both: 1 + 2
    assert "ganfast: " not in done.stderr and "terminate" not in done.stderr


MISTAKE = "ganfast: error: real: nothing here"


@slow
def test_a_mistake_that_all_find_is_one_line(command):
    done = torchrun(command("all mistaken"))
    assert done.returncode != 0 and done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("ganfast")]
    assert lines == [MISTAKE], done.stderr


@slow
def test_a_mistake_is_one_line_even_if_who_tells_it_is_signalled(command):
    ends = pair(command("all mistaken, one signalled"))
    assert all(code != 0 and out == "" for code, out, _ in ends), ends
    said = [line for *_, err in ends for line in err.splitlines() if line.startswith("ganfast")]
    assert said == [MISTAKE], ends


@slow
def test_the_first_process_tells_of_skipped_inputs_and_the_others_are_silent(command):
    first, other = pair(command("skip"))
    assert first[0] == 3 and json.loads(first[1])["skipped"] == ["a.png"]
    assert first[2] == "printed by 0\nganfast: note: skipped a.png\n"
    assert other == (0, "", "printed by 1\n")


@slow
def test_what_ends_one_ends_all_and_is_said_once(command):
    waiting, failing = pair(command("wrong"))
    assert failing[0] == 1 and failing[2].splitlines()[-1] == "ZeroDivisionError: a bug"
    assert waiting == (1, "", "printed by 0\n")


@slow
def test_the_others_of_a_killed_process_end_with_one_line(command):
    waiting, killed = pair(command("killed"))
    assert killed[0] == -signal.SIGKILL
    assert waiting[:2] == (1, "") and len(waiting[2].splitlines()) == 2
    assert waiting[2].splitlines()[1].startswith("ganfast: error: lost the other processes")


def test_alone_nothing_happens(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.joined("cpu") as place:
        assert place == distributed.Place(0, "cpu") and place.first
    # Some clusters count machines in it, and start one process on each.
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with distributed.joined(None) as place:
        assert place == distributed.Place(0, None) and not dist.is_initialized()


@pytest.fixture
def join(monkeypatch) -> Callable[..., tuple[str, distributed.Place]]:
    """Process 5 of 8, the second of its machine: the group's backend, and its place."""
    joined: list[str] = []
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **given: joined.append(backend))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)

    def call(device: str | None, gpus: int) -> tuple[str, distributed.Place]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        place = distributed._join(None, device)
        return joined[-1], place

    return call


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        (None, 0, ("gloo", "cpu")),
        ("cpu", 4, ("gloo", "cpu")),
        (None, 4, ("nccl", "cuda:1")),
        ("cuda", 2, ("nccl", "cuda:1")),
    ],
)
def test_each_process_has_a_gpu_of_its_own(join, device, gpus, expected):
    backend, place = join(device, gpus)
    assert (backend, place.device) == expected and place.rank == 5 and not place.first


@pytest.mark.parametrize(
    ("device", "gpus", "words"),
    [("cuda:0", 4, "each process has its own"), ("cuda", 0, "has 0"), (None, 1, "has 1 CUDA")],
)
def test_a_device_that_cannot_be_is_refused(join, device, gpus, words):
    with pytest.raises(InputError, match=words):
        join(device, gpus)
