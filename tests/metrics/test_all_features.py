"""What compares images one by one, from all of them: features in a file, for a while or to keep."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ganfast import metrics
from ganfast.errors import InputError
from ganfast.metrics.extractors import load_extractor
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.summary.feature_file import FeatureFile

TINY = "tiny_network:network"
MANIFOLD = ("precision", "recall", "density", "coverage")
FULL = {"prdc_full": True, "swd_full": True}


def evaluate(real, fake, **options):
    given = {"extractor": TINY, "device": "cpu", "workers": 0, "batch_size": 7, "splits": 2}
    return metrics.evaluate(real, fake, **{**given, **options})


@pytest.fixture(scope="module")
def arrays():
    source = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (n, 24, 24, 3), generator=source, dtype=torch.uint8)
            for n in (61, 50)]  # fmt: skip


def features(arrays):
    extractor = load_extractor(TINY, device="cpu")
    return [torch.cat([extractor(part)[0] for part in side.split(7)]) for side in arrays]


def test_as_many_as_the_sample_are_the_same_numbers(arrays):
    sampled, found = evaluate(*arrays, prdc=True, swd=True), evaluate(*arrays, **FULL)
    for name in (*MANIFOLD, "n_real", "n_fake"):
        assert found[f"prdc_{name}"] == sampled[f"prdc_{name}"]
    # Sorted they are the same projections, each to float32.
    assert found["swd"] == pytest.approx(sampled["swd"], rel=1e-5)
    assert found["swd_error"] == pytest.approx(sampled["swd_error"], rel=1e-5)
    assert found["fid"] == sampled["fid"]


def test_all_images_count_where_a_sample_has_fewer(arrays, monkeypatch):
    monkeypatch.setattr(metrics.options, "SAMPLE", 30)
    found = evaluate(*arrays, **FULL)
    assert (found["prdc_n_real"], found["prdc_n_fake"]) == (61, 50)
    expected = metrics.manifold_metrics(*features(arrays))
    assert [found[f"prdc_{name}"] for name in MANIFOLD] == [
        getattr(expected, name) for name in MANIFOLD
    ]
    assert found["prdc_density"] != evaluate(*arrays, prdc=True)["prdc_density"]
    assert found["swd"] == pytest.approx(metrics.sliced_wasserstein(*features(arrays))[0], 1e-5)


def test_no_sample_is_kept_that_nothing_is_made_of():
    assert EvaluationOptions(prdc_full=True).sample == 0
    assert EvaluationOptions(prdc_full=True, swd=True).sample == metrics.options.SAMPLE
    assert EvaluationOptions(prdc_full=True, interval=True).sample == metrics.options.SAMPLE
    assert EvaluationOptions(adm=True, prdc_full=True).sample_of("fake") == 0


def test_half_precision(arrays):
    found = evaluate(*arrays, prdc_full=True, features_dtype="float16")
    expected = metrics.manifold_metrics(*(side.half() for side in features(arrays)))
    assert found["prdc_density"] == expected.density
    assert "take 2.66 kB" in found["notes"][0]  # 111 images of 12 features of 2 bytes


def test_nothing_stays_but_what_is_to_be_kept(arrays, tmp_path):
    before = set(tmp_path.iterdir())
    found = evaluate(*arrays, prdc_full=True, features_folder=tmp_path)
    assert set(tmp_path.iterdir()) == before
    assert any(f"take 5.33 kB in {str(tmp_path)!r} meanwhile" in one for one in found["notes"])
    evaluate(*arrays, prdc_full=True, features_folder=tmp_path, keep_features=True)
    names = ["fake.features.npy", "real.features.npy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name, rows in zip(("real", "fake"), features(arrays), strict=True):
        assert np.array_equal(np.load(tmp_path / f"{name}.features.npy"), rows.numpy())
    with pytest.raises(InputError, match=r"there is '.*/real.features.npy' already; give another"):
        evaluate(*arrays, prdc_full=True, features_folder=tmp_path, keep_features=True)


def test_kept_features_are_as_good_as_the_images(arrays, tmp_path):
    """All that is not about pixels or logits, to the bit, in every form that features have."""
    evaluate(*arrays, prdc_full=True, features_folder=tmp_path, keep_features=True)
    kept = [tmp_path / f"{name}.features.npy" for name in ("real", "fake")]
    asked = {"kid": True, "cmmd": True, "prdc": True, "swd": True, "memorisation": True}
    names = ("fid", "n_fake", "kid_mean", "cmmd", "swd", "memorised", "fid_interval",
             *(f"prdc_{name}" for name in (*MANIFOLD, "n_real")))  # fmt: skip
    wanted = evaluate(*arrays, interval=True, **asked)
    found = metrics.evaluate(*kept, interval=True, device="cpu", **asked)
    assert [found[name] for name in names] == [wanted[name] for name in names]
    assert found["dims"] == 12 and found["extractor"] is None
    assert found["inception_score_mean"] is None and found["images_per_second"] is None
    assert [name for name, _ in found["costly_images"]] == [
        name for name, _ in wanted["costly_images"]
    ]
    assert all(name.startswith("fake[") for name, _ in found["costly_images"])
    np.savez_compressed(tmp_path / "real.npz", features=np.load(kept[0]))
    torch.save(torch.from_numpy(np.load(kept[1])), tmp_path / "fake.pt")
    others = metrics.evaluate(
        tmp_path / "real.npz", tmp_path / "fake.pt", device="cpu", interval=True, **asked
    )
    assert [others[name] for name in names] == [wanted[name] for name in names]


def test_kept_features_beside_images(arrays, tmp_path, monkeypatch):
    """Whole, in parts, and with images on the other side."""
    evaluate(*arrays, prdc_full=True, features_folder=tmp_path, keep_features=True)
    kept = [tmp_path / f"{name}.features.npy" for name in ("real", "fake")]
    monkeypatch.setattr(metrics.options, "SAMPLE", 30)
    wanted = evaluate(*arrays, **FULL, bootstrap=8)
    sides = [[*kept], [kept[0], arrays[1]], [arrays[0], kept[1]]]
    for real, fake in sides:
        found = evaluate(real, fake, **FULL, bootstrap=8)
        for name in ("fid", "fid_interval", "prdc_density", "prdc_n_real", "prdc_n_fake", "swd"):
            assert found[name] == wanted[name], name
    report = tmp_path / "out.html"
    evaluate(*kept, report=report, prdc=True)
    assert "density" in report.read_text(encoding="utf-8").lower()


def test_what_features_have_not_is_told(arrays, tmp_path):
    path, other = tmp_path / "f.npy", tmp_path / "g.npy"
    np.save(path, np.random.default_rng(0).normal(size=(20, 12)))
    np.save(other, np.random.default_rng(1).normal(size=(20, 5)))
    np.save(tmp_path / "i.npy", arrays[0].numpy())
    np.savez(tmp_path / "s.npz", mu=np.zeros(12), sigma=np.eye(12))
    for real, fake, asked, words in (
        (path, other, {"prdc": True}, "12 features on one side and 5 on the other"),
        (other, arrays[0], {"kid": True}, "the statistics have 5 features and the network"),
        (path, tmp_path / "s.npz", {"kid": True}, "fake is a file of statistics; give the images"),
        (path, path, {"sfid": True}, "without mu_s and sigma_s"),
        (path, path, {"per_class": True}, "per_class: real is statistics"),
        (
            path,
            path,
            {"held_out": tmp_path / "i.npy"},
            "held_out: got images, and real and fake are files",
        ),
        (path, path, {"num": 3}, "num: got statistics, whose images can't be chosen"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate(real, fake, **asked)


def test_several_extractors_have_a_file_each(arrays, tmp_path):
    both = f"{TINY},tiny_network:Tiny"
    given = {"prdc_full": True, "features_folder": tmp_path, "keep_features": True}
    found = evaluate(*arrays, extractor=both, **given)
    assert found["by_extractor"]["tiny_network:Tiny"]["prdc_density"] == found["prdc_density"]
    assert (tmp_path / "real.tiny_network-Tiny.features.npy").exists()
    assert len(list(tmp_path.iterdir())) == 4


def test_by_class(tmp_path):
    """Of all images of a class, where a sample would have missed some."""
    pytest.importorskip("PIL")
    from PIL import Image

    source = np.random.default_rng(0)
    for side, name in ((side, name) for side in ("real", "fake") for name in ("ape", "bee")):
        (tmp_path / side / name).mkdir(parents=True)
        for i in range(12):
            pixels = source.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / name / f"{i}.png")
    sides = tmp_path / "real", tmp_path / "fake"
    found = evaluate(*sides, prdc_full=True, per_class=True)["prdc_per_class"]
    assert found == evaluate(*sides, prdc=True, per_class=True)["prdc_per_class"]
    assert found["ape"]["n_real"] == 12


class Stopping:
    """Ctrl-C, or SIGTERM, in the batch ``when``."""

    def __init__(self, monkeypatch, when, number=signal.SIGINT):
        kind, self.calls = type(load_extractor(TINY)), 0
        extract = kind.extract

        def stopped(extractor, batch):
            self.calls += 1
            if self.calls == when:
                signal.raise_signal(number)
            return extract(extractor, batch)

        monkeypatch.setattr(kind, "extract", stopped)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", [2, 9, 12])
def test_an_interrupted_run_goes_on(when, number, arrays, tmp_path, monkeypatch):
    given = {**FULL, "state": tmp_path / "run.state"}
    with monkeypatch.context() as patch:
        Stopping(patch, when, number)
        with pytest.raises(KeyboardInterrupt):
            evaluate(*arrays, **given)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"run.state", ".run.state.real.features"} <= names
    with open(tmp_path / ".run.state.real.features", "ab") as file:
        file.write(b"of a batch that was not finished")
    found, expected = evaluate(*arrays, **given), evaluate(*arrays, **FULL)
    for name in ("prdc_density", "prdc_recall", "prdc_n_real", "swd", "fid"):
        assert found[name] == expected[name]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_state_an_interrupted_run_leaves_nothing(number, arrays, tmp_path, monkeypatch):
    Stopping(monkeypatch, 3, number)
    with pytest.raises(KeyboardInterrupt):
        evaluate(*arrays, prdc_full=True, features_folder=tmp_path, keep_features=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="files without a name are POSIX's")
def test_nor_does_one_that_was_killed(tmp_path):
    code = (
        "import torch\nfrom ganfast.metrics import evaluate\n"
        "x = torch.zeros(4000, 24, 24, 3, dtype=torch.uint8)\n"
        f"evaluate(x, x[:2000].clone(), extractor='tiny_network:network', device='cpu', "
        f"batch_size=2, prdc_full=True, features_folder={str(tmp_path)!r})"
    )
    paths = [Path(__file__).parent, Path(metrics.__file__).parents[2], *filter(None, [
        os.environ.get("PYTHONPATH")])]  # fmt: skip
    environment = {**os.environ, "TINY_NETWORK_SLEEPS": "0.02"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    opened = f"/proc/{process.pid}/fd"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        links = [os.readlink(f"{opened}/{fd}") for fd in os.listdir(opened)
                 if os.path.islink(f"{opened}/{fd}")] if os.path.isdir(opened) else []  # fmt: skip
        if any(str(tmp_path) in link for link in links):
            break
        time.sleep(0.05)
    else:
        pytest.fail("it did not come to write features")
    process.kill()
    process.wait()
    assert not list(tmp_path.iterdir())


def stopped_run(arrays, tmp_path, monkeypatch, **given):
    with monkeypatch.context() as patch:
        Stopping(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            evaluate(*arrays, state=tmp_path / "run.state", **given)
    return tmp_path / ".run.state.real.features"


@pytest.mark.parametrize("damage", ["lost", "shorter", "other"])
def test_features_that_are_not_those_of_the_run(damage, arrays, tmp_path, monkeypatch):
    path = stopped_run(arrays, tmp_path, monkeypatch, prdc_full=True)
    held = path.read_bytes()
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(held[:-8] if damage == "shorter" else held[:-8] + bytes(8))
    words = "can't go on with" if damage == "lost" else "is damaged, or of another run"
    with pytest.raises(InputError, match=f"features_folder: .*{words}.*to begin anew"):
        evaluate(*arrays, state=tmp_path / "run.state", prdc_full=True)


def test_a_run_goes_on_in_its_own_folder_and_dtype(arrays, tmp_path, monkeypatch):
    stopped_run(arrays, tmp_path, monkeypatch, prdc_full=True)
    for other in ({"features_dtype": "float16"}, {"features_folder": "/tmp"}):
        with pytest.raises(InputError, match=f"another run.*{next(iter(other))}"):
            evaluate(*arrays, state=tmp_path / "run.state", prdc_full=True, **other)
    with pytest.raises(InputError, match="features_dtype is 'float32' there and not given now"):
        evaluate(*arrays, state=tmp_path / "run.state")


def test_too_little_room_is_told_before_the_first_image(arrays, tmp_path, monkeypatch):
    calls = Stopping(monkeypatch, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5000))
    words = (
        rf"features_folder: the features of all images take 5.33 kB, and '{tmp_path}' has 5 kB "
        r"free; give another folder, features_dtype float16, or a sample"
    )
    with pytest.raises(InputError, match=words):
        evaluate(*arrays, prdc_full=True, features_folder=tmp_path)
    assert calls.calls == 0
    evaluate(*arrays, prdc_full=True, features_folder=tmp_path, features_dtype="float16")
    with pytest.raises(InputError, match="take 5.33 kB"):  # a copy of it
        evaluate(*arrays, prdc_full=True, features_folder=tmp_path, features_dtype="float16",
                 keep_features=True)  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_disk_that_becomes_full(arrays, tmp_path, monkeypatch):
    full = partial(open, "/dev/full", "r+b", buffering=0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full())
    words = r"features_folder: can't write features to .* \(No space left on device\); make room"
    with pytest.raises(InputError, match=words):
        evaluate(*arrays, prdc_full=True, features_folder=tmp_path)


def test_a_stream_says_what_an_image_takes(arrays):
    found = evaluate(arrays[0], lambda: iter(arrays[1].split(9)), prdc_full=True)
    assert "take about 48 bytes for each image in" in found["notes"][0]
    assert found["prdc_n_fake"] == 50


@pytest.mark.parametrize(
    "given, message",
    [
        ({"keep_features": True, "prdc_full": True}, "keep_features: got it without"),
        ({"keep_features": True, "features_folder": "."}, "keep_features: got it without"),
        ({"features_folder": "."}, "features_folder: got '.' without prdc_full"),
        ({"features_folder": "/no/such", "prdc_full": True}, "there is no folder '/no/such'"),
        ({"features_folder": "/proc", "prdc_full": True}, "can't write to the folder '/proc'"),
        ({"features_dtype": "float8", "prdc_full": True}, "features_dtype: got 'float8'; give"),
    ],
)
def test_wrong_options(given, message, arrays, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, *m: str(p) != "/proc" and access(p, *m))
    with pytest.raises(InputError, match=message):
        evaluate(*arrays, **given)


def test_too_few_images_are_a_note(arrays):
    found = evaluate(arrays[0], arrays[1][:5], prdc_full=True)
    assert found["prdc_precision"] is None and found["fid"] > 0
    assert any("no precision and recall: fake: got 5 rows" in note for note in found["notes"])
    with pytest.raises(InputError, match="fake: got 1 image"):
        evaluate(arrays[0], arrays[1][:1], prdc_full=True)


def test_numbers_beyond_half_precision(tmp_path):
    file = FeatureFile(3, dtype="float16", folder=tmp_path)
    file.add(torch.ones(2, 3), np.array([0, 1]))
    with pytest.raises(InputError, match=r"features_dtype: got features beyond 65,504"):
        file.add(torch.full((1, 3), 1e5), np.array([2]))
    assert len(file) == 2 and file.rows().tolist() == [[1.0] * 3] * 2


def test_what_is_written_to_rows_does_not_reach_the_file(tmp_path):
    file = FeatureFile(2, folder=tmp_path)
    assert file.rows().shape == (0, 2)
    file.add(torch.ones(3, 2), np.array([4, 0, 2]))
    file.rows().zero_()
    file.add(2 * torch.ones(1, 2), np.array([1]))  # after a reading
    assert file.rows()[:, 0].tolist() == [1, 1, 1, 2] and file.positions().tolist() == [4, 0, 2, 1]
    file.save(tmp_path / "x.npy")
    assert np.load(tmp_path / "x.npy")[:, 0].tolist() == [1, 2, 1, 1]
