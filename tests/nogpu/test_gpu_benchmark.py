"""`make gpu` without a GPU: what it says there, and how it would write down what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, machine

ROOT = Path(__file__).resolve().parents[2]

GPU = {
    "gpu": "NVIDIA Imaginary 1 (SXM)",
    "capability": "9.0",
    "processors": 132,
    "memory_gib": 139.8,
    "l2_mib": 50.0,
    "cuda": "13.0",
    "driver": "580.1",
    "triton": "3.9.0",
}
FACTS = {**GPU, **machine.facts(2)}
TESTS = {"exit_code": 0, "seconds": 61.0, "passed": 3, "failed": 0, "skipped": 1, "failures": []}


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
    return gpu.together(found, **facts, install="installed", tests=tests)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path / "new")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    said = "make gpu: PyTorch sees no CUDA GPU here, so there is nothing to test or time\n"
    assert run.stdout == said
    assert not (tmp_path / "new").exists()


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
    text = gpu.markdown(whole(found), found)
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


def test_a_run_where_everything_went_wrong():
    found = [{"problem": "losses: out of memory"}, gpu.measure("penalty", 1.0, {}, Path())]
    kept = whole(found, {"problem": "pytest is not installed, so no test was run"})
    text = gpu.markdown(kept, found)
    assert "- losses: out of memory" in text and "Left out: no time left (penalty)." in text
    assert "pytest is not installed" in text


def test_failed_tests_are_named():
    junit = """<testsuites><testsuite tests="4" failures="1" errors="1" skipped="1">
        <testcase classname="a" name="good"/>
        <testcase classname="a" name="bad"><failure/></testcase>
        <testcase classname="a" name="worse"><error/></testcase>
        <testcase classname="a" name="idle"><skipped/></testcase></testsuite></testsuites>"""
    found = gpu.counts(junit)
    assert found["failures"] == ["a::bad", "a::worse"]
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 2, 1)
    assert "**failed: a::bad, a::worse**" in gpu.tested({**found, "seconds": 1})


def test_a_whole_run_writes_both_files(monkeypatch, tmp_path, capsys):
    measured = suite(entries("65,536", 2e-5, 8e-6))
    monkeypatch.setattr(gpu, "why_not", lambda: None)
    monkeypatch.setattr(machine, "facts", lambda threads, device: FACTS)
    monkeypatch.setattr(gpu, "install", lambda *_: "installed")
    monkeypatch.setattr(gpu, "test", lambda *_: TESTS)
    shares = []

    def measure(name, seconds, environment, folder):
        shares.append(seconds)
        assert environment["PYTHONPATH"].split(":")[0] == str(ROOT)
        return measured if name == "losses" else {"problem": f"{name}: crashed"}

    monkeypatch.setattr(gpu, "measure", measure)
    assert gpu.main(["--out", str(tmp_path)]) == 1
    stem = tmp_path / "gpu-nvidia-imaginary-1-sxm"
    kept = json.loads(stem.with_suffix(".json").read_text())
    assert kept["benchmarks"] == measured["benchmarks"] and kept["machine_info"] == FACTS
    assert kept["tests"] == TESTS and len(kept["problems"]) == len(gpu.SUITES) - 1
    assert "| 65,536 |" in stem.with_suffix(".md").read_text()
    assert len(shares) == len(gpu.SUITES) and 0 < sum(shares[:1]) < 60 * gpu.MINUTES
    monkeypatch.setattr(gpu, "measure", lambda *_: measured)
    assert gpu.main(["--out", str(tmp_path)]) == 0


def test_commands_that_fail_or_hang():
    assert gpu.run([sys.executable, "-c", "print(1); exit(3)"], 60, {})[0] == 3
    code, told = gpu.run([sys.executable, "-c", "import time; time.sleep(60)"], 1, {})
    assert code == 124 and "stopped after 1 s" in told
    assert gpu.run(["./no-such-program"], 5, {})[0] == 127


def test_a_command_that_hangs_may_write_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "GRACE", 600.0)
    out = tmp_path / "out"
    program = f"""
import time
try:
    open({str(out)!r} + ".ready", "w").close()
    time.sleep(60)
except KeyboardInterrupt:
    open({str(out)!r}, "w").close()
"""
    assert gpu.run([sys.executable, "-c", program], 3, {})[0] == 124
    assert out.exists() == (tmp_path / "out.ready").exists()


def test_a_suite_can_be_timed(tmp_path):
    """A rehearsal on the CPU: everything but events and graphs."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    how = ("--device", "cpu", "--quick", "-k", "clip-alone")
    found = gpu.measure("optim", 500.0, environment, tmp_path, *how)
    assert {one["extra_info"]["provider"] for one in found["benchmarks"]} >= {"ganfast"}
    text = gpu.markdown(whole([found]), [found])
    assert "MLP, 17,025 weights in 6 tensors" in text
