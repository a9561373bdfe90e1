"""The benchmarks' own arithmetic: a stopwatch that is wrong is worse than none."""

from __future__ import annotations

import copy
import getpass
import json
import platform
import sys
from pathlib import Path

import pytest
import torch
from helpers import FakeClock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks/ is not installed

from benchmarks import machine, report, results, words  # noqa: E402
from benchmarks import run as bench_run  # noqa: E402
from benchmarks.interleave import interleave, loops_for, quantile  # noqa: E402
from benchmarks.losses import cases, forms, gate, limit, providers  # noqa: E402
from ganfast import games  # noqa: E402

# ---- interleave ----------------------------------------------------------------------------------


def test_quantiles_interpolate():
    assert quantile([3.0], 0.8) == 3.0
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile(range(11), 0.2) == 2.0


def test_steps_are_repeated_until_a_sample_is_long_enough():
    clock = FakeClock()
    loops = loops_for(clock.step("a", 3e-6), 1e-3, clock)
    assert 1e-3 <= loops * 3e-6 < 2.5e-3
    assert loops_for(clock.step("b", 0.2), 1e-3, clock) == 1


def test_a_slow_first_call_does_not_end_the_search():
    clock = FakeClock()
    slow_once = iter([9e-4])
    step = clock.step("a", 1e-6)

    def warming_up() -> None:
        step()
        clock.now += next(slow_once, 0.0)

    assert loops_for(warming_up, 1e-3, clock) >= 1000


def test_medians_and_ratios():
    clock = FakeClock()
    steps = {"ours": clock.step("ours", 0.002), "theirs": clock.step("theirs", 0.006)}
    found = interleave(steps, baseline="ours", seconds=1.0, clock=clock)
    assert found["times"]["ours"]["median"] == pytest.approx(0.002)
    assert found["times"]["theirs"]["p80"] == pytest.approx(0.006)
    assert found["ratios"]["theirs"]["median"] == pytest.approx(3.0)
    assert found["ratios"]["ours"] == pytest.approx({"median": 1.0, "p20": 1.0, "p80": 1.0})
    assert found["rounds"] == 125  # of 8 ms each


def test_noise_that_hits_a_whole_round_leaves_the_ratios_alone():
    clock = FakeClock()
    noise = {"factor": 1.0}
    calls = iter(range(10**9))

    def step(seconds: float):
        def run() -> None:
            noise["factor"] = 1.0 + (next(calls) // 2) % 7  # the same for two calls, one round
            clock.now += seconds * noise["factor"]

        return run

    steps = {"ours": step(0.01), "theirs": step(0.02)}
    found = interleave(steps, baseline="ours", seconds=3.0, clock=clock)
    assert found["times"]["ours"]["p80"] > 1.5 * found["times"]["ours"]["p20"]
    assert found["ratios"]["theirs"] == pytest.approx({"median": 2.0, "p20": 2.0, "p80": 2.0})


def test_every_round_has_everyone_once_in_changing_order():
    clock = FakeClock()
    names = ("a", "b", "c")
    steps = {name: clock.step(name, 0.5) for name in names}
    found = interleave(steps, baseline="a", seconds=0.0, least_rounds=20, clock=clock)
    assert found["rounds"] == 20
    timed = clock.calls[-60:]
    rounds = [tuple(timed[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(one) == list(names) for one in rounds)
    assert len(set(rounds)) > 2


# ---- cases, providers and the gate ---------------------------------------------------------------


def test_every_loss_of_every_game_is_measured_once():
    for player, played in (("discriminator", 4), ("generator", 5)):
        mine = {case.game for case in cases.full() if case.player == player}
        assert len(mine) == played
        losses = {(cases.flat(player, game, 1).phi, player) for game in games.GAMES}
        assert losses == {(cases.flat(player, game, 1).phi, player) for game in mine}
    assert len({case.name for case in cases.full()}) == len(cases.full())
    sizes = {case.size for case in cases.full()}
    assert {64, 4096, 65_536, 1_000_000, 16_000_000} <= sizes


@pytest.mark.parametrize("heads", [((64,),), ((2, 1, 4, 4), (2, 1, 3, 3))], ids=["flat", "heads"])
@pytest.mark.parametrize("game", list(games.GAMES))
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_all_forms_and_ganfast_pass_the_gate(player, game, heads):
    case = cases.Case(player, game, heads)
    logits = providers.Logits(case)
    truth = gate.oracle(case, logits)
    loss = providers.ganfast_loss(case, logits)
    steps = providers.eager(case, logits)
    assert providers.names(case)[: len(steps)] == list(steps)
    for step in (*steps.values(), providers.step(loss, logits.leaves)):
        assert gate.passes(gate.errors(step, logits.leaves, truth))


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
def test_the_gate_stops_a_wrong_provider(wrong):
    case = cases.flat("discriminator", "wasserstein", 100)
    logits = providers.Logits(case)
    step = providers.step(lambda: wrong(logits.real[0], logits.fake[0]), logits.leaves)
    assert not gate.passes(gate.errors(step, logits.leaves, gate.oracle(case, logits)))


def test_the_printed_form_is_the_one_that_runs():
    softplus, bce = forms.of("discriminator", "cross_entropy", 1.0)
    assert softplus.code == "F.softplus(-real).mean() + F.softplus(fake).mean()"
    assert bce.code == "bce(real, ones) + bce(fake, zeros)"


def test_the_limit_counts_what_must_move():
    case = cases.flat("discriminator", "hinge", 1000)
    assert limit.bytes_moved(case) == 24_000
    assert limit.bytes_moved(cases.flat("generator", "hinge", 1000)) == 8_000  # linear
    copy_step, copied = limit.copy_step(case)
    assert copied == 2 * 2 * 1000 * 4
    assert torch.equal(copy_step(), torch.zeros(2000))
    assert limit.seconds(case, 1e-3, copied) == pytest.approx(1.5e-3)


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
    "date": "2030-01-02",
    "load_before": 0.1,
}


def spread(median: float) -> dict[str, float]:
    return {"median": median, "p20": 0.9 * median, "p80": 1.1 * median}


def measured(game: str, size: int, eager: float, compiled: float, ours: float) -> dict:
    times = {"eager softplus": eager, "eager BCE-with-logits": 2 * eager}
    times |= {"torch.compile": compiled, "ganfast": ours}
    return {
        "group": f"discriminator-{game}-{size}",
        "name": "test_loss[...]",
        "fullname": "/home/somebody/ganfast/benchmarks/bench_losses.py::test_loss",
        "param": f"{game}-{size}-ganfast",
        "params": {"case": "UNSERIALIZABLE"},
        "options": {"timer": "perf_counter"},
        "stats": {"median": ours, "min": ours, "rounds": 3, "iterations": 1, "data": [ours] * 3},
        "extra_info": {
            "player": "discriminator",
            "game": game,
            "label": f"{size:,}",
            "size": size,
            "heads": 1,
            "rounds": 9,
            "times": {name: spread(time) for name, time in times.items()},
            "ratios": {name: spread(time / ours) for name, time in times.items()},
            "limit": ours / 4,
            "errors": {name: {"value": 1e-8, "gradient": 2.5e-7} for name in times},
        },
    }


def raw(*benchmarks: dict) -> dict:
    return {
        "machine_info": {**FACTS, "node": "secret-host", "user": "somebody"},
        "commit_info": {"id": "0123", "author": "somebody@example.org", "project": "secret"},
        "datetime": "2030-01-02T03:04:05",
        "version": "5.3.1",
        "benchmarks": list(benchmarks),
    }


FAST = measured("nonsaturating", 65_536, eager=300e-6, compiled=250e-6, ours=100e-6)
SLOW = measured("hinge", 64, eager=40e-6, compiled=90e-6, ours=50e-6)


def test_what_is_kept_names_nobody():
    kept = results.trim(raw(FAST), "make bench", [])
    text = json.dumps(kept)
    for secret in ("secret", "somebody", "/home", "@example", "author", "fullname"):
        assert secret not in text
    assert kept["machine"] == FACTS
    assert "data" not in kept["benchmarks"][0]["stats"]
    assert kept["benchmarks"][0]["extra_info"]["times"]["ganfast"]["median"] == 1e-4


def test_this_machine_is_described_but_not_named():
    facts = machine.facts(threads=2)
    assert set(facts) == set(results.MACHINE)
    assert all(facts[key] for key in ("cpu", "cores", "os", "python", "torch", "isa", "date"))
    text = json.dumps(facts)
    try:
        names = {platform.node(), getpass.getuser(), str(Path.home())}
    except (KeyError, OSError):  # a user without a name
        names = {platform.node()}
    for name in names:
        assert len(name) < 5 or name not in text


def test_files_are_named_after_the_machine():
    kept = results.trim(raw(FAST), "make bench", [])
    assert results.stem(kept, "-quick") == "losses-acme-fast-cpu-2-00ghz-2threads-quick"


def test_times_have_three_digits_and_a_unit():
    assert [words.seconds(t) for t in (1.234e-6, 45.67e-6, 456.7e-6, 1.5e-3, 0.25)] == [
        "1.23 us",
        "45.7 us",
        "457 us",
        "1.50 ms",
        "250 ms",
    ]


def test_the_table_holds_the_figures():
    text = report.markdown(results.trim(raw(FAST), "make bench", []))
    (line,) = [line for line in text.splitlines() if line.startswith("| nonsaturating | 65,536")]
    for fact in ("300 us softplus", "600 us BCE", "250 us", "100 us", "25.0 us", "25%", "2.5e-07"):
        assert fact in line
    assert "**3.00x** (2.70-3.30)" in line and "**2.50x** (2.25-2.75)" in line
    assert words.MARK not in text
    assert "In none of the 1 rows is ganfast slower" in text
    for fact in ("Acme(R)", "2 cores", "8.0 GiB", "x86-64-v3", "`make bench`", "2030-01-02"):
        assert fact in text
    assert "F.softplus(-real).mean()" in text


def test_a_loss_is_marked_and_said_above_the_table():
    text = report.markdown(results.trim(raw(FAST, SLOW), "make bench", []))
    assert f"| {words.MARK} hinge | 64 |" in text
    assert f"| {words.MARK} nonsaturating" not in text
    sentence = text[: text.index("| game |")]
    assert "slower than a rival in 1 of 2 rows" in sentence
    assert "discriminator, hinge, 64: 0.80x eager softplus" in sentence


def test_a_busy_machine_and_a_failure_are_said():
    kept = results.trim(raw(FAST), "make bench", ["hinge-64-ganfast: wrong"])
    assert "Other programs were running" not in report.markdown(kept)
    assert "hinge-64-ganfast: wrong" in report.markdown(kept)
    busy = copy.deepcopy(kept)
    busy["machine"]["load_before"] = 3.0
    assert "Other programs were running" in report.markdown(busy)


def test_a_run_without_the_compiler_is_still_a_table():
    one = copy.deepcopy(FAST)
    for kind in ("times", "ratios", "errors"):
        del one["extra_info"][kind]["torch.compile"]
    text = report.markdown(results.trim(raw(one), "make bench", []))
    assert "| - | 100 us |" in text


def test_report_makes_table_and_plot_beside_the_json(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    kept = results.trim(raw(FAST, SLOW), "make bench", [])
    path = tmp_path / f"{results.stem(kept)}.json"
    results.dump(path, kept)
    assert json.loads(path.read_text()) == kept
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
    assert bench_run.spelled(bench_run.arguments([])) == "make bench"
