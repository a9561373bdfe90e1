"""What the suites measure: their cases, the rivals, the costs that limits are made of."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch

from benchmarks import bench_manifold, modes, networks, stopping
from benchmarks.bench_linalg import cases as linalg_cases
from benchmarks.bench_losses import cases as loss_cases
from benchmarks.bench_losses import distinct
from benchmarks.bench_steps import cases as steps_cases
from benchmarks.gpu import suites as gpu
from benchmarks.harness import Harness
from benchmarks.linalg import features, pairs, statistics
from benchmarks.run import SUITES
from benchmarks.steps import cases as steps
from benchmarks.steps import critic_step, generator_step, zero_centred
from benchmarks.steps.critic_step import WGAN_CLIP, WGAN_GP
from benchmarks.steps.on_device import device_step
from ganfast import games
from ganfast.bench.case import COMPILED, Comparison, GateError
from ganfast.bench.evaluation import WIDE, two_pass
from ganfast.bench.losses import kind
from ganfast.train import TrainConfig
from ganfast.train.classifier import TRAINED, train_classifier
from testing import gaussians


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    ("suite", "device"), [(s, "cpu") for s in SUITES] + [(s, "cuda") for s in gpu.SUITES]
)
def test_cases_have_names_of_their_own_and_ganfast_comes_last(suite, device, quick):
    cases = importlib.import_module(f"benchmarks.bench_{suite}").cases(quick, device)
    names = [case.name for case in cases]
    assert names and len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name for name in names)
    assert all(list(case.providers)[-1] == "ganfast" for case in cases)
    rows = [(case.section, case.label) for case in cases]
    assert len(set(rows)) == len(rows)


def test_every_loss_of_every_game_is_measured_once():
    found = loss_cases(quick=False, device="cpu")
    for player in ("discriminator", "generator"):
        mine = distinct(player)
        assert len({kind(player, game) for game in mine}) == len(mine)
        assert {kind(player, game) for game in mine} == {kind(player, g) for g in games.GAMES}
        for game in mine:
            sizes = {case.name.split("-")[2] for case in found if f"{player}-{game}-" in case.name}
            wanted = {"64", "65536", "1000000"}
            wanted |= {"4096", "16000000", "3"} if player == "discriminator" else set()
            assert sizes == wanted


# ---- linalg --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*`disp`.*:DeprecationWarning")  # they pass it nevertheless
def test_the_traces_of_the_field_are_right_on_an_easy_pair():
    pytest.importorskip("scipy")
    pair = gaussians.pair("full rank", 12)
    assert pairs.scipy_trace(pair.a, pair.b) == pytest.approx(pair.trace, rel=1e-10)
    for trace in (pairs.eigvals_trace, pairs.eigh_trace):
        assert float(trace(pair.a, pair.b)) == pytest.approx(pair.trace, rel=1e-10)
    stopped = pairs.newton_schulz_trace(pair.a, pair.b)
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


@pytest.mark.parametrize("case", ["full rank", "few samples", "collapsed"])
def test_the_samples_that_are_counted_are_those_of_the_pair(case):
    pair = pairs.pair_of(case, 16)
    assert len(pair.x) == len(pair.y) == pairs.samples(case, 16)


def test_the_peers_statistics_agree_and_memory_is_measured():
    x = torch.randn(300, 16) + 0.5
    exact = two_pass(x)
    for name, function in statistics.PEERS.items():
        found = torch.as_tensor(function(x)[1]).double()
        assert torch.allclose(found, exact, atol=1e-5), name
    wide = statistics.peak_mb(WIDE, 40_000, 128)
    assert 40_000 * 128 * 8 / 1e6 < wide < 10 * 40_000 * 128 * 8 / 1e6


# ---- manifold ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of the peers' own modules
def test_the_providers_of_the_manifold_agree():
    case = bench_manifold.manifold(300, 16, "cpu")
    inputs = case.inputs(torch.device("cpu"), 0)
    error_of = case.error_of(*inputs)
    assert error_of("", bench_manifold.by_cdist(*(x.double() for x in inputs))) < 1e-6
    assert error_of("", bench_manifold.ganfasts(*inputs)) < 1e-12
    shifted = bench_manifold.ganfasts(inputs[0], inputs[1] + 0.05)
    assert error_of("", shifted) > 1e-3
    for name in ("prdc", "torch-fidelity"):
        try:
            step = case.providers[name].make(*inputs)
        except (ImportError, RuntimeError):
            continue
        assert error_of(name, step()) < 5e-3  # float32, at the rim


def test_features_in_files_against_their_products(tmp_path):
    rows = bench_manifold.in_file(str(tmp_path / "rows"), 7000, 4, seed=1)
    assert len({tuple(row) for row in rows[rows.any(1)].tolist()}) > 6000  # no piece twice
    ratios = bench_manifold.against_products(300, 16, 2, side=256)
    assert len(ratios) == 2 and all(0 < ratio < float("inf") for ratio in ratios)


# ---- steps ---------------------------------------------------------------------------------------


def test_the_listed_critics_are_what_their_names_say():
    assert sum(p.numel() for p in networks.critic(networks.MLP).parameters()) == 17_025
    for name in (networks.DCGAN_32, networks.DCGAN_64, networks.RESNET, networks.MLP):
        assert networks.critic(name)(networks.samples(name, 2)[0]).shape == (2,)


def test_the_flops_of_a_step_are_counted_on_the_network():
    forward = steps.flops_forward(networks.MLP, 10)
    assert forward == 2 * 10 * (2 * 128 + 128 * 128 + 128)
    assert steps.flops(WGAN_CLIP, networks.MLP, 10) == 6 * forward
    assert steps.flops(WGAN_GP, networks.MLP, 10) == 10 * forward


@pytest.mark.parametrize("kind", ["eager", "ganfast"])
@pytest.mark.parametrize("game", [WGAN_CLIP, WGAN_GP])
def test_the_gradients_of_a_step_are_checked_without_moving_it(game, kind):
    step = steps.make(game, kind, networks.MLP, 16)
    step()()  # two steps: weights are away from their start
    before = [weight.detach().clone() for weight in step.weights]
    exact = steps.exact_gradients(game, networks.MLP, 16)
    off = [
        float((f - e).abs().max() / e.abs().max())
        for f, e in zip(steps.gradients(game, step), exact, strict=True)
        if float(e.abs().max()) > 0
    ]
    assert len(off) >= 3 and max(off) < 1e-3
    assert all(torch.equal(w, b) for w, b in zip(step.weights, before, strict=True))
    shares = critic_step.seconds_of(step.parts, rounds=2)
    assert list(shares) == list(step.parts) and min(shares.values()) > 0


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("kind", zero_centred.KINDS)
def test_a_step_with_r1_has_the_gradients_of_the_recipe(kind, every):
    made = [
        zero_centred.PenaltyStep(kind, by, networks.MLP, 16, every)
        for by in (zero_centred.RECIPE, "ganfast")
    ]
    recipe, own = (step.gradients() for step in made)
    torch.testing.assert_close(own, recipe, rtol=1e-2, atol=1e-3)
    plain = zero_centred.PenaltyStep(zero_centred.PLAIN, "ganfast", networks.MLP, 16).gradients()
    assert not torch.allclose(own[0], plain[0], rtol=1e-2)
    assert made[1]().gradients()[0].equal(own[0])


@pytest.mark.parametrize("kind", zero_centred.KINDS)
def test_the_compilers_step_with_r1_has_the_gradients_of_the_recipe(monkeypatch, kind):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    recipe, compilers = (
        zero_centred.PenaltyStep(kind, by, networks.MLP, 16).double().gradients()
        for by in (zero_centred.RECIPE, COMPILED)
    )
    torch.testing.assert_close(compilers, recipe)


@pytest.mark.parametrize("quick", [True, False])
def test_every_step_without_a_compiler_tells_the_share_of_each_part(quick):
    """But where a call is 16 steps, of which one has the penalty."""
    for case in steps_cases(quick, "cpu"):
        whole = "every 16" in case.label or case.section.startswith("Feature matching")
        assert (case.after is None) == whole, case.name
    step = generator_step.GeneratorStep("ganfast", 8, 32, 2)()
    found = critic_step.shares_of({"ganfast": step}, 1)["shares"]["ganfast"]
    assert list(found) == list(step.parts) and min(found.values()) > 0


def test_a_generator_step_has_the_gradients_of_the_recipe():
    found = {
        kind: generator_step.GeneratorStep(kind, 8, 32, 2).double()().gradients()
        for kind in (generator_step.RECIPE, generator_step.PLAIN, "ganfast")
    }
    torch.testing.assert_close(found["ganfast"], found[generator_step.RECIPE])
    assert not torch.allclose(found["ganfast"][0], found[generator_step.PLAIN][0])


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_feature_matching_is_held_against_torch(distance):
    case = generator_step.feature_matching(distance, 1, 1)
    comparison = Comparison(replace(case, providers={"ganfast": case.providers["ganfast"]}))
    assert comparison.errors["ganfast"] < 1e-5
    wrong = replace(case.providers["ganfast"], make=lambda *_: lambda: torch.tensor(0.0))
    with pytest.raises(GateError, match="wrong by"):
        Comparison(replace(case, providers={"ganfast": wrong}))


@pytest.mark.parametrize("kind", ["eager", "ganfast"])
def test_a_clipped_critic_is_clipped(kind):
    step = steps.make(WGAN_CLIP, kind, networks.MLP, 16)()
    assert max(float(weight.detach().abs().max()) for weight in step.weights) <= 0.01 + 1e-9


# ---- on a GPU ------------------------------------------------------------------------------------


def test_a_gpu_has_what_was_asked_for():
    """Rows that the report of a GPU must not lose."""

    def providers(suite):
        module = importlib.import_module(f"benchmarks.bench_{suite}")
        return {case.name: list(case.providers) for case in module.cases(False, "cuda")}

    optimizers = providers("optim")
    for name in ("rmsprop-clip", "adam-clip", "adam"):
        for network in ("dcgan-64x64", "square-layers"):
            found = optimizers[f"{name}-{network}"]
            assert {"torch, for-loop", "torch, foreach", "ganfast"} <= set(found)
            assert ("torch, fused" in found) == name.startswith("adam")
    shape = "8x3x1024x1024-contiguous"
    assert {f"penalty-{shape}", f"penalty-second-order-{shape}"} <= set(providers("penalty"))
    linalg = providers("linalg")
    assert linalg["traces-1x2048-float64"][:2] == ["eigvals (torchmetrics)", "eigh, eigvalsh"]
    assert linalg["trace-host-2048"][0].startswith("scipy sqrtm")
    for shape in ("16384x4", "4096x8", "1024x16", "512x32", "128x64", "32x128"):
        assert {"eigh", "Newton-Schulz, 10 steps"} <= set(linalg[f"root-{shape}-float32"])
    fid = providers("fid")
    for precision in ("fp32", "tf32", "bf16"):
        assert fid[f"network-{precision}-256"][:2] == ["torch, NCHW", "torch, channels_last"]
    assert "torch.compile" in fid["network-bf16-256-compiled"]
    assert {"fid-uint8-tensors-50000-bf16", "fid-jpeg-files-50000-bf16"} <= set(fid)
    steps = providers("steps")
    for game in ("wgan-gp", "r1"):
        assert {"eager", "torch.compile", "ganfast"} <= set(steps[f"{game}-mlp-256"])
        assert {"eager", "eager, captured"} <= set(steps[f"{game}-mlp-256-captured"])


@pytest.mark.parametrize(
    ("suite", "fit"),
    [("losses", 10), ("steps", 7), ("optim", 6), ("penalty", 7), ("linalg", 11), ("fid", 9)],
)
def test_the_most_telling_cases_fit_into_a_run(suite, fit):
    """By the arithmetic by which the harness begins a case."""
    harness, left = Harness("cuda"), gpu.SECONDS[suite] - gpu.WRITING - 3.0
    cases = importlib.import_module(f"benchmarks.bench_{suite}").cases(False, "cuda")
    assert sum(harness.takes(case) for case in cases[:fit]) <= left


def test_a_case_begins_if_there_is_time_for_it():
    harness = Harness("cuda", until=20.0)
    short = device_step("R1", networks.MLP, 8, captured=True)
    assert harness.takes(short) < harness.takes(device_step("R1", networks.MLP, 8))  # with Inductor
    with pytest.raises(pytest.skip.Exception, match="no time left"):
        harness.measure(replace(short, setting_up=60.0), False)
    assert Harness("cpu", until=0.1).takes(short) == 0.0


def test_a_gpu_has_the_sizes_that_only_it_can_fill():
    names = {case.name for case in loss_cases(quick=False, device="cuda")}
    for size in (64, 4096, 65_536, 1_000_000, 16_000_000, 64_000_000, 256_000_000, "3-heads"):
        assert f"discriminator-nonsaturating-{size}-float32" in names
    linalg = {case.name for case in linalg_cases(quick=False, device="cuda")}
    assert {"traces-1x2048-float64", "root-16384x4-float32", "root-32x128-float32"} <= linalg


@pytest.mark.filterwarnings("ignore")  # of the peers' own modules
@pytest.mark.parametrize("suite", gpu.SUITES)
def test_the_small_cases_of_a_gpu_run(suite):
    """So that the first run on a GPU does not end in a case that nobody ran; without Inductor.

    On the simulated GPU test_simulated_benchmarks.py has all of them, also those in graphs.
    """
    for case in importlib.import_module(f"benchmarks.bench_{suite}").cases(True, "cuda"):
        if "captured" in case.name:
            continue
        kept = {name: each for name, each in case.providers.items() if name != COMPILED}
        found = Comparison(replace(case, providers=kept)).measure(quick=True)
        assert not found.failed, case.name


# ---- stopping ------------------------------------------------------------------------------------


def test_each_run_that_is_to_be_stopped_can_be_started():
    assert len({case.name for case in stopping.CASES}) == len(stopping.CASES) >= 6
    for case in stopping.CASES:
        TrainConfig(width=stopping.WIDTH, **case.settings)


def test_what_is_said_of_a_run_that_turned():
    steps, turn = list(range(10, 100, 10)), [9.0, 6.0, 4.0, 3.0, 4.0, 6.0, 9.0, 9.0, 9.0]
    late = stopping.Series("late", 3, steps, turn, [9.0, *turn[:-1]], turn, turn[::-1], 1.0)
    cells = stopping.row(late)
    assert cells[:1] + cells[2:] == ("late, seed 3", "3 at 40", "4 at 50", "+1", "90", "9 at 90")
    still = stopping.Series("falls", 0, steps, *[turn[:3]] * 4, 1.0)
    said = stopping.near([late, still])
    assert "2 of 2 runs by the distance, 1 by the FID" in said
    assert stopping.row(still)[4:6] == ("+0", "never")


@pytest.mark.slow
def test_a_run_is_followed_to_its_end(monkeypatch):
    monkeypatch.setattr(stopping, "EVALUATIONS", 2)
    for seed in (0, stopping.ANOTHER):  # whatever they see
        monkeypatch.setitem(TRAINED, (seed, 25), train_classifier(epochs=1))
    case = replace(stopping.CASES[-1], every=2)
    found = stopping.follow(case, 1)
    assert (found.seed, found.steps) == (1, [2, 4]) and case.images == 30
    assert len(found.fids) == len(found.distances) == len(found.fits) == len(found.own) == 2


# ---- modes ---------------------------------------------------------------------------------------


def found_of(name, *runs):
    return [modes.Found(name, seed, *run, 100.0 + seed) for seed, run in enumerate(runs)]


def test_what_is_aimed_at():
    row = modes.Row({}, 2, 24, 0.7)
    collapsing = modes.Row({}, 2, 8, 0.0, collapses=True)
    for number, share, reaches in ((24, 0.7, True), (23, 0.9, False), (25, 0.69, False)):
        assert row.reached(modes.Found("x", 0, number, share, 1.0)) is reaches
    assert collapsing.reached(modes.Found("x", 0, 1, 0.97, 1.0))
    assert not collapsing.reached(modes.Found("x", 0, 8, 0.5, 1.0))
    assert (row.aim, collapsing.aim) == ("24 modes, 70%", "fewer than 8 modes")


def test_the_page_has_each_seed_and_how_to_have_it_again(monkeypatch):
    name = "grid, wgan-gp"
    found = found_of(name, (25, 0.75), (23, 0.8), (24, 0.71))
    text = modes.page(found, modes.machine.facts(1), "2000-01-02")
    assert f"| {name} | 24 modes, 70% | 2 of 3 | 25 23 24 | 0.75 0.80 0.71 | 101 (102) |" in text
    assert "`ganfast train --data grid --preset points --game wgan-gp --steps " in text
    assert "measured on 2000-01-02" in text and "ring" not in text


def test_runs_that_are_known_are_not_played_again(tmp_path, monkeypatch, capsys):
    played = []

    def play(name, seed):
        played.append((name, seed))
        return modes.Found(name, seed, 25, 0.9, 1.0)

    monkeypatch.setattr(modes, "play", play)
    log, out = tmp_path / "log.jsonl", tmp_path / "table.md"
    argv = ["modes", "--log", str(log), "--out", str(out), "grid, wgan-gp"]
    monkeypatch.setattr("sys.argv", argv)
    modes.main()
    assert played == [("grid, wgan-gp", seed) for seed in range(5)] and "5 of 5" in out.read_text()
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    modes.main()
    assert played[5:] == [("grid, wgan-gp", 3), ("grid, wgan-gp", 4)]
    assert len(modes.logged(log)) == 5
    monkeypatch.setattr("sys.argv", ["modes", "--seeds", "1"])
    modes.main()
    assert played[7:] == [(name, 0) for name in modes.ROWS]


def test_a_run_on_points_is_played(monkeypatch):
    for name, row in modes.ROWS.items():
        settings = {**row.settings, "steps": 2, "width": 4, "batch_size": 8}
        monkeypatch.setitem(modes.ROWS, name, replace(row, settings=settings))
        found = modes.play(name, 1)
        assert (found.row, found.seed) == (name, 1) and 0 <= found.share <= 1
