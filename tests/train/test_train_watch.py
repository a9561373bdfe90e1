"""The watch: a distance by a critic of its own, patience, and the best weights."""

import copy
import functools
import math

import pytest
import torch
from safetensors.torch import load_file

from ganfast.errors import InputError
from ganfast.linalg import frechet_distance
from ganfast.metrics import moments
from ganfast.train import TrainConfig, train
from ganfast.train.checkpoint import NAME
from ganfast.train.classifier import train_classifier
from ganfast.train.data import digits
from ganfast.train.run import new_trainer
from ganfast.train.watch import (
    Distance,
    Judge,
    Watch,
    best_of,
    has_run_out,
    independent_distance,
    judge,
    rank_correlation,
    seen_by,
    smoothed,
    stopped_at,
)
from ganfast.train.watch.watch import GENERATED


def config_in(out, **settings):
    small = {"width": 4, "batch_size": 16, "steps": 12, "log_every": 4, "checkpoint_every": 5}
    return TrainConfig(out=out, **{**small, "watch_every": 2, **settings})


def test_values_are_smoothed_with_their_neighbours():
    assert smoothed([]) == []
    assert smoothed([4.0]) == [4.0]
    assert smoothed([3.0, 1.0, 2.0, 6.0]) == [2.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("values", "patience", "best", "stops"),
    [
        ([], 2, None, False),
        ([3, 2, 1], 2, 2, False),  # still falling
        ([3, 2, 1, 2, 3], 2, 2, True),  # the means: 2.5, 2, 1.67, 2, 2.5
        ([3, 2, 1, 2, 3], 3, 2, False),
        ([3, 2, 1, 2, 3, 3], 0, 2, False),
        ([5, 3, 1, 9, 1, 0, 0, 0], 4, 6, False),  # one bad luck is forgiven
        ([5, 5, 0, 5, 5, 4, 4, 4], 3, 2, True),  # one good luck counts with its neighbours
    ],
)
def test_patience(values, patience, best, stops):
    assert best_of(values) == best
    assert has_run_out(values, patience) is stops


def test_a_turn_is_found_where_it_is():
    turn = [9, 6, 4, 3, 4, 6, 9, 9, 9]
    assert stopped_at(turn, 3) == (6, 3)
    assert stopped_at(turn[:6], 3) == (None, 3)
    assert stopped_at([3, 2, 1], 1) == (None, 2)


def test_rank_correlation():
    assert rank_correlation([1, 5, 9], [0.1, 0.2, 70]) == pytest.approx(1)
    assert rank_correlation([1, 5, 9], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 2], [3, 3, 4]) == pytest.approx(1)  # equal ones share a rank
    assert math.isnan(rank_correlation([1, 1], [3, 2]))


@pytest.fixture(scope="module")
def parts():
    source = digits()
    return source.train.all(), source.held_out.all()


def test_the_distance_orders_real_noisy_collapsed_and_noise(parts):
    learned, held_out = parts
    random = torch.Generator().manual_seed(0)
    sets = {
        "real": learned,
        "noisy": (learned + 0.5 * torch.randn(learned.shape, generator=random)).clamp(-1, 1),
        "one digit": learned[:1],
        "noise": torch.rand(learned.shape, generator=random) * 2 - 1,
    }
    found = {name: independent_distance(held_out, images) for name, images in sets.items()}
    tests = {name: distance.test for name, distance in found.items()}
    assert abs(tests["real"]) < 0.1 * tests["noisy"] < 0.1 * tests["noise"]
    assert tests["one digit"] > 10 * abs(tests["real"])
    assert all(distance.fit > distance.test for distance in found.values())


def test_the_distance_is_the_earth_movers_as_far_as_the_penalty_holds(parts):
    """Against black images it is known: the mean norm. A slope s that is as good as any makes
    s W - 10 (s - 1)^2 greatest, so a large distance is overstated by W / 20."""
    _, held_out = parts
    black = torch.full_like(held_out[:1], -1.0)
    exact = float((held_out - black).flatten(1).norm(dim=1).mean())
    found = independent_distance(held_out, black)
    assert 0.6 * exact < found.test < 1.05 * exact * (1 + exact / 20)


def test_a_measurement_is_repeatable_and_leaves_no_trace(parts):
    learned, held_out = parts
    before = [one.clone() for one in parts]
    torch.manual_seed(5)
    stream = torch.get_rng_state()
    one, two, other = (
        independent_distance(held_out, learned, seed=seed, steps=5) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), stream)
    assert one == two != other and isinstance(one, Distance)
    assert all(map(torch.equal, parts, before))


def test_features_are_measured_in_units_of_their_spread(parts):
    """So the distance does not depend on what a network's features are large for."""
    learned, held_out = parts

    def distance(samples, times):
        seen = Judge(held_out, lambda images: (images.flatten(1)[:, 20:30] * times, None))
        return seen.with_distance(samples, seed=0)["distance"]

    assert distance(learned, 1.0) == distance(learned, 1024.0)
    assert distance(learned + 3, 1.0) > 10 * abs(distance(learned, 1.0))


def test_one_pass_serves_the_distance_and_the_rows(parts):
    learned, held_out = parts
    see, passes = seen_by("digits"), []

    def counting(images):
        passes.append(len(images))
        return see(images)

    eyes = Judge(held_out, counting)
    found = eyes.with_distance(learned, seed=3)
    assert passes == [len(held_out), len(learned)]
    assert list(found)[:2] == ["distance", "distance_fit"]
    rows = {name: value for name, value in found.items() if not name.startswith("distance")}
    assert rows == pytest.approx(eyes(learned[: eyes.count]), rel=1e-6)  # batches end elsewhere


def test_what_is_no_longer_finite_has_no_distance(parts):
    broken = parts[0].clone()
    broken[0, 0, 0, 0] = math.inf
    for see in (None, seen_by("digits")):
        found = Judge(parts[1], see).with_distance(broken, seed=0)
        assert {"distance", "distance_fit", "precision"} < found.keys()
        assert all(map(math.isnan, found.values()))


@pytest.fixture
def short(monkeypatch):
    """A critic of few steps: its number is no matter."""
    few = functools.partial(independent_distance, steps=5)
    monkeypatch.setattr("ganfast.train.watch.judge.independent_distance", few)


def test_a_watched_run_is_the_run_itself_and_resumes_bit_for_bit(tmp_path, short):
    train(config_in(tmp_path / "alone", watch_every=0))
    whole = train(config_in(tmp_path / "whole", watch_every=4))
    alone, watched = (load_file(tmp_path / name / NAME) for name in ("alone", "whole"))
    assert all(torch.equal(watched[name], t) for name, t in alone.items())
    assert [line["step"] for line in whole.lines if "distance" in line] == [4, 8, 12]

    train(config_in(tmp_path / "half", steps=7, watch_every=4))
    train(config_in(tmp_path / "half", watch_every=4, resume=tmp_path / "half"))
    again = load_file(tmp_path / "half" / NAME)
    assert again.keys() == watched.keys() > alone.keys()
    assert all(torch.equal(again[name], t) for name, t in watched.items())
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "half")]
    assert logs[0] == logs[1]


def measuring(monkeypatch, distances):
    """Evaluation i finds ``distances[i]``; returns what will be the weights that it was of."""
    seen, evaluate = {}, Watch.evaluate

    def noted(watch, step):
        number = len(watch.steps)
        seen[number] = copy.deepcopy(watch.trainer.average.state_dict())
        found = Distance(distances[number], 0.0)
        monkeypatch.setattr(judge, "independent_distance", lambda *_, seed: found)
        return evaluate(watch, step)

    monkeypatch.setattr(Watch, "evaluate", noted)
    return seen


def test_a_run_that_gets_worse_is_stopped_with_its_best_weights(tmp_path, monkeypatch):
    seen = measuring(monkeypatch, [9.0, 5.0, 1.0, 4.0, 6.0, 7.0, 8.0, 9.0, 9.0])
    config = config_in(tmp_path, steps=100, patience=2)
    run = train(config)
    # means: 7 5 3.3 3.7 5
    assert run.trainer.steps_done == 10 and run.watch.best_step == 6
    assert all(torch.equal(run.watch.best[name], t) for name, t in seen[2].items())
    assert "10 steps" in run.summary() and "stopped before 100" in run.summary()
    assert "step 6 nearest" in run.summary()
    run.trainer.average.load_state_dict(seen[2])
    assert torch.equal(run.sample(4, seed=3), run.trainer.sample(4, seed=3))
    # it stays stopped, until it is given more patience
    config.resume = tmp_path
    assert train(config).trainer.steps_done == 10
    config.patience = 3
    assert train(config).trainer.steps_done == 12


def test_the_best_falls_back_where_the_next_measurement_is_bad(tmp_path, monkeypatch):
    """Around the last one there is half a mean: at step 10 that is the least, at step 12 it is
    not, and the first is again. Its weights were held, by a run that was resumed too."""
    seen = measuring(monkeypatch, [2.0, 2.0, 8.0, 3.0, 0.0, 9.0])
    for steps, best in ((10, 4), (12, 0)):
        resume = tmp_path if steps == 12 else None
        watch = train(config_in(tmp_path, steps=steps, resume=resume)).watch
        assert watch.best_step == 2 * (best + 1)
        assert all(torch.equal(watch.best[name], t) for name, t in seen[best].items())


def test_the_best_by_fid(tmp_path, short):
    run = train(config_in(tmp_path, watch_every=4, best_by="fid"))
    fids = [line["fid"] for line in run.lines if "fid" in line]
    assert len(fids) == 3 and run.watch.values == fids
    assert run.watch.best_step == 4 * (best_of(fids) + 1)
    with pytest.raises(InputError, match="^best_by: got 'distance'; give 'fid', as in the run"):
        train(config_in(tmp_path, watch_every=4, resume=tmp_path))
    with pytest.raises(InputError, match="^best_by: got 'fid', which needs a network; give watch"):
        train(config_in(tmp_path / "ring", watch_every=4, best_by="fid", data="ring"))
    with pytest.raises(InputError, match="^best_by: got 'fid' without measurements"):
        config_in(tmp_path, watch_every=0, best_by="fid")


def test_what_was_measured_with_other_eyes_does_not_compare(tmp_path, short):
    """A run that resumes keeps to the features that its best weights were chosen by, or measures
    no more; a checkpoint of before the distance was of features begins anew."""
    source = digits().images[:200]
    first = train(config_in(tmp_path / "own", steps=4), source=source).watch
    with pytest.raises(InputError, match="^watch_with: got 'digits'; leave it out, as in the run"):
        train(
            config_in(tmp_path / "own", resume=tmp_path / "own", watch_with="digits"), source=source
        )
    silent = config_in(tmp_path / "own", resume=tmp_path / "own", steps=6, watch_every=0)
    assert train(silent, source=source).watch.values == first.values
    again = train(config_in(tmp_path / "own", resume=tmp_path / "own", steps=8), source=source)
    assert again.watch.steps == [2, 4, 8]

    seen = tmp_path / "seen"
    train(config_in(seen, steps=2, watch_with="digits"), source=source)
    with pytest.raises(InputError, match="^watch_with: got None; give 'digits', as in the run"):
        train(config_in(seen, resume=seen), source=source)

    unwatched = tmp_path / "unwatched"
    train(config_in(unwatched, steps=4, watch_every=0), source=source)
    late = train(config_in(unwatched, resume=unwatched, watch_with="digits"), source=source).watch
    assert late.steps == [6, 8, 10, 12]

    tensors, facts = late.state()
    del facts["watch"]["with"]
    late.restore(tensors, facts)
    assert late.steps == late.values == [] and not late.best


def test_modes_are_logged(tmp_path, short):
    run = train(config_in(tmp_path, data="ring"))
    found, share = run.trainer.source.coverage(run.trainer.sample(1000, 0), least=25)
    assert (run.lines[-1]["modes"], run.lines[-1]["at_mode"]) == (found, share)


def test_too_few_held_out_samples_are_refused(tmp_path):
    images = torch.zeros((40, 1, 8, 8), dtype=torch.uint8)
    with pytest.raises(InputError, match="^watch_every: got 2, with 10 samples held out"):
        train(config_in(tmp_path), source=images)
    with pytest.raises(InputError, match="^patience: got 3 without measurements"):
        config_in(tmp_path, watch_every=0, patience=3)


# Small networks and few steps, chosen so that the critic's loss has turned within them. At other
# settings it may fall along with FID for as long: that it ranks nothing is no law.
RANKED = {
    "nonsaturating": ({"width": 16}, (50, 100, 150, 200, 300, 400)),
    "wgan": ({"n_critic": 2}, (50, 100, 150, 200, 300)),
    "wgan-gp": ({"n_critic": 2, "width": 16, "lr": 3e-3}, (25, 50, 100, 150, 200, 300)),
}


@pytest.mark.slow
@pytest.mark.parametrize("game", RANKED)
def test_the_distance_ranks_a_run_as_its_fid_does(game, parts):
    """Danihelka et al. 2017; the loss of a game with labels does not (arXiv:1701.07875, figure 4),
    nor does the Wasserstein estimate of a critic with the penalty as it learns."""
    settings, steps = RANKED[game]
    held_out = parts[1]
    eyes = Judge(held_out, seen_by("digits"))
    features = train_classifier(seed=1).model.features  # another's eyes: the judge's have no part
    real = moments(features(held_out).detach())
    trainer = new_trainer(TrainConfig(game=game, **settings), digits())
    logged, fids, distances = [], [], []
    for step in steps:
        trainer.meter.take()
        while trainer.steps_done < step:
            trainer.step()
        logged.append(trainer.meter.take()["critic_loss"])
        samples = trainer.sample(GENERATED, 5)
        fids.append(float(frechet_distance(*real, *moments(features(samples[:600]).detach()))))
        distances.append(eyes.with_distance(samples, seed=0)["distance"])
    assert rank_correlation(fids, distances) >= 0.9, (fids, distances)
    assert abs(rank_correlation(fids, logged)) < 0.7, (fids, logged)
