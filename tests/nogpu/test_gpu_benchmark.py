"""`make gpu` without a GPU: what it says there, and how it would write down what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import machine
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import checks, commands, stages, suites, writing

ROOT = Path(__file__).resolve().parents[2]

GPU = {
    "gpu": "NVIDIA Imaginary 1 (SXM)",
    "capability": "9.0",
    "processors": 132,
    "memory_gib": 139.8,
    "l2_mib": 50.0,
    "cuda": "13.0",
    "driver": "580.1",
    "cudnn": "9.10.2",
    "triton": "3.9.0",
    "cupy": "14.2.0",
    "numpy": "2.4.6",
    "scipy": "1.17.1",
}
FACTS = {**GPU, **machine.facts(2)}
TESTS = {"exit_code": 0, "seconds": 61.0, "passed": 3, "failed": 0, "skipped": 1, "failures": []}
TESTS["target"] = checks.SMOKE


def entries(label: str, eager: float, ours: float, *, graph: bool = False, near: bool = False):
    """Those of one case on one size, as the harness would have them."""
    made = []
    for name, time in {"eager softplus": eager, "ganfast": ours}.items():
        info = {"section": f"Discriminator{', in a CUDA graph' * graph}", "label": label}
        info |= {"provider": name, "error": 1e-8, "limit": 4e-7, "rate": 4e12, "sets": 256}
        info |= {"past_cache": not near}
        if name != "ganfast":
            info["speedup"] = dict.fromkeys(("median", "p20", "p80"), time / ours)
        stats = {"median": time, "rounds": 9, "iterations": 100}
        group = f"{label}{'-graph' * graph}"
        made.append({"group": group, "name": f"{group}-{name}", "extra_info": info, "stats": stats})
    return made


def suite(*benchmarks, skipped=()) -> dict:
    return {
        "suite": "losses",
        "command": "make bench",
        "machine_info": FACTS,
        "date": "2030-01-02",
        "load_before": 0.1,
        "failed": [],
        "skipped": list(skipped),
        "benchmarks": [one for each in benchmarks for one in each],
    }


def whole(found, tests=TESTS):
    facts = {"machine_info": FACTS, "date": "2030-01-02", "load_before": 0.1}
    return writing.together(found, **facts, install="installed", tests=[tests])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path / "new")]
    surroundings = {**os.environ, "SIMULATED_GPU": str(tmp_path)}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=surroundings)
    assert (run.returncode, run.stderr) == (0, "")
    said = "make gpu: PyTorch sees no CUDA GPU here, so there is nothing to test or time; simulated"
    assert run.stdout.startswith(f"{said}: ") and run.stdout.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_without_a_gpu_the_simulated_gates_run(monkeypatch, capsys):
    from testing.simulated_gpu import suites as simulated

    monkeypatch.setattr(gpu, "why_not", lambda: "no GPU")
    monkeypatch.setattr(simulated, "unavailable", lambda: None)
    told = []

    def run(command, seconds, environment):
        told.append(command)
        return len(told) - 1, "....\n4 passed in 1 s\n"

    monkeypatch.setattr(gpu, "run", run)
    assert gpu.main([]) == 0
    assert capsys.readouterr().out.endswith("; simulated: 4 passed in 1 s\n")
    assert told[0][-len(simulated.PART) :] == list(simulated.PART)
    assert gpu.main([]) == 1  # a gate that is red is no success


def test_without_torch_it_says_so_too(monkeypatch, capsys):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert gpu.main([]) == 0
    assert "PyTorch is not installed" in capsys.readouterr().out


def test_wrong_arguments(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        gpu.main(["--minutes", "0"])
    assert stopped.value.code == 2
    monkeypatch.setattr(gpu, "why_not", lambda: None)
    (tmp_path / "file").write_text("")
    assert gpu.main(["--out", str(tmp_path / "file")]) == 2
    assert "cannot write there" in capsys.readouterr().err


def test_the_report():
    found = [
        suite(
            entries("65,536", 2e-5, 8e-6),
            entries("65,536", 2e-6, 8e-7, graph=True),
            entries("64", 1e-5, 5e-5, near=True),
            skipped=["64: torch.compile: no compiler", "a case: no time left"],
        )
    ]
    text = writing.markdown(whole(found), found)
    lines = text.splitlines()
    assert lines[0] == "# ganfast on NVIDIA Imaginary 1 (SXM)"
    assert (
        "| 65,536 | 20.0 us / 1e-08 | 8.00 us / 1e-08 | **2.50x** (2.50-2.50) | 0.40 us | 5% |"
        in lines
    )
    assert (
        "| ▼ 64 | 10.0 us / 1e-08 | 50.0 us / 1e-08 | **0.20x** (0.20-0.20) | 0.40 us | 1% |"
        in lines
    )
    assert "## Discriminator, in a CUDA graph" in lines
    assert "slower than a rival in 1 of 3 rows" in text
    assert "Inputs rotate through more than the L2 cache holds, but for 64." in text
    assert "The limit's own step reached 4e+12" in text
    assert "Left out: no time left (a case)." in lines
    assert "Left out: torch.compile: no compiler (64)." in lines
    assert "3 passed, 0 failed, 1 skipped in 61.0 s" in text
    for fact in ("132 processors", "L2 50.0 MiB", "driver 580.1", "CUDA 13.0", "Triton 3.9.0"):
        assert fact in text
    assert "cuDNN 9.10.2, Triton 3.9.0, CuPy 14.2.0, NumPy 2.4.6, SciPy 1.17.1, ganfast" in text


def test_images_a_second_are_told():
    case = entries("bf16, batch 256", 0.05, 0.02)
    for each in case:
        each["extra_info"]["items"] = 256
    assert "| 20.0 ms / 1e-08 / 12,800 images/s |" in writing.markdown(
        whole([suite(case)]), [suite(case)]
    )


def test_the_budget_is_kept():
    """The stages' most, by their own arithmetic, are less than what a run may take."""
    least = stages.SPARE + sum(suites.SECONDS.values()) + stages.SANITIZER_SECONDS * 2
    assert least + 25 + 30 + 80 <= 60 * gpu.MINUTES  # as it is meant to go
    # And at the worst the tests still have some.
    before = stages.SPARE + stages.INSTALL_SECONDS + stages.SMOKE_SECONDS
    assert before + sum(suites.SECONDS.values()) / suites.SHARE <= 60 * gpu.MINUTES
    assert [suites.room(each, 1000.0) for each in suites.SUITES] == list(suites.SECONDS.values())
    left, given = 100.0, []
    for each in suites.SUITES:  # each takes all that it is given
        given.append(suites.room(each, left))
        left -= given[-1]
    assert left == pytest.approx(0.0) and min(given) > 0


def test_a_run_where_everything_went_wrong():
    found = [{"problem": "losses: out of memory"}, suites.measure("penalty", 1.0, {}, Path())]
    kept = whole(found, {"target": "a", "problem": "pytest is not installed, so no test was run"})
    text = writing.markdown(kept, found)
    assert "- losses: out of memory" in text and "Left out: no time left (penalty)." in text
    assert "pytest is not installed" in text


def test_each_test_is_written_when_it_is_over(tmp_path):
    """Also by xdist's workers, and though the last one never ends."""
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "test_it.py").write_text(
        "import pytest, time\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 == 2\n"
        "@pytest.fixture\ndef broken(): 1 / 0\n"
        "def test_worse(broken): pass\n"
        "@pytest.mark.skip\ndef test_idle(): pass\n"
        "def test_hangs(): time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = checks.test(str(tmp_path / "test_it.py"), 12.0, environment, tmp_path)
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 2, 1)
    assert [name.split("::")[1] for name in found["failures"]] == ["test_bad", "test_worse"]
    assert any("1 == 2" in each.get("why", "") for each in found["tests"])
    assert found["exit_code"] == 124 and "stopped after 12 s" in found["problem"]
    line = writing.tested(found)
    assert "test_bad" in line and "stopped after 12 s" in line


def test_every_file_of_tests_gpu_is_run():
    files = {f"tests/gpu/{path.name}" for path in (ROOT / "tests/gpu").glob("test_*.py")}
    assert {checks.SMOKE, *checks.chunks()} == files and checks.SMOKE not in checks.chunks()


def test_compute_sanitizer(monkeypatch):
    monkeypatch.setattr(checks.shutil, "which", lambda *_, **__: None)
    assert "not installed" in writing.tested(checks.sanitize("memcheck", 60.0, {}))
    monkeypatch.setattr(checks.shutil, "which", lambda *_, **__: "/there")
    told = []

    def run(command, seconds, environment, show):
        told.append(command)
        return 9 * (len(told) > 1), "ERROR SUMMARY: 0 errors\n"

    monkeypatch.setattr(checks, "run", run)
    assert "problem" not in checks.sanitize("memcheck", 60.0, {})
    assert checks.sanitize("racecheck", 60.0, {})["problem"] == "ERROR SUMMARY: 0 errors"
    assert "--tool=racecheck" in told[1] and checks.SMOKE in told[1]


def test_a_whole_run_writes_both_files(monkeypatch, tmp_path, capsys):
    measured = suite(entries("65,536", 2e-5, 8e-6))
    monkeypatch.setattr(gpu, "why_not", lambda: None)
    monkeypatch.setattr(machine, "facts", lambda threads, device: FACTS)
    monkeypatch.setattr(commands, "install", lambda *_: "installed")
    order, shares = [], []

    def test(target, seconds, environment, folder):
        order.append(target)
        return {**TESTS, "target": target}

    monkeypatch.setattr(checks, "test", test)
    monkeypatch.setattr(checks, "sanitize", lambda tool, *_: {"target": tool, "skipped": "none"})

    def measure(name, seconds, environment, folder):
        order.append(name)
        shares.append(seconds)
        # A run that is cut here has all that came before.
        written = json.loads((tmp_path / "gpu-nvidia-imaginary-1-sxm.json").read_text())
        assert [each["target"] for each in written["tests"]] == [checks.SMOKE]
        assert len(written["benchmarks"]) == (0 if name == "losses" else 2)
        assert environment["PYTHONPATH"].split(":")[0] == str(ROOT)
        return measured if name == "losses" else {"problem": f"{name}: crashed"}

    monkeypatch.setattr(suites, "measure", measure)
    assert gpu.main(["--out", str(tmp_path)]) == 1
    stem = tmp_path / "gpu-nvidia-imaginary-1-sxm"
    kept = json.loads(stem.with_suffix(".json").read_text())
    assert kept["benchmarks"] == measured["benchmarks"] and kept["machine_info"] == FACTS
    assert order == [checks.SMOKE, *suites.SUITES, *checks.chunks()]
    targets = [each["target"] for each in kept["tests"]]
    assert targets == [checks.SMOKE, *checks.chunks(), "memcheck", "racecheck"]
    assert len(kept["problems"]) == len(suites.SUITES) - 1
    assert "| 65,536 |" in stem.with_suffix(".md").read_text()
    assert len(shares) == len(suites.SUITES) and 0 < sum(shares[:1]) < 60 * gpu.MINUTES
    monkeypatch.setattr(suites, "measure", lambda *_: measured)
    assert gpu.main(["--out", str(tmp_path)]) == 0


def test_commands_that_fail_or_hang():
    assert commands.run([sys.executable, "-c", "print(1); exit(3)"], 60, {})[0] == 3
    code, told = commands.run([sys.executable, "-c", "import time; time.sleep(60)"], 1, {})
    assert code == 124 and "stopped after 1 s" in told
    assert commands.run(["./no-such-program"], 5, {})[0] == 127


def test_a_command_that_hangs_may_write_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "GRACE", 600.0)
    out = tmp_path / "out"
    program = f"""
import time
try:
    open({str(out)!r} + ".ready", "w").close()
    time.sleep(60)
except KeyboardInterrupt:
    open({str(out)!r}, "w").close()
"""
    assert commands.run([sys.executable, "-c", program], 3, {})[0] == 124
    assert out.exists() == (tmp_path / "out.ready").exists()


def test_a_suite_can_be_timed(tmp_path):
    """A rehearsal on the CPU: everything but events and graphs."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    how = ("--device", "cpu", "--quick", "-k", "clip-alone")
    found = suites.measure("optim", 500.0, environment, tmp_path, *how)
    assert {one["extra_info"]["provider"] for one in found["benchmarks"]} >= {"ganfast"}
    text = writing.markdown(whole([found]), [found])
    assert "MLP, 17,025 weights in 6 tensors" in text
