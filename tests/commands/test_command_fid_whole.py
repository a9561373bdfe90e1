"""`ganfast fid` and `ganfast stats` as programs: real folders, a small network, whole processes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from helpers import pair

from ganfast import cli
from ganfast.metrics.arrays_file import ArraysFile
from testing import pictures

ROOT = Path(__file__).resolve().parent.parent.parent
COUNT = 30
TINY = ["--extractor", "tiny_network:network", "--device", "cpu", "--batch-size", "4"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    pytest.importorskip("PIL")
    pytest.importorskip("sklearn")
    return pictures.folders("32x32 PNG", COUNT, tmp_path_factory.mktemp("pictures"))


def environment() -> dict[str, str]:
    path = [str(ROOT), str(ROOT / "tests" / "metrics"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}


def process(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ganfast", *map(str, words)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)


def ganfast(*words: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, without the seconds that a new one takes to import torch."""
    out, err = io.StringIO(), io.StringIO()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([str(word) for word in words])
    finally:
        torch.set_num_threads(threads)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def fid(*words: object) -> dict[str, Any]:
    return result(ganfast("fid", *words, *TINY, "--json"))


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def alone(folders) -> dict[str, Any]:
    return result(process("fid", folders.real, folders.fake, *TINY, "--json"))


def test_a_report_for_people(folders, alone):
    done = ganfast("fid", folders.real, folders.fake, *TINY)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("FID ") and f"{alone['fid']:.6g}" in done.stdout
    assert "30 real, 30 fake" in done.stdout and "images/s" in done.stdout


def test_statistics_made_once_serve_many_times(folders, alone, tmp_path):
    out = tmp_path / "real.npz"
    done = ganfast("stats", folders.real, out, *TINY)
    assert (done.returncode, done.stderr) == (0, "")
    with np.load(out, allow_pickle=False) as file:  # as pytorch-fid reads it
        assert file["mu"].shape == (12,) and file["sigma"].shape == (12, 12)
        assert int(file["n"]) == COUNT and str(file["protocol"]) == "pytorch-fid"
    assert fid(out, folders.fake)["fid"] == pytest.approx(alone["fid"], rel=1e-9)
    refused = ganfast("fid", out, folders.fake, *TINY, "--protocol", "clean")
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert "differ in protocol" in refused.stderr and "--allow-mismatch" in refused.stderr


def test_skipped_files_make_the_exit_code_3(folders, tmp_path):
    damaged = tmp_path / "fake"
    damaged.mkdir()
    for path in folders.fake.iterdir():
        (damaged / path.name).symlink_to(path)
    (damaged / "zz.png").write_bytes(b"")
    failed = ganfast("fid", folders.real, damaged, *TINY)
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1
    assert "zz.png" in failed.stderr and "--on-error skip" in failed.stderr
    done = ganfast("fid", folders.real, damaged, *TINY, "--on-error", "skip", "--json")
    assert done.returncode == 3
    assert [Path(name).name for name in json.loads(done.stdout)["skipped"]] == ["zz.png"]


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_two_processes_find_the_number_of_one(folders, alone):
    words = ["fid", folders.real, folders.fake, *TINY, "--kid", "--json"]
    (code, out, err), other = pair(["-m", "ganfast", *map(str, words)], **environment())
    assert (code, other[:2]) == (0, (0, "")), (err, other)
    both = json.loads(out)
    assert both["n_real"] == both["n_fake"] == COUNT
    for name in ("fid", "mean_term", "covariance_term", "inception_score_mean"):
        assert both[name] == pytest.approx(alone[name], rel=1e-9)


# As `ganfast`, but it saves after each batch.
EAGER_TO_SAVE = """
import sys
from ganfast import cli
from ganfast.metrics.evaluation import run_state
run_state._SECONDS = run_state._SHARE = 0.0
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("saves", [1, 6])
def test_killed_at_any_moment_it_goes_on_to_the_same_number(saves, folders, alone, tmp_path):
    state = tmp_path / "run.state"
    words = ["fid", str(folders.real), str(folders.fake), *TINY, "--state", str(state), "--json"]
    killed = subprocess.Popen(
        [sys.executable, "-c", EAGER_TO_SAVE, *words],
        env={**environment(), "TINY_NETWORK_SLEEPS": "0.05"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    seen: set[int] = set()
    deadline = time.monotonic() + 600
    while len(seen) < saves:  # each save has a time of its own
        assert killed.poll() is None and time.monotonic() < deadline
        if state.exists():
            seen.add(state.stat().st_mtime_ns)
        time.sleep(0.001)
    os.killpg(killed.pid, signal.SIGKILL)
    out, _ = killed.communicate()
    assert out == b"" and state.exists()
    found = fid(folders.real, folders.fake, "--state", state)
    for name in ("fid", "inception_score_mean", "n_real", "n_fake"):
        assert found[name] == alone[name]
    assert list(tmp_path.iterdir()) == []


# As `ganfast`, but the third batch waits for the test: HERE gets the numbers of the workers, and
# it goes on when GO is there.
WAITING = """
import multiprocessing, pathlib, sys, time
from ganfast import cli
from ganfast.metrics.extractors import Extractor
here, go = map(pathlib.Path, sys.argv[1:3])
calls, extract = [], Extractor.extract
def waiting(self, batch):
    calls.append(1)
    if len(calls) == 3:
        workers = " ".join(str(child.pid) for child in multiprocessing.active_children())
        here.with_suffix(".part").write_text(workers)
        here.with_suffix(".part").rename(here)
        while not go.exists():
            time.sleep(0.01)
    return extract(self, batch)
Extractor.extract = waiting
sys.exit(cli.main(sys.argv[3:]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("whom", ["process", "group"])
def test_sigterm_keeps_the_batch_and_ends_the_workers(whom, folders, alone, tmp_path):
    here, go, state = tmp_path / "here", tmp_path / "go", tmp_path / "run.state"
    words = ["fid", folders.real, folders.fake, *TINY, "--workers", "2", "--state", state, "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, *map(str, [here, go, *words])],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            deadline = time.monotonic() + 600
            while not here.exists():
                assert child.poll() is None and time.monotonic() < deadline
                time.sleep(0.01)
            (os.killpg if whom == "group" else os.kill)(child.pid, signal.SIGTERM)
            go.touch()
            out, err = child.communicate(timeout=600)
        finally:
            child.kill()
    assert (child.returncode, out) == (143, "")
    assert err.splitlines() == [f"ganfast: terminated; {state} keeps what is done, and the same "
                                "command goes on with it"]  # fmt: skip
    workers = here.read_text().split()
    assert len(workers) == 2 and not any(os.path.exists(f"/proc/{pid}") for pid in workers)
    with ArraysFile(state, "state", "a state") as seen:
        assert json.loads(seen["facts"].tobytes())["sides"]["real"]["next_batch"] == 3
    found = fid(folders.real, folders.fake, "--state", state)
    for name in ("fid", "inception_score_mean", "n_real", "n_fake"):
        assert found[name] == alone[name]
    assert not state.exists()
