"""The suites of contests: gates that can fail, rounds that can be trusted, tables that say it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks/ is not installed

from benchmarks import networks, report, results, suites, words  # noqa: E402
from benchmarks import run as bench_run  # noqa: E402
from benchmarks.contest import Contest, Entry  # noqa: E402
from benchmarks.interleave import interleave  # noqa: E402
from benchmarks.limit import Yardstick, copying, multiplying, updating  # noqa: E402
from benchmarks.linalg import features, pairs, rivals, statistics  # noqa: E402
from benchmarks.ours import NotThere, op  # noqa: E402
from benchmarks.penalty import from_gradient, interpolation  # noqa: E402
from benchmarks.steps import game  # noqa: E402
from benchmarks.steps.cases import WholeStep, exact_gradients  # noqa: E402
from benchmarks.steps.flops import of_forward, of_step  # noqa: E402
from testing import gaussians  # noqa: E402

CONTESTS = [suite for suite in suites.SUITES if suite != "losses"]


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def step(self, name: str, seconds: float):
        def run() -> float:
            self.calls.append(name)
            self.now += seconds
            return seconds

        return run


# ---- rounds --------------------------------------------------------------------------------------


def test_a_slow_step_is_not_warmed_up_and_sits_out_when_its_time_is_spent():
    clock = FakeClock()
    steps = {"ours": clock.step("ours", 1.0), "slow": clock.step("slow", 10.0)}
    found = interleave(
        steps, baseline="ours", seconds=0.0, least_rounds=4, clock=clock, slow={"slow"}, each=15.0
    )
    assert clock.calls.count("slow") == 2 and found["played"] == {"ours": 4, "slow": 2}
    assert found["ratios"]["slow"]["median"] == pytest.approx(10.0)


def test_the_baseline_plays_every_round():
    clock = FakeClock()
    steps = {"ours": clock.step("ours", 10.0), "fast": clock.step("fast", 1.0)}
    found = interleave(steps, baseline="ours", seconds=0.0, clock=clock, each=5.0)
    assert found["played"] == {"ours": 7, "fast": 5}


# ---- contests ------------------------------------------------------------------------------------


def contest(**entries: Entry) -> Contest:
    yard = Yardstick(lambda: sum(range(100)), 1000.0)
    return Contest("some", "row", entries, lambda _, found: abs(found - 1.0), yard, 500.0, 0.01)


def returns(value: float, tolerance: float | None = 1e-3, **how: bool) -> Entry:
    return Entry(lambda: lambda: value, tolerance, **how)


def fails() -> float:
    raise RuntimeError("first line\nsecond line")


def test_a_contest_tells_times_errors_and_limit():
    found = contest(eager=returns(1.0), ganfast=returns(1.0001)).measure(quick=True)
    assert set(found["times"]) == set(found["ratios"]) == {"eager", "ganfast"}
    assert found["errors"] == pytest.approx({"eager": 0.0, "ganfast": 1e-4})
    assert found["limit"] * found["rate"] == pytest.approx(500.0)
    assert found["broken"] == found["missing"] == {}
    json.dumps(found)


@pytest.mark.parametrize("slow", [False, True])
def test_the_gate_stops_a_wrong_rival_but_not_one_that_is_only_told(slow):
    found = contest(
        wrong=returns(1.1, slow=slow), nan=returns(math.nan, slow=slow),
        told=returns(1.1, None, slow=slow), ganfast=returns(1.0),
    ).measure(quick=True)  # fmt: skip
    assert set(found["broken"]) == {"wrong", "nan"} and "wrong by 0.1" in found["broken"]["wrong"]
    assert found["errors"]["told"] == pytest.approx(0.1) and "told" in found["times"]


@pytest.mark.parametrize("ours", [returns(1.1), Entry(lambda: fails, 1e-3)], ids=["wrong", "fails"])
def test_without_a_right_ganfast_there_is_no_row(ours):
    with pytest.raises(AssertionError, match=r"wrong by 0\.1|RuntimeError: first line"):
        contest(eager=returns(1.0), ganfast=ours).measure(quick=True)


def test_a_rival_that_cannot_run_is_left_out_with_the_reason():
    found = contest(
        maybe=Entry(lambda: fails, optional=True), must=Entry(lambda: fails), ganfast=returns(1.0)
    ).measure(quick=True)
    assert found["missing"] == {"maybe": "RuntimeError: first line"}
    assert found["broken"] == {"must": "RuntimeError: first line"}


def test_an_op_that_is_not_there_skips_the_row():
    assert op("functional.discriminator_loss")
    with pytest.raises(NotThere, match=r"no ganfast\.nowhere\.thing"):
        op("nowhere.thing")
    with pytest.raises(NotThere):
        contest(ganfast=Entry(lambda: op("functional.thing"))).measure(quick=True)


def test_yardsticks_know_what_they_cost():
    assert copying(8000).amount == 8000 and updating(8000).amount == 16_000
    assert multiplying(16, torch.float64).amount == 2 * 16**3
    assert Yardstick(lambda: None, 100.0).limit(50.0, 2.0) == 1.0


# ---- every suite ---------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("suite", CONTESTS)
def test_cases_have_names_of_their_own(suite, quick):
    module = __import__(f"benchmarks.bench_{suite}", fromlist=["chosen"])
    names = [case.name for case in module.chosen(quick)]
    assert names and len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name for name in names)


def test_one_suite_or_all_of_them(tmp_path):
    options = bench_run.arguments(["--suite", "linalg", "--quick", "--out", str(tmp_path)])
    assert bench_run.spelled(options) == "make bench BENCH_ARGS='--suite linalg --quick'"
    assert bench_run.arguments(["--out", str(tmp_path)]).suite is None


def measured(label: str, ours: float, **more: object) -> dict:
    def spread(value: float) -> dict[str, float]:
        return {"median": value, "p20": 0.9 * value, "p80": 1.1 * value}

    times = {"scipy": 10.0, "eigh": 2e-3, "ganfast": ours}
    return {
        "group": "g",
        "param": "p",
        "stats": {},
        "extra_info": {
            "section": "Traces",
            "label": label,
            "rounds": 5,
            "played": {"scipy": 1, "eigh": 5, "ganfast": 5},
            "times": {name: spread(time) for name, time in times.items()},
            "ratios": {name: spread(time / ours) for name, time in times.items()},
            "errors": {"scipy": 5e-7, "eigh": 1e-14, "ganfast": 2e-15},
            "limit": ours / 4,
            "missing": {"torch.compile": "no compiler"},
            "broken": {},
            **more,
        },
    }


def run_of(*rows: dict) -> dict:
    facts = {"cpu": "Acme CPU", "threads": 2, "cores": 2, "caches": {}, "load_before": 0.0}
    raw = {"machine_info": facts, "benchmarks": list(rows)}
    return results.trim(raw, "make bench", suite="linalg", skipped=["x: this ganfast has no x"])


def test_the_table_of_a_suite():
    shares = {"shares": {"ganfast": {"forward": 3e-3, "loss": 1e-3}}}
    kept = run_of(
        measured("full rank", 1e-3, memory={"eigh": 1600.4}), measured("b", 4e-3, **shares)
    )
    assert results.stem(kept) == "linalg-acme-cpu-2threads"
    text = report.markdown(kept)
    (line,) = [line for line in text.splitlines() if line.startswith("| full rank")]
    assert "10.0 s / 5e-07 (n=1)" in line and "2.00 ms / 1e-14 / 1600 MB" in line
    assert "**2.00x** (1.80-2.20)" in line and "25%" in line
    assert (
        f"| {words.MARK} b |" in text and "Traces, b: 0.50x eigh (errors 2e-15 and 1e-14)" in text
    )
    assert "slower than a rival in 1 of 2 rows" in text
    assert "torch.compile was left out (no compiler): full rank, b" in text
    assert "Left out: x: this ganfast has no x." in text
    assert "| b | ganfast | 3.00 ms, 75% | 1.00 ms, 25% |" in text
    assert text.startswith("# Matrix square roots and Fréchet distances on Acme CPU, 2 threads")


def test_a_suite_without_a_loss_says_so_and_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    kept = run_of(measured("full rank", 1e-3))
    assert "In none of the 1 rows is ganfast slower" in report.markdown(kept)
    path = report.publish(kept, tmp_path)
    assert path.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert report.main([str(path.with_suffix(".json"))]) == 0


# ---- linalg --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*`disp`.*:DeprecationWarning")  # they pass it nevertheless
def test_the_roots_of_the_field_are_right_on_an_easy_pair():
    pair = gaussians.pair("full rank", 12)
    pytest.importorskip("scipy")
    traces = [
        rivals.scipy_trace(pair.a.numpy(), pair.b.numpy()),
        float(rivals.eigvals_trace(pair.a, pair.b)),
        float(rivals.eigh_trace(pair.a, pair.b)),
    ]
    assert traces == pytest.approx([pair.trace] * 3, rel=1e-10)
    root = rivals.newton_schulz_root(pair.a, 40)
    assert torch.allclose(root @ root, pair.a, atol=1e-10)
    stopped = rivals.newton_schulz_trace(pair.a, pair.b)
    assert 1e-12 < abs(float(stopped) / pair.trace - 1) < 0.2  # it ends too early for the trace


def test_the_error_of_a_distance_is_that_of_its_trace():
    x, y = gaussians.features(30, 8, seed=1), gaussians.features(20, 8, seed=2)
    trace = gaussians.trace_of_samples(x, y)
    error = features.error_of(x, y, trace)
    distance = features.distance(*features.moments(x), *features.moments(y))
    assert error("", distance) < 1e-10
    assert error("", distance + 0.02 * trace) == pytest.approx(0.01)


def test_the_flops_of_a_deficient_pair_are_fewer():
    n = 2048
    assert pairs.flops(n, n, n) == pytest.approx(8 / 3 * n**3)
    assert pairs.flops(n, 999, 999) < pairs.flops(n, n, n) / 2


def test_statistics_agree_and_memory_is_measured():
    x = statistics.features(300, 16)
    exact = statistics.two_pass(x)
    for name, function in statistics.PROVIDERS.items():
        found = torch.as_tensor(function(x)[1]).double()
        assert torch.allclose(found, exact, atol=1e-5), name
    wide = statistics.peak_mb(statistics.TORCH_COV_WIDE, 40_000, 128)
    assert 40_000 * 128 * 8 / 1e6 < wide < 10 * 40_000 * 128 * 8 / 1e6


# ---- penalty and steps ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (interpolation.weighted, True),
        (interpolation.lerp, True),
        (lambda x, y: y.lerp(x, torch.rand(1)), False),  # one eps for the batch
        (lambda x, y: y.lerp(x, torch.rand(x.shape)), False),  # one for each pixel
        (lambda x, y: y.lerp(x, torch.randn(len(x), 1, 1, 1)), False),
    ],
)
def test_points_between_are_checked(wrong, right):
    torch.manual_seed(0)
    real, fake = torch.randn(64, 3, 4, 4), torch.randn(64, 3, 4, 4)
    off = interpolation.error(wrong(real, fake), real, fake)
    assert (off <= interpolation.TOLERANCE) == right


def test_both_eager_penalties_agree():
    gradient = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    one = from_gradient.step(from_gradient.norm, gradient)()
    value, grad = one[0].detach().clone(), one[1].clone()
    other = from_gradient.step(from_gradient.squares, gradient)()
    assert torch.allclose(other[0], value) and torch.allclose(other[1], grad)


def test_the_listed_critics_are_what_their_names_say():
    assert sum(p.numel() for p in networks.critic(networks.MLP).parameters()) == 17_025
    for name in (networks.DCGAN_32, networks.DCGAN_64, networks.RESNET, networks.MLP):
        assert networks.critic(name)(networks.samples(name, 2)[0]).shape == (2,)


def test_the_flops_of_a_step_are_counted_on_the_network():
    forward = of_forward(networks.MLP, 10)
    assert forward == 2 * 10 * (2 * 128 + 128 * 128 + 128)
    assert of_step(networks.MLP, 10, penalty=False) == 6 * forward
    assert of_step(networks.MLP, 10, penalty=True) == 10 * forward


@pytest.mark.parametrize("name", [game.CLIP, game.PENALTY])
def test_the_gradients_of_a_step_are_checked_without_moving_it(name):
    case = WholeStep(name, networks.MLP, 16)
    step = case.step("eager")
    step()()  # two steps: weights are away from their start
    before = [weight.detach().clone() for weight in step.weights]
    off = [
        float((f - e).abs().max() / e.abs().max())
        for f, e in zip(
            step.gradients(case.fakes(step)), exact_gradients(name, networks.MLP, 16), strict=True
        )
        if float(e.abs().max()) > 0
    ]
    assert len(off) >= 3 and max(off) < 1e-3
    assert all(torch.equal(w, b) for w, b in zip(step.weights, before, strict=True))
    shares = step.shares(rounds=2)
    assert list(shares) == list(step.parts) and min(shares.values()) > 0


def test_a_clipped_critic_is_clipped():
    step = WholeStep(game.CLIP, networks.MLP, 16).step("eager")()
    assert max(float(weight.detach().abs().max()) for weight in step.weights) <= 0.01 + 1e-9
