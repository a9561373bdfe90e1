"""From the cases to pytest-benchmark, the file that is kept, and the report."""

from __future__ import annotations

import copy
import csv
import getpass
import json
import math
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import machine, report, results
from benchmarks import run as bench_run
from benchmarks.harness import Harness
from benchmarks.rows import rows
from ganfast.bench.case import Case, Provider
from ganfast.bench.timing import in_words

ROOT = Path(__file__).resolve().parent.parent


def call(*command: str | Path, cwd: Path = ROOT) -> str:
    # In a worker of pytest-xdist pytest-benchmark measures nothing; this is not one of them.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- pytest-benchmark ----------------------------------------------------------------------------


def test_pytest_benchmark_compares_two_runs_and_agrees_with_the_report(tmp_path):
    pick = ["--quick", "-k", "clip-alone"]
    call(
        "-m", "pytest", "benchmarks", *pick, "-q", "-p", "no:cacheprovider",
        f"--benchmark-json={tmp_path / 'first.json'}",
    )  # fmt: skip
    call("-m", "benchmarks.run", "--suite", "optim", *pick, "--out", tmp_path)
    first = json.loads((tmp_path / "first.json").read_text())
    (kept,) = tmp_path.glob("optim-*-quick.json")
    second = json.loads(kept.read_text())
    for run in (first, second):
        assert {one["group"] for one in run["benchmarks"]} == {"clip-alone-mlp"}
        for one in run["benchmarks"]:
            stats = one["stats"]
            assert stats["rounds"] > 1 and stats["stddev"] > 0
            assert stats["min"] <= stats["median"] <= stats["max"]
            assert stats["ops"] == pytest.approx(1 / stats["mean"], rel=1e-3)
    assert first["machine_info"] == second["machine_info"]  # or they are said not to compare
    for name in ("group", "name", "fullname", "param"):
        assert [one[name] for one in first["benchmarks"]] == [
            one[name] for one in second["benchmarks"]
        ]
    for one in first["benchmarks"]:
        assert len(one["stats"]["data"]) == one["stats"]["rounds"]

    table = tmp_path / "table.csv"
    files = [tmp_path / "first.json", kept]
    compare = ["-m", "pytest_benchmark", "--storage", tmp_path / "storage", "compare"]
    told = call(*compare, *files, "--sort=name", f"--csv={table}", cwd=tmp_path)
    assert "benchmark 'clip-alone-mlp': 6 tests" in told
    with table.open() as file:
        medians = sorted(float(line["median"]) for line in csv.DictReader(file))
    both = first["benchmarks"] + second["benchmarks"]
    assert medians == pytest.approx(sorted(one["stats"]["median"] for one in both))

    text = kept.with_suffix(".md").read_text()
    (row,) = [line for line in text.splitlines() if "MLP, 17,025 weights" in line]
    for one in second["benchmarks"]:
        assert in_words(one["stats"]["median"]) in row


class FakeBenchmark:
    """Of pytest-benchmark's fixture what the harness uses, switched off."""

    def __init__(self) -> None:
        self.group, self.stats, self.extra_info = None, None, {}
        self.recorded = False

    def pedantic(self, target, *, iterations: int) -> None:
        self.recorded = iterations > 0


def case(**providers: Provider) -> Case:
    return Case(
        name="row", section="some", label="row", inputs=lambda device, seed: (),
        providers=providers, error_of=lambda: lambda _, found: abs(found - 1.0), seconds=0.01,
    )  # fmt: skip


def returns(value: float, **how: bool) -> Provider:
    return Provider(lambda: lambda: value, 1e-3, **how)


def outcomes(row: Case, harness: Harness | None = None) -> dict[str, str]:
    """What became of every provider's entry."""
    harness = harness or Harness(quick=True)
    found = {}
    for graph, provider, name in harness.entries(row):
        assert name == f"row-{provider}"
        benchmark = FakeBenchmark()
        try:
            harness.record(benchmark, row, graph, provider)
            found[provider] = "passed"
        except pytest.fail.Exception as why:
            found[provider] = f"failed {why}"
        except pytest.skip.Exception as why:
            found[provider] = f"skipped {why}"
        assert benchmark.group == "row"
        assert benchmark.recorded == (found[provider] == "passed")
    return found


def test_who_is_wrong_fails_and_who_cannot_run_is_skipped():
    def breaks():
        raise RuntimeError("no compiler")

    row = case(wrong=returns(2.0), maybe=Provider(breaks, optional=True), ganfast=returns(1.0))
    assert outcomes(row) == {
        "wrong": "failed row: wrong: wrong by 1 (at most 0.001)",
        "maybe": "skipped row: maybe: RuntimeError: no compiler",
        "ganfast": "passed",
    }


def test_who_turns_out_wrong_once_timed_has_no_speed_either():
    row = case(late=returns(2.0, slow=True), ganfast=returns(1.0))
    assert outcomes(row)["late"].startswith("failed row: late: wrong by 1")


def test_a_wrong_ganfast_fails_and_nobody_is_timed():
    found = outcomes(case(eager=returns(1.0), ganfast=returns(2.0)))
    assert found["ganfast"].startswith("failed row: wrong by 1")
    assert found["eager"].startswith("skipped row: wrong by 1")


def test_a_case_is_measured_once_for_all_its_entries():
    calls = []

    def make():
        calls.append(1)
        return lambda: 1.0

    assert outcomes(case(eager=Provider(make, 1.0), ganfast=returns(1.0)))["eager"] == "passed"
    assert len(calls) == 1


def test_a_case_that_breaks_is_not_tried_again():
    tries = []

    def inputs(device, seed):
        tries.append(1)
        raise RuntimeError("no room")

    row = replace(case(eager=returns(1.0), ganfast=returns(1.0)), inputs=inputs)
    assert outcomes(row) == {
        "eager": "skipped row: RuntimeError: no room",
        "ganfast": "failed row: RuntimeError: no room",
    }
    assert len(tries) == 1


def test_no_case_begins_when_the_time_is_over():
    found = outcomes(case(ganfast=returns(1.0)), Harness(until=-1.0))
    assert found == {"ganfast": "skipped row: no time left"}


def test_what_the_inputs_need_may_be_missing():
    def inputs(device, seed):
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    row = replace(case(ganfast=returns(1.0)), inputs=inputs)
    assert outcomes(row) == {"ganfast": "skipped row: needs sklearn"}


# ---- what is kept, and the report ----------------------------------------------------------------

FACTS = {
    "cpu": "Acme(R) Fast(TM) CPU @ 2.00GHz",
    "architecture": "x86_64",
    "cores": 2,
    "threads": 2,
    "caches": {"L2": "1024K"},
    "ram_gib": 8.0,
    "os": "Some Linux 1",
    "python": "3.12.0",
    "torch": "2.99.0",
    "ganfast": "0.1.0",
    "isa": "x86-64-v3",
}


def measured(label: str, times: dict[str, float], rounds: int = 9, **more: dict) -> list[dict]:
    """The entries of one case, one for each provider."""

    def spread(value: float) -> dict[str, float]:
        return {"median": value, "p20": 0.9 * value, "p80": 1.1 * value}

    ours = times["ganfast"]
    made = []
    for name, time in times.items():
        info = {"section": "Losses, some", "label": label, "provider": name, "limit": ours / 4}
        info |= {"error": 2.5e-7} | more.get(name, {})
        if name != "ganfast":
            info["speedup"] = spread(time / ours)
        few = {"rounds": 2 if time > 1 else rounds, "iterations": 1}
        made.append(
            {
                "group": label,
                "name": f"test_losses[{label}-{name}]",
                "fullname": f"/home/somebody/benchmarks/bench_losses.py::test_losses[{label}]",
                "param": f"{label}-{name}",
                "params": {"case": "UNSERIALIZABLE"},
                "options": {"timer": "perf_counter"},
                "stats": {"median": time, "min": 0.9876543 * time, "data": [time] * 3, **few},
                "extra_info": info,
            }
        )
    return made


FAST = measured(
    "65,536",
    {"ganfast": 100e-6, "eager": 300e-6, "torch.compile": 250e-6},
    eager={"code": "F.softplus(-real).mean()"},
)
SLOW = measured("64", {"ganfast": 50e-6, "eager": 40e-6, "torch.compile": 90e-6})


def raw(*benchmarks: dict) -> dict:
    return {
        "machine_info": {**FACTS, "node": "secret-host", "user": "somebody"},
        "commit_info": {"id": "0123", "author": "somebody@example.org", "project": "secret"},
        "datetime": "2030-01-02T03:04:05",
        "load_before": 0.1,
        "version": "5.3.1",
        "benchmarks": list(benchmarks),
    }


def kept(*benchmarks: dict, failed=(), skipped=(), suite="losses") -> dict:
    return results.trim(raw(*benchmarks), suite, "make bench", list(failed), list(skipped))


def test_what_is_kept_names_nobody():
    run = kept(*FAST)
    text = json.dumps(run)
    for secret in ("secret", "somebody", "/home", "@example", "author"):
        assert secret not in text
    assert run["machine_info"] == FACTS
    first = run["benchmarks"][0]
    assert "data" not in first["stats"] and first["stats"]["min"] == 9.8765e-05
    assert first["fullname"] == "benchmarks/bench_losses.py::test_losses[65,536-ganfast]"


def test_this_machine_is_described_but_not_named():
    facts = machine.facts(threads=2)
    assert set(facts) <= set(results.MACHINE) and set(facts) == set(FACTS)
    assert all(facts[key] for key in ("cpu", "cores", "os", "python", "torch", "isa"))
    text = json.dumps(facts)
    try:
        names = {platform.node(), getpass.getuser(), str(Path.home())}
    except (KeyError, OSError):  # a user without a name
        names = {platform.node()}
    for name in names:
        assert len(name) < 5 or name not in text


def test_files_are_named_after_the_machine():
    assert results.stem(kept(*FAST), "-quick") == "losses-acme-fast-cpu-2-00ghz-2threads-quick"
    on_gpu = kept(*FAST)
    on_gpu["machine_info"]["gpu"] = "NVIDIA H100 80GB"
    assert results.stem(on_gpu) == "losses-nvidia-h100-80gb"


def test_the_table_holds_the_figures():
    text = report.markdown(kept(*FAST))
    (line,) = [line for line in text.splitlines() if line.startswith("| 65,536")]
    assert line.startswith("| 65,536 | 300 us / 2e-07 | 250 us / 2e-07 | 100 us / 2e-07 |")
    for fact in ("**3.00x** (2.70-3.30)", "**2.50x** (2.25-2.75)", "25.0 us", "25%"):
        assert fact in line
    assert report.MARK not in text
    assert "In none of the 1 rows is ganfast slower" in text
    for fact in ("Acme(R)", "2 cores", "8.0 GiB", "x86-64-v3", "`make bench`", "2030-01-02"):
        assert fact in text
    assert "- Losses, some: eager: `F.softplus(-real).mean()`" in text


def test_a_loss_is_marked_and_said_above_the_table():
    text = report.markdown(kept(*FAST, *SLOW))
    assert f"| {report.MARK} 64 |" in text
    assert "| 65,536 |" in text
    sentence = text[: text.index("| case |")]
    assert "slower than a rival in 1 of 2 rows" in sentence
    assert "Losses, some, 64: 0.80x eager (errors 2e-07 and 2e-07)" in sentence


def test_few_rounds_memory_and_shares_are_told():
    times = {"scipy": 10.0, "eigh": 2e-3, "ganfast": 1e-3}
    shares = {"forward": 3e-3, "loss": 1e-3}
    entries = measured("row", times, eigh={"memory": 1600.4}, ganfast={"shares": shares})
    text = report.markdown(kept(*entries, suite="linalg"))
    (line,) = [line for line in text.splitlines() if line.startswith("| row | 10.0 s")]
    assert "10.0 s / 2e-07 (n=2)" in line and "2.00 ms / 2e-07 / 1600 MB" in line
    assert "| **10000x** |" in line and "**2.00x** (1.80-2.20)" in line
    assert "| row | ganfast | 3.00 ms, 75% | 1.00 ms, 25% |" in text
    assert text.startswith("# Matrix square roots and Fréchet distances on Acme(R)")


def test_a_busy_machine_a_failure_and_what_was_left_out_are_said():
    skipped = [f"{name}: torch.compile: no compiler" for name in ("64", "65,536")]
    run = kept(*FAST, failed=["hinge-64: eager: wrong"], skipped=skipped)
    text = report.markdown(run)
    assert "Other programs were running" not in text
    assert "**Failed, and so not in the tables:** hinge-64: eager: wrong." in text
    assert "Left out: torch.compile: no compiler (64, 65,536)." in text
    busy = copy.deepcopy(run)
    busy["load_before"] = 3.0
    assert "Other programs were running" in report.markdown(busy)


def test_a_run_without_the_compiler_is_still_a_table():
    entries = [entry for entry in SLOW if entry["extra_info"]["provider"] != "torch.compile"]
    text = report.markdown(kept(*FAST, *entries))
    assert f"| {report.MARK} 64 | 40.0 us / 2e-07 | - | 50.0 us / 2e-07 |" in text


def test_a_run_without_ganfast_has_no_row():
    entries = [entry for entry in FAST if entry["extra_info"]["provider"] != "ganfast"]
    assert "Nothing passed that was asked for" in report.markdown(kept(*entries))


def test_report_makes_table_and_plot_beside_the_json(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run = kept(*FAST, *SLOW)
    path = tmp_path / f"{results.stem(run)}.json"
    results.dump(path, run)
    assert json.loads(path.read_text()) == run
    assert report.main([str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(path.with_suffix(".md"))
    assert path.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert path.with_suffix(".png").name in path.with_suffix(".md").read_text()
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".md", ".png"]


def test_what_is_no_run_is_refused_in_a_line(tmp_path, capsys):
    path = tmp_path / "x.json"
    path.write_text("{}")
    assert report.main([str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.stem
)
def test_results_that_are_kept_have_statistics_and_can_be_read_again(path):
    run = json.loads(path.read_text())
    assert min(one["stats"]["rounds"] for one in run["benchmarks"]) > 1
    assert all(math.isfinite(row.limit) for row in rows(run))
    assert report.markdown(run)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.md"
    results.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        results.write(path, "\ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_out_that_cannot_be_written_ends_before_the_measuring(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        bench_run.main(["--quick", "--out", str(tmp_path / "file")])
    assert stop.value.code == 2 and "cannot write there" in capsys.readouterr().err


def test_the_command_is_spelled_without_paths():
    options = bench_run.arguments(["--quick", "-k", "a or b", "--out", str(ROOT)])
    assert bench_run.spelled(options) == "make bench BENCH_ARGS='--quick -k '\"'\"'a or b'\"'\"''"
    options = bench_run.arguments(["--suite", "linalg", "--device", "cuda"])
    assert bench_run.spelled(options) == "make bench BENCH_ARGS='--suite linalg --device cuda'"
    assert bench_run.spelled(bench_run.arguments([])) == "make bench"
    assert bench_run.arguments([]).suite is None
