"""evaluate() and image_statistics() from whatever holds images to the number."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from ganfast import metrics
from ganfast.errors import InputError
from ganfast.metrics.distances.kid import squared_discrepancy
from ganfast.metrics.distributed import Ranks
from ganfast.metrics.evaluation import run_state
from ganfast.metrics.evaluation.machine import decoding_processes
from ganfast.metrics.extractors import load_extractor
from ganfast.metrics.images import open_images
from ganfast.metrics.options import SAMPLED
from testing import pictures
from testing.inception_weights import save_random_weights

COUNT = 40
TINY = "tiny_network:network"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    pytest.importorskip("PIL")
    pytest.importorskip("sklearn")
    return pictures.folders("32x32 PNG", COUNT, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def arrays(folders) -> tuple[Tensor, Tensor]:
    """The same pictures as uint8 (n, h, w, 3)."""
    found = []
    for folder in (folders.real, folders.fake):
        (batch,) = open_images(folder).batches(COUNT)
        assert isinstance(batch.images, Tensor)
        found.append(batch.images)
    return found[0], found[1]


def evaluate(real: Any, fake: Any, **options: Any) -> dict[str, Any]:
    given = {"extractor": TINY, "device": "cpu", "workers": 0, "batch_size": 7, **options}
    return metrics.evaluate(real, fake, **given)


def by_hand(real: Tensor, fake: Tensor) -> float:
    """FID by SciPy from all features at once."""
    linalg = pytest.importorskip("scipy.linalg")
    extractor = load_extractor(TINY)
    x, y = (extractor(images)[0].double().numpy() for images in (real, fake))
    one, two = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(one @ two).real
    gap = x.mean(0) - y.mean(0)
    return float(gap @ gap + np.trace(one + two - 2 * root))


def test_it_is_the_distance_of_all_features(folders, arrays):
    found = evaluate(folders.real, folders.fake)
    assert found["fid"] == pytest.approx(by_hand(*arrays), rel=1e-6)
    assert found["fid"] == pytest.approx(found["mean_term"] + found["covariance_term"], rel=1e-12)
    assert found["mean_term"] > 0 and found["covariance_term"] > 0
    assert (found["n_real"], found["n_fake"]) == (COUNT, COUNT)
    assert (found["extractor"], found["protocol"]) == (TINY, "pytorch-fid")
    assert found["precision"] == "fp32" and found["skipped"] == [] and found["notes"] == []
    assert set(found["stages"]) == {
        "load",
        "decode",
        "preprocess",
        "network",
        "moments",
        "distance",
    }
    assert 0 < sum(found["stages"].values()) <= found["seconds"]
    assert found["images_per_second"] > 0
    nothing = ("kid_mean", "kid_std", "fid_interval", "fid_infinity", "fid_infinity_error")
    assert all(found[name] is None for name in nothing)


def test_the_inception_score_is_that_of_the_fake_side(folders, arrays):
    found = evaluate(folders.real, folders.fake, splits=1)
    logits = load_extractor(TINY)(arrays[1])[1]
    mean, std = metrics.inception_score(logits, splits=1)
    assert found["inception_score_mean"] == pytest.approx(mean, rel=1e-5)
    assert found["inception_score_std"] is None and math.isnan(std)  # of one value
    assert "inception_score_std is not known: 1 split has one score" in found["notes"]
    assert evaluate(*arrays, splits=2)["inception_score_std"] > 0
    assert evaluate(*arrays, inception_score=False)["inception_score_mean"] is None


def test_too_few_images_for_the_splits_are_noted_and_not_fatal(arrays):
    found = evaluate(*arrays, splits=COUNT + 1)
    assert found["inception_score_mean"] is None and found["fid"] > 0
    assert any("no Inception Score" in note for note in found["notes"])


def zipped(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    return out


@pytest.mark.parametrize("kind", ["tensor", "nchw", "npy", "zip", "loader", "function", "workers"])
def test_where_the_images_lie_makes_no_difference(kind, folders, arrays, tmp_path):
    expected = evaluate(folders.real, folders.fake)["fid"]
    real, fake = arrays
    options: dict[str, Any] = {}
    given: Any = fake
    if kind == "nchw":
        given = fake.movedim(-1, 1)
    elif kind == "npy":
        given = tmp_path / "fake.npy"
        np.save(given, fake.numpy())
    elif kind == "zip":
        given = zipped(folders.fake, tmp_path / "fake.zip")
    elif kind == "loader":
        given = DataLoader(TensorDataset(fake.movedim(-1, 1)), batch_size=11)
    elif kind == "function":

        def given() -> Any:
            return iter(fake.split(3))

    elif kind == "workers":
        given, options = folders.fake, {"workers": 2}
    assert evaluate(real, given, **options)["fid"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("batch_size", [1, 16, 100])
def test_the_batch_size_makes_no_difference(batch_size, arrays):
    whole = evaluate(*arrays)["fid"]
    assert evaluate(*arrays, batch_size=batch_size)["fid"] == pytest.approx(whole, rel=1e-6)


def test_the_protocol_does(folders):
    found = {
        name: evaluate(folders.real, folders.fake, protocol=name) for name in metrics.PROTOCOLS
    }
    assert len({round(one["fid"], 6) for one in found.values()}) == len(metrics.PROTOCOLS)
    assert all(one["protocol"] == name for name, one in found.items())


def test_the_same_folder_twice_is_zero_with_a_note(folders):
    found = evaluate(folders.real, f"{folders.real}/../real")
    assert found["fid"] == pytest.approx(0, abs=1e-9)
    assert found["n_real"] == found["n_fake"] == COUNT
    assert any("are the same" in note for note in found["notes"])
    assert found["inception_score_mean"] > 1


def test_few_images_are_noted(arrays):
    found = evaluate(arrays[0], arrays[1][:10])
    assert any("fake has 10 images, fewer than 13" in note for note in found["notes"])
    assert not any("real has" in note for note in found["notes"])


def test_one_image_is_refused(arrays):
    with pytest.raises(InputError, match="fake: got 1 images; give at least 2"):
        evaluate(arrays[0], arrays[1][:1])


# ---- statistics


def options_of_statistics(**more: Any) -> dict[str, Any]:
    return {"extractor": TINY, "device": "cpu", "workers": 0, **more}


def test_statistics_stand_in_for_the_images(folders, tmp_path):
    made = metrics.image_statistics(folders.real, **options_of_statistics())
    made.save(tmp_path / "real.npz")
    expected = evaluate(folders.real, folders.fake)["fid"]
    found = evaluate(tmp_path / "real.npz", folders.fake)
    assert found["fid"] == pytest.approx(expected, rel=1e-9)
    assert (found["n_real"], found["notes"], made.skipped) == (COUNT, [], ())
    both = evaluate(tmp_path / "real.npz", made)
    assert both["fid"] == pytest.approx(0, abs=1e-9) and both["images_per_second"] is None
    assert both["protocol"] == "pytorch-fid" and both["inception_score_mean"] is None


def test_statistics_of_another_protocol_are_refused_unless_allowed(folders, tmp_path):
    made = metrics.image_statistics(folders.real, **options_of_statistics(protocol="clean"))
    with pytest.raises(InputError, match="differ in protocol"):
        evaluate(made, folders.fake)
    found = evaluate(made, folders.fake, allow_mismatch=True)
    assert any("differ in protocol" in note for note in found["notes"])


def test_statistics_of_another_network_are_refused(folders, tmp_path):
    np.savez(tmp_path / "other.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(InputError, match="3 features.* has 12"):
        evaluate(tmp_path / "other.npz", folders.fake)


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    save_random_weights(path)
    return {"weights": path, "device": "cpu"}


def test_layers_are_not_mixed(inception_weights, tmp_path):
    folders = pictures.folders("32x32 PNG", 3, tmp_path)
    first = metrics.image_statistics(folders.real, dims=64, **inception_weights)
    second = metrics.image_statistics(folders.fake, dims=192, **inception_weights)
    first.save(tmp_path / "first.npz")
    with np.load(tmp_path / "first.npz") as file:
        assert int(file["layer"]) == 64
    read = metrics.Statistics.load(tmp_path / "first.npz")
    assert read.layer == read.dim == 64
    found = metrics.evaluate(read, folders.fake, dims=64, **inception_weights)
    assert found["dims"] == 64 and found["inception_score_mean"] is None
    apart = metrics.image_statistics(folders.fake, dims=64, **inception_weights)
    assert found["fid"] == metrics.evaluate(first, apart)["fid"]
    for call, words in (
        (lambda: metrics.evaluate(first, second), "the same layer of it .--dims., for both"),
        (
            lambda: metrics.evaluate(read, folders.fake, dims=192, **inception_weights),
            r"have 64 features .* has 192: give --dims 64 \(dims=64\), or make",
        ),
        (
            lambda: metrics.evaluate(first, apart, dims=192),
            "dims: got 192, and the statistics have 64 features; leave dims out",
        ),
        (
            lambda: metrics.evaluate(folders.real, folders.fake, extractor=TINY, dims=64),
            "dims: got 64, and the extractor .* has features of its own",
        ),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_nothing_is_chosen_from_statistics(folders):
    made = metrics.image_statistics(folders.real, **options_of_statistics())
    found = evaluate(made, folders.fake, num=20, include="*.png")
    assert (found["n_real"], found["n_fake"]) == (COUNT, 20)
    assert "real is statistics of all its images: num, include chose none" in str(found["notes"])
    with pytest.raises(InputError, match="num: got statistics, whose images can't be chosen"):
        evaluate(made, made, num=20)


@pytest.mark.parametrize("asked", SAMPLED)
def test_statistics_have_no_distances_between_images(asked, folders):
    made = metrics.image_statistics(folders.real, **options_of_statistics())
    with pytest.raises(InputError, match=f"{asked}: .* real is a file of statistics.*{asked} out"):
        evaluate(made, folders.fake, **{asked: True})


# ---- what the same pass gives beside FID


def test_all_of_it_in_one_pass(arrays):
    found = evaluate(*arrays, kid=True, bootstrap=40, fid_infinity=True, seed=3)
    low, high = found["fid_interval"]
    assert low < found["fid"] < high
    assert found["fid_infinity"] < found["fid"] and found["fid_infinity_error"] > 0
    x, y = (load_extractor(TINY)(images)[0] for images in arrays)  # 40: one subset of all of them
    assert found["kid_mean"] == pytest.approx(squared_discrepancy(x, y), rel=1e-5)
    assert found["kid_std"] is None
    assert "kid_std is not known: the 40 and 40 images make one subset" in found["notes"]
    assert evaluate(*arrays[:1], arrays[1][:30], kid=True)["kid_std"] > 0
    again = evaluate(*arrays, kid=True, bootstrap=40, fid_infinity=True, seed=3, batch_size=9)
    for name in ("fid_infinity", "kid_mean"):
        assert again[name] == pytest.approx(found[name], rel=1e-5)
    assert again["fid_interval"] == pytest.approx(found["fid_interval"], rel=1e-5)


MANIFOLD = ("precision", "recall", "density", "coverage")


def test_precision_and_recall(arrays, monkeypatch):
    found = evaluate(*arrays, prdc=True)
    x, y = (load_extractor(TINY)(images)[0] for images in arrays)
    expected = metrics.manifold_metrics(x, y)
    assert {name: found[f"prdc_{name}"] for name in MANIFOLD} == {
        name: getattr(expected, name) for name in MANIFOLD
    }
    assert (found["prdc_n_real"], found["prdc_n_fake"]) == (len(x), len(y))
    assert found["stages"]["manifold"] > 0
    assert evaluate(*arrays)["prdc_recall"] is None
    # Of more images a sample, and how many that are.
    monkeypatch.setattr(metrics.options, "SAMPLE", 30)
    found = evaluate(*arrays, prdc=True, seed=1)
    assert (found["prdc_n_real"], found["n_real"]) == (30, len(x))
    assert 0 <= found["prdc_precision"] <= 1


def test_near_copies_are_named(folders, arrays, tmp_path, monkeypatch):
    real, fake = arrays
    source = sorted(folders.real.iterdir())
    copied = shutil.copytree(folders.fake, tmp_path / "fake")
    shutil.copy(source[7], copied / "~copy.png")  # the last by its name
    found = evaluate(folders.real, copied, memorisation=True)
    x, y = (load_extractor(TINY)(images)[0] for images in (real, torch.cat([fake, real[7:8]])))
    expected = metrics.memorisation(x, y)
    assert found["memorised"] == expected.share
    assert found["memorised_expected"] is not None
    assert found["memorised_pairs"][0] == [str(copied / "~copy.png"), str(source[7]), 0.0]
    assert len(found["memorised_pairs"]) == len(expected.pairs)
    found = evaluate(real, torch.cat([fake, real[7:8]]), memorisation=True)
    assert found["memorised_pairs"][0] == ["fake[40]", "real[7]", 0.0]
    few = evaluate(real[:3], fake, memorisation=True)
    assert few["memorised"] is None and few["fid"] > 0
    assert any(note.startswith("nothing on memorisation: real: got") for note in few["notes"])


def test_near_copies_beside_held_out_images(folders, arrays, tmp_path, monkeypatch):
    held_out = tmp_path / "held out.npy"
    np.save(held_out, arrays[1][20:].numpy())
    fake = arrays[1][:20].clone()
    found = evaluate(arrays[0], fake, held_out=held_out)
    sides = [load_extractor(TINY)(images)[0] for images in (arrays[0], fake, arrays[1][20:])]
    expected = metrics.memorisation(sides[0], sides[1], held_out=sides[2])
    assert (found["memorised"], found["memorised_expected"]) == (expected.share, expected.expected)
    assert any("any of 20 held-out ones" in note for note in found["notes"])
    # In no other number, by each extractor, and by a run that goes on as well.
    plain = evaluate(arrays[0], fake, memorisation=True)
    assert (plain["fid"], plain["n_real"], plain["n_fake"]) == (found["fid"], len(arrays[0]), 20)
    both = evaluate(arrays[0], fake, held_out=held_out, extractor=f"{TINY},tiny_network:Tiny")
    assert both["by_extractor"]["tiny_network:Tiny"]["memorised"] == expected.share
    given = {"held_out": held_out, "prdc_full": True, "state": tmp_path / "run.state"}
    with monkeypatch.context() as patch:
        Interrupting(10).patch(patch)
        with pytest.raises(KeyboardInterrupt):
            evaluate(arrays[0], fake, **given)
    calls = count_calls(monkeypatch)
    again = evaluate(arrays[0], fake, **given)
    assert again["memorised_expected"] == expected.expected and len(calls) == 12 - 10
    metrics.image_statistics(folders.real, extractor=TINY, device="cpu").save(tmp_path / "s.npz")
    with pytest.raises(InputError, match="held_out: got a file of statistics; give images"):
        evaluate(arrays[0], fake, held_out=tmp_path / "s.npz")
    with pytest.raises(InputError, match="held_out"):
        evaluate(arrays[0], fake, held_out=tmp_path / "nothing")


def test_an_interval_by_influence(folders, arrays, tmp_path):
    found = evaluate(folders.real, folders.fake, interval=True)
    sides = []
    for images in arrays:
        sides.append(metrics.Summary(12, sample=COUNT))
        sides[-1].add(load_extractor(TINY)(images)[0], None, range(COUNT))
    expected = metrics.fid_influence(*sides)
    assert found["fid_interval"] == pytest.approx([expected.low, expected.high], rel=1e-4)
    assert len(found["costly_images"]) == 10 and found["stages"]["influence"] > 0
    place = int(sides[1].sample_positions[int(expected.fake.argmin())])
    name, change = found["costly_images"][0]
    assert name == str(sorted(folders.fake.iterdir())[place])
    assert change == pytest.approx(float(expected.fake.min()), rel=1e-4)
    made, other = (metrics.image_statistics(x, **options_of_statistics())
                   for x in (folders.real, folders.fake))  # fmt: skip
    fixed = evaluate(made, folders.fake, interval=True)["fid_interval"]
    assert fixed[1] - fixed[0] < found["fid_interval"][1] - found["fid_interval"][0]
    assert evaluate(folders.real, other, interval=True)["costly_images"] is None
    with pytest.raises(InputError, match="interval: got statistics of both sides"):
        evaluate(made, other, interval=True)
    with pytest.raises(InputError, match="interval: got it with bootstrap"):
        evaluate(*arrays, interval=True, bootstrap=9)


def test_an_interval_by_half_samples(arrays, tmp_path):
    expected = evaluate(*arrays, bootstrap=100)["fid_interval"]
    for given in ({}, {"interval": True}, {"report": tmp_path / "out.html"}):
        found = evaluate(*arrays, interval_by="half-samples", **given)
        assert found["fid_interval"] == expected and found["costly_images"] is None
        assert "influence" not in found["stages"]
    fewer = evaluate(*arrays, interval_by="half-samples", bootstrap=8)["fid_interval"]
    assert fewer == evaluate(*arrays, bootstrap=8)["fid_interval"] != expected
    assert evaluate(*arrays, interval=True, interval_by="influence")["costly_images"]
    with pytest.raises(InputError, match="interval_by: got 'bootstrap'; give one of influence, h"):
        evaluate(*arrays, interval_by="bootstrap")


def test_an_interval_of_few_images_says_so(arrays):
    real, fake = arrays
    for sides, words in (
        ((real, fake[:11]), "fake has"),
        ((real[:9], fake[:11]), "real and fake has"),
    ):
        found = evaluate(*sides, interval=True)
        (note,) = [one for one in found["notes"] if one.startswith("interval: ")]
        assert f"unbounded where {words}" in note and found["fid_interval"][1] > found["fid"]
    assert not any("unbounded" in one for one in evaluate(*arrays, interval=True)["notes"])


def test_the_kernel_distance_of_directions(arrays):
    found = evaluate(*arrays, cmmd=True)
    x, y = (load_extractor(TINY)(images)[0] for images in arrays)
    assert (found["cmmd"], found["cmmd_error"]) == pytest.approx(metrics.cmmd(x, y), rel=1e-4)
    assert evaluate(*arrays)["cmmd"] is None


def test_the_sliced_distance(arrays, monkeypatch):
    found = evaluate(*arrays, swd=True, seed=2)
    x, y = (load_extractor(TINY)(images)[0] for images in arrays)
    expected = metrics.sliced_wasserstein(x, y, seed=2)
    assert (found["swd"], found["swd_error"]) == pytest.approx(expected, rel=1e-5)
    assert found["stages"]["sliced"] > 0 and evaluate(*arrays)["swd"] is None
    monkeypatch.setattr(metrics.options, "SAMPLE", 30)
    assert evaluate(*arrays, swd=True)["swd"] != found["swd"]


def test_too_few_images_for_precision_and_recall_are_a_note(arrays):
    real, fake = arrays
    for sides, why in (
        ((real, fake[:4]), "fake: got 4 rows; give more than k = 5"),
        ((np.zeros_like(real), fake), "real: got 40 rows that are all the same"),
    ):
        found = evaluate(*sides, prdc=True)
        assert found["prdc_precision"] is None and found["prdc_n_real"] is None
        assert any(f"no precision and recall: {why}" in note for note in found["notes"])
        assert found["fid"] > 0


# ---- files that cannot be read


@pytest.fixture
def damaged(folders, tmp_path) -> Path:
    folder = tmp_path / "damaged"
    shutil.copytree(folders.fake, folder)
    (folder / "00003.png").write_text("no picture")
    return folder


def test_a_file_that_cannot_be_read_ends_it(folders, damaged):
    with pytest.raises(InputError, match="00003.png"):
        evaluate(folders.real, damaged)


def test_or_is_skipped_and_named(folders, damaged, arrays):
    found = evaluate(folders.real, damaged, on_error="skip")
    assert [Path(name).name for name in found["skipped"]] == ["00003.png"]
    assert any("fake: 1 skipped, the first " in note for note in found["notes"])
    assert any("00003.png': holds text, not an image" in note for note in found["notes"])
    assert found["n_fake"] == COUNT - 1
    kept = [i for i in range(COUNT) if i != 3]
    assert found["fid"] == pytest.approx(by_hand(arrays[0], arrays[1][kept]), rel=1e-6)
    made = metrics.image_statistics(damaged, **options_of_statistics(on_error="skip"))
    assert "images: 1 skipped, the first" in " ".join(made.notes)
    assert [Path(name).name for name in made.skipped] == ["00003.png"]


def test_the_first_reason_stays_when_all_are_skipped(folders, tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_text("no picture")
    for run in (
        lambda: evaluate(folders.real, tmp_path, on_error="skip"),
        lambda: metrics.image_statistics(tmp_path, **options_of_statistics(on_error="skip")),
    ):
        with pytest.raises(InputError, match=r"got 0 .* 3 skipped.*0\.jpg': holds text"):
            run()


# ---- interruption


class Interrupting:
    """An extractor that is hit by Ctrl-C in the midst of its ``when``-th batch."""

    def __init__(self, when: int) -> None:
        self.inner, self.calls, self.when = load_extractor(TINY), 0, when

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        extract = type(self.inner).extract

        def interrupted(extractor: Any, batch: Tensor) -> Any:
            self.calls += 1
            if self.calls == self.when:
                signal.raise_signal(signal.SIGINT)
            return extract(extractor, batch)

        monkeypatch.setattr(type(self.inner), "extract", interrupted)


@pytest.mark.parametrize("when", [1, 4, 8])
def test_an_interrupted_run_goes_on_to_the_same_bits(when, folders, tmp_path, monkeypatch):
    options = {"kid": True, "prdc": True, "state": tmp_path / "run.state"}
    expected = evaluate(folders.real, folders.fake, kid=True, prdc=True)
    with monkeypatch.context() as patch:
        Interrupting(when).patch(patch)
        with pytest.raises(KeyboardInterrupt):
            evaluate(folders.real, folders.fake, **options)
    assert (tmp_path / "run.state").exists()
    calls = count_calls(monkeypatch)
    found = evaluate(folders.real, folders.fake, **options)
    assert len(calls) == 2 * -(-COUNT // 7) - when  # batches that were done are not done again
    for name in ("fid", "inception_score_mean", "kid_mean", "prdc_density", "n_real", "n_fake"):
        assert found[name] == expected[name]
    assert not (tmp_path / "run.state").exists()


def test_a_run_that_goes_on_has_its_own_batch_size(folders, tmp_path, monkeypatch):
    state = tmp_path / "run.state"
    expected = evaluate(folders.real, folders.fake)
    assert expected["batch_size"] == 7
    with monkeypatch.context() as patch:
        Interrupting(3).patch(patch)
        with pytest.raises(KeyboardInterrupt):
            evaluate(folders.real, folders.fake, state=state)
    found = evaluate(folders.real, folders.fake, state=state, batch_size=None)
    assert (found["fid"], found["batch_size"]) == (expected["fid"], 7)
    fresh = evaluate(folders.real, folders.fake, state=state, batch_size=None)
    assert fresh["batch_size"] == 50


def test_decoders_are_sized_to_the_cores(monkeypatch):
    cuda, workers = torch.device("cuda"), decoding_processes
    for cores, wanted in ((1, 1), (2, 1), (4, 3), (8, 7), (16, 14), (64, 56)):
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False
        )
        assert workers(None, cuda, 1) == wanted
        assert workers(None, cuda, 100) == workers(None, torch.device("cpu"), 1) == 1
        assert workers(5, cuda, 1) == 5 and workers(0, cuda, 1) == 0
    assert workers(None, cuda, 8) == 7


@pytest.mark.parametrize("told, here", [("4", 4), ("16", 8), ("", 8), ("?", 8), ("0", 1)])
def test_processes_of_one_machine_share_its_cores(told, here, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", told)
    assert Ranks(3, 8).here == here


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    kind = type(load_extractor(TINY))
    extract, calls = kind.extract, []

    def counted(extractor: Any, batch: Tensor) -> Any:
        calls.append(len(batch))
        return extract(extractor, batch)

    monkeypatch.setattr(kind, "extract", counted)
    return calls


def test_a_run_that_a_bad_file_stopped_goes_on_once_it_is_mended(folders, damaged, tmp_path):
    state = tmp_path / "run.state"
    good = (folders.fake / "00003.png").read_bytes()
    bad = damaged / "00003.png"
    bad.write_bytes(good[:-20] + bytes(20))  # of the same size: the list of files is the same
    with pytest.raises(InputError, match="00003.png"):
        evaluate(folders.real, damaged, state=state)
    bad.write_bytes(good)
    assert state.exists()
    expected = evaluate(folders.real, folders.fake)["fid"]
    assert evaluate(folders.real, damaged, state=state)["fid"] == expected


@pytest.mark.parametrize("changed", ["batch_size", "seed", "protocol", "images"])
def test_the_state_of_another_run_is_refused(changed, folders, tmp_path, monkeypatch):
    state = tmp_path / "run.state"
    with monkeypatch.context() as patch:
        Interrupting(3).patch(patch)
        with pytest.raises(KeyboardInterrupt):
            evaluate(folders.real, folders.fake, state=state)
    other: dict[str, Any] = {"batch_size": 8, "seed": 1, "protocol": "clean"}
    options = {changed: other[changed]} if changed in other else {}
    fake = folders.real if changed == "images" else folders.fake
    real = folders.fake if changed == "images" else folders.real
    with pytest.raises(InputError, match="another run"):
        evaluate(real, fake, state=state, **options)
    assert state.exists()


def test_an_iterator_has_no_state(arrays, tmp_path):
    with pytest.raises(InputError, match="state: fake can only be read from its beginning"):
        evaluate(arrays[0], lambda: iter(arrays[1]), state=tmp_path / "run.state")


def test_a_state_is_saved_on_the_way(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(run_state, "_SECONDS", 0.0)
    monkeypatch.setattr(run_state, "_SHARE", 0.0)
    saved = []
    save = run_state.RunState.save

    def noting(state: Any) -> None:
        saved.append({name: side.next_batch for name, side in state.sides.items()})
        save(state)

    monkeypatch.setattr(run_state.RunState, "save", noting)
    evaluate(*arrays, state=tmp_path / "run.state", batch_size=20)
    assert {"real": 1, "fake": 0} in saved and {"real": 2, "fake": 1} in saved


# ---- wrong arguments, found before anything is read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "pytorch_fid"}, "did you mean 'pytorch-fid'"),
        ({"precision": "fp16"}, "precision: got 'fp16'"),
        ({"precision": "tf32"}, "tf32"),
        ({"device": "gpu"}, "device: got 'gpu'"),
        ({"weights": 3}, "weights: got 3; give a path"),
        ({"kid": 1}, "kid: got 1; give True or False"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"batch_size": True}, "batch_size: got True"),
        ({"workers": -1}, "workers: got -1"),
        ({"splits": 0}, "splits: got 0"),
        ({"bootstrap": -1}, "bootstrap: got -1"),
        ({"bootstrap": 3}, "bootstrap: got 3; give 0 for none, or at least 4"),
        ({"seed": -1}, "seed: got -1"),
        ({"background": "pink"}, "background: got 'pink'"),
        ({"on_error": "ignore"}, "on_error: got 'ignore'"),
        ({"extractor": "inceptoin"}, "inceptoin"),
        ({"state": "no/such/folder/run.state"}, "state"),
    ],
)
def test_wrong_arguments(options, message, arrays):
    with pytest.raises(InputError, match=message):
        evaluate(*arrays, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(arrays):
    with pytest.raises(InputError, match="device: got 'cuda', which can't be used"):
        evaluate(*arrays, device="cuda")


def test_a_bar_on_stderr(folders, capsys):
    evaluate(folders.real, folders.fake, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "real" in err and "fake" in err and "40/40" in err
    assert "FID" not in err  # which step runs is for a terminal


def test_a_terminal_shows_which_step_runs(folders, capsys, monkeypatch):
    """One line, which each step has to itself and which is empty at the end."""
    pytest.importorskip("tqdm")
    asked = {"kid": True, "prdc": True, "swd": True, "memorisation": True, "interval": True}
    evaluate(folders.real, folders.fake, progress=False, **asked)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    evaluate(folders.real, folders.fake, progress=True, **asked)
    shown = capsys.readouterr().err.rpartition("40/40")[2].partition("\n")[2]
    steps = [line for line in shown.split("\r") if line.strip()]
    names = ("FID from", "KID", "precision and recall", "sliced", "near copies", "interval")
    assert [line for line in steps if line.endswith("...")] == steps
    assert all(step.startswith(name) for step, name in zip(steps, names, strict=True)), steps
    assert shown.endswith("\r") and "\n" not in shown
    evaluate(folders.real, folders.fake, progress=False, **asked)
    assert capsys.readouterr().err == ""


# ---- images on both sides


def nested(folders, root: Path) -> tuple[Path, Path]:
    shutil.copytree(folders.real, root / "results")
    shutil.copytree(folders.fake, root / "results" / "fake")
    return root / "results", root / "results" / "fake"


def linked(folders, root: Path) -> tuple[Path, Path]:
    root = root / "links"
    root.mkdir()
    (root / "one.png").symlink_to(folders.real / "00003.png")
    (root / "folder").symlink_to(folders.fake)
    return folders.real, root


@pytest.mark.parametrize("lie", [nested, linked])
def test_a_file_on_both_sides_is_refused(lie, folders, tmp_path):
    real, fake = lie(folders, tmp_path)
    count = {nested: COUNT, linked: 1}[lie]
    for sides in ((real, fake), (fake, real)):
        with pytest.raises(InputError, match=rf"{count} files .* both sides, .*\.png"):
            evaluate(*sides)


def test_the_same_files_under_other_names_are_the_same_images(folders, tmp_path):
    (tmp_path / "link").symlink_to(folders.real)
    found = evaluate(folders.real, tmp_path)
    assert found["fid"] == pytest.approx(0, abs=1e-9) and found["n_fake"] == COUNT
    assert any("are the same" in note for note in found["notes"])


def test_files_of_one_name_in_two_archives_are_not_shared(folders, tmp_path):
    real, fake = (
        zipped(folders.real, tmp_path / "real.zip"),
        zipped(folders.fake, tmp_path / "f.zip"),
    )
    assert evaluate(real, fake)["fid"] > 0
    (tmp_path / "again.zip").symlink_to(real)
    assert evaluate(real, tmp_path / "again.zip")["fid"] == pytest.approx(0, abs=1e-9)


def test_views_of_one_array_are_told_by_what_they_share(arrays):
    both = torch.cat(arrays)
    for whole in (both, both.numpy()):
        with pytest.raises(InputError, match="real, fake: got two views .* share images"):
            evaluate(whole[:COUNT], whole[COUNT - 1 :])
        assert evaluate(whole[::2], whole[1::2])["fid"] > 0
        found = evaluate(whole[:COUNT], whole[:COUNT])
        assert found["fid"] == pytest.approx(0, abs=1e-9)
        assert any("are the same" in note for note in found["notes"])


def test_one_loader_twice_is_noted(arrays):
    loader = DataLoader(TensorDataset(arrays[0].movedim(-1, 1)), batch_size=9)
    found = evaluate(loader, loader)
    assert found["fid"] == pytest.approx(0, abs=1e-9) and found["n_fake"] == COUNT
    assert any("are the same" in note for note in found["notes"])


def test_a_share_that_is_not_the_whole_is_noted(arrays):
    images = arrays[1].movedim(-1, 1)
    sampler = DistributedSampler(images, num_replicas=2, rank=1, shuffle=False)
    found = evaluate(arrays[0], DataLoader(images, batch_size=9, sampler=sampler))
    assert found["n_fake"] == COUNT // 2
    assert any("among 2 processes, and 1 ran" in note for note in found["notes"])
