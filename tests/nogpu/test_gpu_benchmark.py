"""`make gpu` without a GPU: what it says there, and how it would write down what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of what is installed

from benchmarks import gpu, gpu_report  # noqa: E402

FACTS = {
    "gpu": "NVIDIA Imaginary 1 (SXM)",
    "capability": "9.0",
    "processors": 132,
    "memory_gib": 139.8,
    "l2_mib": 50.0,
    "cuda": "13.0",
    "driver": "580.1",
    "torch": "2.13.0",
    "triton": "3.9.0",
    "python": "3.11.7",
    "date": "2026-01-01",
}


def time_of(seconds):
    return {"median": seconds, "p20": seconds, "p80": seconds, "rounds": 9}


def row(eager, ganfast, **other):
    times = {"eager softplus": time_of(eager), "eager BCE-with-logits": time_of(2 * eager)}
    times |= {"torch.compile": time_of(1.5e-5), "ganfast": time_of(ganfast)}
    return {
        "player": "discriminator",
        "game": "nonsaturating",
        "dtype": "float32",
        "label": "65,536",
        "size": 65_536,
        "sets": 256,
        "beyond_l2": True,
        "times": times,
        "graph_times": {name: time_of(each["median"] / 10) for name, each in times.items()},
        "limit": 4e-7,
        "errors": {"ganfast": {"value": 1e-8, "gradient": 2e-8}},
        "missing": {},
        **other,
    }


def run_of(rows, **losses):
    tests = {"exit_code": 0, "seconds": 61.0, "passed": 3, "failed": 0, "skipped": 1}
    return {
        "machine": FACTS,
        "install": "installed",
        "tests": {**tests, "failures": []},
        "losses": {"copy_bandwidth": 4e12, "rows": rows, "left_out": [], **losses},
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--out", str(tmp_path / "new")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
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


def test_the_table():
    slow = row(1e-5, 5e-5, label="64", beyond_l2=False, missing={"torch.compile": "no compiler"})
    del slow["times"]["torch.compile"]
    text = gpu_report.markdown(run_of([row(2e-5, 8e-6), slow], left_out=["a case: no time left"]))
    lines = text.splitlines()
    assert lines[0] == "# ganfast on NVIDIA Imaginary 1 (SXM)"
    assert (
        "| discriminator | nonsaturating | float32 | 65,536 | 20.0 us | 15.0 us | 8.00 us "
        "| **2.50x** | **1.88x** | 0.40 us | 5% |" in lines
    )
    assert (
        "| discriminator | ▼ nonsaturating | float32 | 64 | 10.0 us | - | 50.0 us "
        "| **0.20x** | - | 0.40 us | 1% |" in lines
    )
    assert "slower than a rival in 1 of 2 rows" in text
    assert "L2 cache holds, but for 64 logits." in text and "4000 GB/s" in text
    assert "- a case: no time left" in lines
    assert "- discriminator, nonsaturating, float32, 64: torch.compile: no compiler" in lines
    assert "3 passed, 0 failed, 1 skipped in 61.0 s" in text


def test_a_run_where_everything_went_wrong():
    kept = run_of([], problem="out of memory")
    kept["tests"] = {"problem": "pytest is not installed, so no test was run"}
    text = gpu_report.markdown(kept)
    assert "stopped early:** out of memory" in text and "pytest is not installed" in text


def test_failed_tests_are_named():
    junit = """<testsuites><testsuite tests="4" failures="1" errors="1" skipped="1">
        <testcase classname="a" name="good"/>
        <testcase classname="a" name="bad"><failure/></testcase>
        <testcase classname="a" name="worse"><error/></testcase>
        <testcase classname="a" name="idle"><skipped/></testcase></testsuite></testsuites>"""
    found = gpu.counts(junit)
    assert found["failures"] == ["a::bad", "a::worse"]
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 2, 1)
    assert "**failed: a::bad, a::worse**" in gpu_report.tested({**found, "seconds": 1})


def test_a_whole_run_writes_both_files(monkeypatch, tmp_path):
    kept = run_of([row(2e-5, 8e-6)])
    stand_ins = {"why_not": None, "machine": FACTS, "install": "installed"}
    stand_ins |= {"test": kept["tests"], "losses": kept["losses"]}
    for name, value in stand_ins.items():
        monkeypatch.setattr(gpu, name, lambda *_, value=value: value)
    assert gpu.main(["--out", str(tmp_path)]) == 0
    stem = tmp_path / "gpu-nvidia-imaginary-1-sxm"
    assert json.loads(stem.with_suffix(".json").read_text()) == kept
    assert stem.with_suffix(".md").read_text() == gpu_report.markdown(kept)


def test_commands_that_fail_or_hang():
    assert gpu.run([sys.executable, "-c", "print(1); exit(3)"], 60, {})[0] == 3
    code, told = gpu.run([sys.executable, "-c", "import time; time.sleep(60)"], 1, {})
    assert code == 124 and "stopped after 1 s" in told
    assert gpu.run(["./no-such-program"], 5, {})[0] == 127


def test_the_losses_can_be_timed(tmp_path):
    """A rehearsal on the CPU: everything but events and graphs."""
    out = tmp_path / "losses.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_losses.py"), str(out)]
    options = ["--device", "cpu", "--backend", "reference", "--cases", "1", "--each", "0.01"]
    run = subprocess.run([*command, *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    kept = json.loads(out.read_text())
    assert kept["left_out"] == [] and "ganfast" in kept["rows"][0]["times"]
    assert "| 64 |" in gpu_report.markdown(run_of([]) | {"losses": kept})
