"""`ganfast bench`: a quick comparison whose figures can be trusted."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import FakeClock

from ganfast import bench, cli

CPU = torch.device("cpu")
ONE = torch.tensor(1.0)


def test_times_ratio_and_difference():
    clock = FakeClock()
    eager = clock.step("eager", 0.03, result=torch.tensor(2.0))
    ours = clock.step("ganfast", 0.01, result=torch.tensor(2.5))
    found = bench.compare(bench.Duel("op", "case", eager, ours), CPU, 1.0, clock)
    assert found["eager_seconds"] == pytest.approx(0.03)
    assert found["ganfast_seconds"] == pytest.approx(0.01)
    assert found["speedup"] == pytest.approx(3.0)
    assert found["difference"] == pytest.approx(0.25)
    assert {clock.calls[i : i + 2][0] for i in range(6, 14, 2)} == {"eager", "ganfast"}


def test_a_short_run_is_repeated_and_a_long_one_is_not():
    clock = FakeClock()
    eager, ours = clock.step("eager", 1e-5, result=ONE), clock.step("ganfast", 5.0, result=ONE)
    bench.compare(bench.Duel("op", "case", eager, ours), CPU, 0.0, clock)
    assert clock.calls.count("eager") >= bench.FEWEST * 150
    assert clock.calls.count("ganfast") == 3 + bench.FEWEST


def test_both_ways_of_every_op_agree(capsys):
    assert cli.main(["bench", "--quick", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["device"] == "cpu" and facts["threads"] == torch.get_num_threads()
    ops = {row["op"] for row in facts["rows"]}
    assert ops >= {"discriminator_loss", "interpolate", "penalty_from_gradient"}
    assert ops >= {"optim.RMSprop, weight_clip", "clip_weights_"}
    assert ops >= {"sqrtm", "trace_sqrtm", "Moments", "preprocess"}
    for row in facts["rows"]:
        assert row["difference"] < 1e-5, row
        assert row["speedup"] > 0 and row["eager_seconds"] > 0 and row["ganfast_seconds"] > 0


def test_the_table_has_a_line_per_op_and_says_where_ganfast_is_slower():
    row = {"eager_seconds": 3e-3, "ganfast_seconds": 1e-3, "difference": 1e-7}
    rows = [
        {"op": "one", "case": "64", **row, "speedup": 3.0},
        {"op": "two", "case": "128", **row, "speedup": 0.5},
    ]
    facts = {"ganfast": "9", "torch": "8", "device": "cpu", "threads": 2, "rows": rows}
    *_, head, one, two = bench.report(facts).splitlines()
    assert head.split() == ["op", "on", "eager", "ganfast", "speed-up", "differ", "by"]
    assert one.split() == ["one", "64", "3", "ms", "1", "ms", "3.00x", "1e-07"]
    assert two.split() == ["two", "128", "3", "ms", "1", "ms", "0.50x", "1e-07", "(slower)"]


def test_times_are_spelled_with_a_unit():
    assert [bench.spelled(t) for t in (1.23e-6, 4.5e-2, 2.0)] == ["1.23 us", "45 ms", "2 s"]


def test_a_device_that_torch_cannot_use_is_one_line(capsys):
    assert cli.main(["bench", "--device", "nothing", "--quick"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "device 'nothing' can't be used" in lines[0]
