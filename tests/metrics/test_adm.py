"""sFID, and the table of ADM's evaluator from one command, against its formulas."""

from __future__ import annotations

import json
import signal
from typing import Any

import numpy as np
import pytest
import torch
from image_samples import crops
from tiny_network import Tiny
from torch import Tensor

from ganfast import cli, metrics
from ganfast.errors import InputError
from ganfast.metrics import Statistics, evaluate, image_statistics, load_extractor
from ganfast.metrics.extractors.extractor import Outputs
from ganfast.metrics.inception.network import SPATIAL, build_network
from ganfast.metrics.protocols import PROTOCOLS
from testing.inception_weights import random_state_dict, save_random_weights

pytestmark = pytest.mark.usefixtures("one_thread")

N = 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    save_random_weights(path)
    return {"weights": path, "device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def sides() -> tuple[np.ndarray, np.ndarray]:
    images = crops(2 * N, 48, 48)
    return images[:N], images[N:]


@pytest.fixture(scope="module")
def seen(weights, sides) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Features, logits and those of sFID of either side, by the plain network, layer by layer."""
    network = build_network(random_state_dict(0))
    prepare = load_extractor(weights=weights["weights"], protocol="torch-fidelity").prepare
    kept: list[Tensor] = []
    network.Mixed_6d.branch1x1.register_forward_hook(lambda module, args, out: kept.append(out))
    found = []
    for images in sides:
        with torch.inference_mode():
            features, logits = network(prepare(torch.from_numpy(images)))
        # As TensorFlow has it, channels last: the first seven of them, flattened.
        maps = kept.pop().permute(0, 2, 3, 1)[..., :7]
        found.append((features, logits, maps.reshape(N, -1)))
    return found


def frechet(x: Tensor, y: Tensor) -> float:
    """By the singular values of the product of the centred features, in float64."""
    x, y = x.double(), y.double()
    a, b = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y))
    root = torch.linalg.svdvals(a @ b.T).sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum()
                 - 2 * root)  # fmt: skip


def reference_file(path, images: np.ndarray, seen: tuple[Tensor, ...]):
    """As ADM's: images, the statistics of all of a data set, which these are not all of."""
    arrays = {}
    for features, end in ((seen[0], ""), (seen[2], "_s")):
        x = features.double().numpy()
        arrays |= {f"mu{end}": x.mean(0), f"sigma{end}": np.cov(x, rowvar=False)}
    np.savez(path, arr_0=images, **arrays)
    return path


@pytest.mark.slow
def test_the_features_are_those_of_the_layer(weights, sides, seen):
    extractor = load_extractor(weights=weights["weights"], protocol="torch-fidelity", spatial=True)
    outputs = extractor.extract(extractor.prepare(torch.from_numpy(sides[0])))
    assert SPATIAL == 2023 and extractor.spatial == outputs.spatial.shape[1] == SPATIAL
    for found, wanted in zip(outputs, seen[0], strict=True):
        assert float((found - wanted).norm() / wanted.norm()) < 1e-5
    # In this order: another one of channels and pixels would fit no other tool's mu_s.
    moved = seen[0][2].view(N, 17, 17, 7).permute(0, 3, 1, 2).reshape(N, -1)
    assert float((outputs.spatial - moved).norm() / moved.norm()) > 0.1
    assert len(extractor(torch.from_numpy(sides[0]))) == 2
    empty = extractor.extract(extractor.prepare(torch.from_numpy(sides[0][:0])))
    assert isinstance(empty, Outputs) and empty.spatial.shape == (0, SPATIAL)


class TinyOfBoth(Tiny):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return *super().forward(x), self.conv(x)[:, :2, ::2, ::3].flatten(1)


@pytest.fixture
def tiny() -> dict[str, Any]:
    """An extractor with features for sFID that takes milliseconds."""
    network = TinyOfBoth().eval()
    _, _, spatial = network(torch.zeros(1, 3, 24, 24))
    extractor = metrics.Extractor(
        network, name="tiny", identity="tiny", dim=12, classes=5, protocol=PROTOCOLS["pytorch-fid"],
        size=24, spatial=spatial.shape[1],
    )  # fmt: skip
    return {"extractor": extractor, "workers": 0, "batch_size": 4}


def test_sfid_is_the_distance_of_these_features(tiny, sides, tmp_path):
    found = evaluate(*sides, sfid=True, **tiny)
    one, two = (tiny["extractor"].extract(tiny["extractor"].prepare(torch.from_numpy(x)))
                for x in sides)  # fmt: skip
    assert found["sfid"] == pytest.approx(frechet(one.spatial, two.spatial), rel=1e-5)
    assert found["fid"] == pytest.approx(frechet(one.features, two.features), rel=1e-5)
    plain = evaluate(*sides, **tiny)
    assert plain["sfid"] is None and plain["fid"] == found["fid"]
    made = image_statistics(sides[0], sfid=True, **tiny)
    made.save(tmp_path / "real.npz")
    read = Statistics.load(tmp_path / "real.npz")
    assert torch.equal(read.sigma_s, made.sigma_s) and read.spatial.n == N
    again = evaluate(tmp_path / "real.npz", sides[1], sfid=True, **tiny)
    assert again["sfid"] == pytest.approx(found["sfid"], rel=1e-9)
    assert image_statistics(sides[0], **tiny).spatial is None


def test_a_run_that_was_stopped_goes_on(tiny, sides, tmp_path, monkeypatch):
    given = {**tiny, "sfid": True}
    wanted = evaluate(*sides, **given)["sfid"]
    extract, calls = metrics.Extractor.extract, []

    def interrupted(extractor, batch):
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return extract(extractor, batch)

    with monkeypatch.context() as patch:
        patch.setattr(metrics.Extractor, "extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(*sides, state=tmp_path / "state", **given)
    with pytest.raises(InputError, match="state: .*sfid is True there and not given now"):
        evaluate(*sides, state=tmp_path / "state", **{**given, "sfid": False})
    assert evaluate(*sides, state=tmp_path / "state", **given)["sfid"] == wanted


@pytest.mark.slow
def test_the_whole_table_from_one_command(weights, sides, seen, tmp_path, capsys, monkeypatch):
    """The reference says its statistics and holds images for precision and recall."""
    reference = reference_file(tmp_path / "reference.npz", sides[0], seen[0])
    np.savez(tmp_path / "samples.npz", arr_0=sides[1], arr_1=np.arange(N))
    flags = ["--adm", "--weights", weights["weights"], "--device", "cpu", "--splits", "1"]
    argv = ["fid", reference, tmp_path / "samples.npz", *flags]
    results, look = [], metrics.evaluate

    def once(*given, **options):
        results.append(results[0] if results else look(*given, **options))
        return results[-1]

    monkeypatch.setattr(metrics, "evaluate", once)
    assert cli.main([*map(str, argv), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (real, _, real_s), (fake, logits, fake_s) = seen
    assert found["fid"] == pytest.approx(frechet(real, fake), rel=1e-4)
    assert found["sfid"] == pytest.approx(frechet(real_s, fake_s), rel=1e-4)
    score, _ = metrics.inception_score(logits, splits=1)
    assert found["inception_score_mean"] == pytest.approx(score, rel=1e-4)
    balls = metrics.manifold_metrics(real, fake)
    assert found["prdc_precision"] == balls.precision and found["prdc_recall"] == balls.recall
    assert (found["prdc_n_real"], found["prdc_n_fake"]) == (N, N)
    assert (found["n_real"], found["n_fake"], found["protocol"]) == (None, N, "torch-fidelity")
    assert any(f"beside which its file has {N} images" in note for note in found["notes"])
    assert cli.main([*map(str, argv), "-q"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names[:4] == ["FID", "sFID", "IS", "manifold"]


def test_images_beside_statistics_are_for_precision_and_recall_alone(sides, tmp_path):
    """They are a few of those that the statistics are of."""
    features = np.random.default_rng(0).normal(size=(50, 2048))
    file = tmp_path / "reference.npz"
    np.savez(file, mu=features.mean(0), sigma=np.cov(features.T), arr_0=sides[0][:2])
    for asked in ("kid", "memorisation", "swd"):
        with pytest.raises(InputError, match=f"{asked}: it compares images and real is a file"):
            metrics.evaluate(file, sides[1], prdc=True, **{asked: True}, device="cpu")


def test_all_fake_images_count_in_adms_precision(monkeypatch, sides):
    """Where there are more than the sample has otherwise: recall rises with them."""
    monkeypatch.setattr(metrics.options, "SAMPLE", 6)
    monkeypatch.setattr(metrics.options, "ADM_SAMPLE", 8)
    options = metrics.options.EvaluationOptions(adm=True)
    assert (options.sample_of("real"), options.sample_of("fake")) == (6, 8)
    assert metrics.options.EvaluationOptions(prdc=True).sample_of("fake") == 6
    assert metrics.options.EvaluationOptions().sample_of("fake") == 0


def test_what_has_no_sfid_is_told_at_once(weights, sides, seen, tmp_path):
    plain = image_statistics(sides[0], extractor="tiny_network:network", device="cpu", workers=0)
    one = load_extractor("tiny_network:network")
    np.savez(tmp_path / "half.npz", mu=np.zeros(4), sigma=np.eye(4), mu_s=np.zeros(4))
    bad = {"mu": np.zeros(4), "sigma": np.eye(4), "mu_s": np.zeros(4), "sigma_s": np.eye(5)}
    np.savez(tmp_path / "bad.npz", **bad)
    for real, more, words in (
        (plain, {"sfid": True}, "sfid: real is a file of statistics without mu_s and sigma_s"),
        (sides[0], {"sfid": True, "dims": 64}, "sfid: .* got its layer of 64 features"),
        (sides[0], {"sfid": True, "extractor": "digits"}, "sfid: .* got the extractor digits"),
        (
            sides[0],
            {"sfid": True, "extractor": one},
            "sfid: got the extractor 'tiny_network:network'",
        ),
        (sides[0], {"adm": True, "protocol": "clean"}, "adm: got it with the protocol 'clean'"),
        (plain, {"adm": True}, "prdc: it compares images and real is a file of statistics"),
        (tmp_path / "half.npz", {"sfid": True}, "without mu_s and sigma_s"),
        (tmp_path / "bad.npz", {}, r"got mu_s of shape \(4,\) and sigma_s of shape \(5, 5\)"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate(real, sides[1], device="cpu", **more)
    with pytest.raises(InputError, match="got one of mu_s and sigma_s; give both, or none"):
        Statistics(plain.mu, plain.sigma, mu_s=plain.mu)
