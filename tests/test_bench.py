"""`ganfast bench` and what it shares with the benchmarks: a stopwatch that is wrong is worse than
none, and a gate that stops nobody too."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from helpers import FakeClock

from ganfast import bench, cli, games
from ganfast.bench import case as cases
from ganfast.bench import evaluation, losses, matrices, optim, penalty, timing
from ganfast.bench.case import Case, Comparison, GateError, Limit, Provider
from ganfast.bench.timing import Stopwatch, interleave, quantile

CPU = torch.device("cpu")


class Clock(FakeClock):
    def interleave(self, steps, **options):
        return interleave(
            {name: [step] for name, step in steps.items()}, watch=Stopwatch(self), **options
        )


# ---- timing --------------------------------------------------------------------------------------


def test_quantiles_interpolate():
    assert quantile([3.0], 0.8) == 3.0
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile(range(11), 0.2) == 2.0


def test_times_have_three_digits_and_a_unit():
    spelled = [timing.in_words(t) for t in (1.234e-6, 45.67e-6, 456.7e-6, 1.5e-3, 0.25, 10.0)]
    assert spelled == ["1.23 us", "45.7 us", "457 us", "1.50 ms", "250 ms", "10.0 s"]


def test_steps_are_repeated_until_a_sample_is_long_enough():
    clock = Clock()
    steps = {"a": clock.step("a", 3e-6), "b": clock.step("b", 0.2)}
    found = clock.interleave(steps, baseline="a", seconds=0.0)
    assert 1e-3 <= found.loops["a"] * 3e-6 < 2.5e-3
    assert found.loops["b"] == 1


def test_a_slow_second_call_does_not_end_the_search():
    clock = Clock()
    slow = iter([0.0, 9e-4])
    step = clock.step("a", 1e-6)

    def warming_up() -> None:
        step()
        clock.now += next(slow, 0.0)

    found = clock.interleave({"a": warming_up}, baseline="a", seconds=0.0)
    assert found.loops["a"] >= 1000


def test_medians_and_ratios():
    clock = Clock()
    steps = {"ours": clock.step("ours", 0.002), "theirs": clock.step("theirs", 0.006)}
    found = clock.interleave(steps, baseline="ours", seconds=1.0)
    assert found.median("ours") == pytest.approx(0.002)
    assert timing.spread(found.seconds["theirs"])["p80"] == pytest.approx(0.006)
    assert found.ratio("theirs")["median"] == pytest.approx(3.0)
    assert found.ratio("ours") == pytest.approx({"median": 1.0, "p20": 1.0, "p80": 1.0})
    assert len(found.seconds["ours"]) == 125  # of 8 ms each


def test_noise_that_hits_a_whole_round_leaves_the_ratios_alone():
    clock = Clock()
    calls = itertools.count()

    def step(seconds: float):
        def run() -> None:
            clock.now += seconds * (1.0 + (next(calls) // 2) % 7)  # the same for both in a round

        return run

    steps = {"ours": step(0.01), "theirs": step(0.02)}
    found = clock.interleave(steps, baseline="ours", seconds=3.0)
    times = timing.spread(found.seconds["ours"])
    assert times["p80"] > 1.5 * times["p20"]
    assert found.ratio("theirs") == pytest.approx({"median": 2.0, "p20": 2.0, "p80": 2.0})


def test_every_round_has_everyone_once_in_changing_order():
    clock = Clock()
    names = ("a", "b", "c")
    steps = {name: clock.step(name, 0.5) for name in names}
    found = clock.interleave(steps, baseline="a", seconds=0.0, least_rounds=20)
    assert {len(each) for each in found.seconds.values()} == {20}
    timed = clock.calls[-60:]
    rounds = [tuple(timed[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(one) == list(names) for one in rounds)
    assert len(set(rounds)) > 2


def test_a_slow_step_is_not_warmed_up_and_sits_out_when_its_time_is_spent():
    clock = Clock()
    steps = {"ours": clock.step("ours", 1.0), "slow": clock.step("slow", 10.0)}
    found = clock.interleave(
        steps, baseline="ours", seconds=0.0, least_rounds=4, slow={"slow"}, patience=5.0
    )
    assert clock.calls.count("slow") == 2  # never once: one sample has no spread
    assert {name: len(each) for name, each in found.seconds.items()} == {"ours": 4, "slow": 2}
    assert found.ratio("slow")["median"] == pytest.approx(10.0)


def test_the_baseline_takes_part_in_every_round():
    clock = Clock()
    steps = {"ours": clock.step("ours", 10.0), "fast": clock.step("fast", 1.0)}
    found = clock.interleave(steps, baseline="ours", seconds=0.0, patience=5.0)
    assert {name: len(each) for name, each in found.seconds.items()} == {"ours": 7, "fast": 5}


# ---- cases and their gate ------------------------------------------------------------------------


def made(**providers: Provider) -> Case:
    return Case(
        name="some-row",
        section="some",
        label="row",
        inputs=lambda device, seed: (),
        providers=providers,
        error_of=lambda: lambda _, found: abs(found - 1.0),
        limit=lambda device: Limit(lambda: sum(range(100)), 1000.0, 500.0),
        seconds=0.01,
    )


def returns(value: float, tolerance: float | None = 1e-3, **how: bool) -> Provider:
    return Provider(lambda: lambda: value, tolerance, **how)


def breaks() -> float:
    raise RuntimeError("first line\nsecond line")


def test_a_comparison_tells_times_errors_and_limit():
    found = Comparison(made(eager=returns(1.0), ganfast=returns(1.0001))).measure(quick=True)
    assert set(found.rounds.seconds) == set(found.rounds.loops) == {"eager", "ganfast"}
    assert found.errors == pytest.approx({"eager": 0.0, "ganfast": 1e-4})
    assert found.limit > 0
    assert found.failed == found.missing == {}


@pytest.mark.parametrize("slow", [False, True])
def test_the_gate_stops_a_wrong_rival_but_not_one_that_is_only_told(slow):
    found = Comparison(made(
        wrong=returns(1.1, slow=slow), nan=returns(math.nan, slow=slow),
        told=returns(1.1, None, slow=slow), ganfast=returns(1.0),
    )).measure(quick=True)  # fmt: skip
    assert set(found.failed) == {"wrong", "nan"} and "wrong by 0.1" in found.failed["wrong"]
    assert found.errors["told"] == pytest.approx(0.1) and "told" in found.rounds.seconds


@pytest.mark.parametrize(
    "ours", [returns(1.1), Provider(lambda: breaks, 1e-3)], ids=["wrong", "breaks"]
)
def test_without_a_right_ganfast_there_is_no_row(ours):
    with pytest.raises(GateError, match=r"wrong by 0\.1|RuntimeError: first line"):
        Comparison(made(eager=returns(1.0), ganfast=ours))


def test_a_rival_that_cannot_run_is_left_out_with_the_reason():
    def not_installed():
        raise ModuleNotFoundError("No module named 'peer'")

    found = Comparison(made(
        maybe=Provider(lambda: breaks, optional=True), must=Provider(lambda: breaks),
        peer=Provider(not_installed), ganfast=returns(1.0),
    )).measure(quick=True)  # fmt: skip
    assert found.missing == {
        "maybe": "RuntimeError: first line",
        "peer": "ModuleNotFoundError: No module named 'peer'",
    }
    assert found.failed == {"must": "RuntimeError: first line"}


def test_a_name_that_ganfast_lacks_is_a_failure():
    def lacking():
        from ganfast.functional import nothing_of_the_kind

        return nothing_of_the_kind

    with pytest.raises(GateError, match="ImportError"):
        Comparison(made(ganfast=Provider(lacking)))


def test_limits_know_what_they_cost():
    assert cases.copying(8000, 1.0, CPU).amount == 8000
    assert cases.updating(8000, 1.0, CPU).amount == 16_000
    assert cases.multiplying(16, torch.float64, 1.0, CPU).amount == 2 * 16**3


class FakeEvent:
    """A CUDA event that notes the time of a fake clock."""

    clock = FakeClock()

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = self.clock.now

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: FakeEvent) -> float:
        return 1e3 * (end.at - self.at)  # milliseconds


def test_on_a_gpu_inputs_rotate_past_the_cache_and_events_tell_the_time(monkeypatch):
    class Properties:
        L2_cache_size = 1000

    class NoDevice:
        def __init__(self, device: torch.device) -> None:
            assert device.type == "cuda"

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "device", NoDevice)
    used: list[int] = []

    def on_set(seconds: float):
        def make(x: torch.Tensor):
            def run() -> float:
                used.append(int(x[0]))
                FakeEvent.clock.now += seconds
                return 1.0

            return run

        return make

    row = replace(
        made(eager=Provider(on_set(2e-3)), ganfast=Provider(on_set(1e-3))),
        inputs=lambda device, seed: (torch.full((100,), float(seed)),),  # 400 bytes
        error_of=lambda x: lambda _, found: abs(found - 1.0),
        limit=None,
        seconds=0.0,
    )
    compared = Comparison(row, "cuda")
    assert compared.sets == 10 and compared.past_cache
    used.clear()
    found = compared.measure()
    assert set(used) == set(range(10))
    assert found.rounds.median("ganfast") == pytest.approx(1e-3)
    assert found.rounds.ratio("eager")["median"] == pytest.approx(2.0)
    # A replay of a graph takes all of its steps.
    monkeypatch.setattr(cases, "_captured", lambda steps: lambda: [step() for step in steps])
    in_graph = compared.measure(graph=True)
    assert in_graph.rounds.median("ganfast") == pytest.approx(1e-3)

    def capture_eager_fails(steps):
        if capture_eager_fails.first:
            capture_eager_fails.first = False
            raise RuntimeError("cannot be captured")
        return lambda: [step() for step in steps]

    capture_eager_fails.first = True
    monkeypatch.setattr(cases, "_captured", capture_eager_fails)
    partly = compared.measure(graph=True)
    assert partly.missing == {"eager": "not in a graph: cannot be captured"}
    assert set(partly.rounds.seconds) == {"ganfast"}


# ---- the losses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [((64,),), ((2, 1, 4, 4), (2, 1, 3, 3))], ids=["flat", "heads"])
@pytest.mark.parametrize("game", list(games.GAMES))
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_all_forms_and_ganfast_pass_the_gate(player, game, heads):
    row = losses.loss(player, game, heads)
    eager = {name: each for name, each in row.providers.items() if name != cases.COMPILED}
    assert list(eager) == [*losses.forms(player, game), "ganfast"]
    compared = Comparison(replace(row, providers=eager))
    assert not compared.failed and not compared.missing and set(compared.steps) == set(eager)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_game_without_a_textbook_form_is_timed_against_the_reference(player, monkeypatch):
    monkeypatch.setattr(losses, "TEXTBOOK", {})
    row = losses.loss(player, "hinge", [(64,)])
    assert list(row.providers) == ["eager", cases.COMPILED, "ganfast"]
    del row.providers[cases.COMPILED]
    assert not Comparison(row).failed


@pytest.mark.parametrize(
    "wrong",
    [
        lambda real, fake: 1.001 * (fake.mean() - real.mean()),
        lambda real, fake: real.mean() - fake.mean(),
        lambda real, fake: fake.mean() - real.detach().mean(),
        lambda real, fake: fake.mean() - real.mean() + 0.01,
        lambda real, fake: (fake * float("nan")).mean() - real.mean(),
    ],
    ids=["scaled", "sign", "no gradient", "offset", "nan"],
)
def test_the_gate_stops_a_wrong_loss(wrong):
    def make(logits):
        (real,), (fake,) = logits.sides
        return losses.step(lambda: wrong(real, fake), logits.leaves)

    row = losses.loss("discriminator", "wasserstein", [(100,)])
    providers = {"wrong": Provider(make, 1e-5), "ganfast": row.providers["ganfast"]}
    assert set(Comparison(replace(row, providers=providers)).failed) == {"wrong"}


def test_the_printed_form_is_the_one_that_runs():
    softplus, bce = losses.forms("discriminator", "nonsaturating").values()
    assert losses.code(softplus) == "F.softplus(-real).mean() + F.softplus(fake).mean()"
    assert losses.code(bce) == "bce(real, ones) + bce(fake, zeros)"


def test_the_limit_counts_what_must_move():
    limit = losses.loss("discriminator", "hinge", [(1000,)]).limit(CPU)
    assert limit.cost == 24_000 and limit.amount == 2 * 2 * 1000 * 4
    assert torch.equal(limit.step(), torch.zeros(2000))
    assert losses.loss("generator", "hinge", [(1000,)]).limit(CPU).cost == 8_000  # linear
    half = losses.loss("discriminator", "hinge", [(1000,)], dtype=torch.bfloat16)
    assert half.limit(CPU).cost == 12_000


# ---- the other ops -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "right"),
    [
        (penalty.weighted, True),
        (penalty.lerp, True),
        (lambda x, y: y.lerp(x, torch.rand(1)), False),  # one eps for the batch
        (lambda x, y: y.lerp(x, torch.rand(x.shape)), False),  # one for each pixel
        (lambda x, y: y.lerp(x, torch.randn(len(x), 1, 1, 1)), False),
    ],
)
def test_points_between_are_checked(way, right):
    real, fake = torch.randn(64, 3, 4, 4), torch.randn(64, 3, 4, 4)
    off = penalty.distance_from_line(way(real, fake), real, fake)
    assert (off <= penalty.TOLERANCE) == right


def test_both_eager_penalties_agree():
    gradient = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    one = losses.step(lambda: penalty.norm(gradient), [gradient])()
    grad = gradient.grad
    other = losses.step(lambda: penalty.squares(gradient), [gradient])()
    assert torch.allclose(other, one) and torch.allclose(gradient.grad, grad)


@pytest.mark.parametrize("kind", optim.WAYS)
def test_an_update_that_does_nothing_is_wrong(kind, monkeypatch):
    ways = {**optim.WAYS[kind], "idle": lambda weights: lambda: None}
    monkeypatch.setitem(optim.WAYS, kind, ways)
    compared = Comparison(optim.update(kind, "a layer", lambda: [torch.ones(3, 4)]))
    assert set(compared.failed) == {"idle"}


def test_the_roots_of_the_field_are_right_on_an_easy_matrix():
    a, b = (matrices.covariances(1, 12, torch.float64, seed)[0] for seed in (1, 2))
    root = matrices.newton_schulz_root(a, 40)
    assert torch.allclose(root @ root, a, atol=1e-10)
    assert torch.allclose(matrices.eigh_root(a), root, atol=1e-10)
    assert float(matrices.eigvals_trace(a, b)) == pytest.approx(float(matrices.eigh_trace(a, b)))


def test_statistics_agree():
    x = torch.randn(300, 16) + 0.5
    exact = evaluation.two_pass(x)
    for function in (evaluation.wide_cov, evaluation.streamed):
        assert torch.allclose(torch.as_tensor(function(x)[1]).double(), exact, atol=1e-12)


# ---- the command ---------------------------------------------------------------------------------


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


def test_a_wrong_result_ends_the_command():
    with pytest.raises(RuntimeError, match="wrong by"):
        bench.compare("op", made(eager=returns(1.1), ganfast=returns(1.0)), CPU, quick=True)


def test_the_table_has_a_line_per_op_and_says_where_ganfast_is_slower():
    row = {"eager_seconds": 3e-3, "ganfast_seconds": 1e-3, "difference": 1e-7}
    rows = [
        {"op": "one", "case": "64", **row, "speedup": 3.0},
        {"op": "two", "case": "128", **row, "speedup": 0.5},
    ]
    facts = {"ganfast": "9", "torch": "8", "device": "cpu", "threads": 2, "rows": rows}
    *_, head, one, two = bench.report(facts).splitlines()
    assert head.split() == ["op", "on", "eager", "ganfast", "speed-up", "differ", "by"]
    assert one.split() == ["one", "64", "3.00", "ms", "1.00", "ms", "3.00x", "1e-07"]
    assert two.split() == ["two", "128", "3.00", "ms", "1.00", "ms", "0.50x", "1e-07", "(slower)"]


def test_a_device_that_torch_cannot_use_is_one_line(capsys):
    assert cli.main(["bench", "--device", "nothing", "--quick"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "device: got 'nothing', which can't be used" in lines[0]
