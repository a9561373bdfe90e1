"""The Inception Score of one set of images, as a function and as a command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from image_samples import crop, crops, encode, write

from ganfast import cli
from ganfast.errors import InputError
from ganfast.metrics import evaluate, image_statistics, inception_score, score

TINY = "tiny_network:network"
GIVEN = {"extractor": TINY, "device": "cpu"}


def features_only():
    class Features(torch.nn.Module):
        input_size = 8

        def forward(self, x):
            return x.mean((2, 3))

    return Features()


def test_it_is_the_score_that_an_evaluation_gives():
    images = crops(30)
    found = score(images, splits=3, **GIVEN)
    whole = evaluate(crops(4), images, splits=3, **GIVEN)
    for name in ("inception_score_mean", "inception_score_std", "protocol", "extractor"):
        assert found[name] == whole[name]
    assert found["n"] == 30 and found["skipped"] == [] and found["inception_score_std"] > 0


def test_it_is_the_score_by_its_formula(monkeypatch):
    import tiny_network

    images, seen, forward = crops(12), [], tiny_network.Tiny.forward

    def recorded(network, x):
        features, logits = forward(network, x)
        seen.append(logits)
        return features, logits

    monkeypatch.setattr(tiny_network.Tiny, "forward", recorded)
    found = score(images, splits=1, batch_size=5, **GIVEN)
    logits = torch.cat([part for part in seen if len(part)])[-12:]
    assert found["inception_score_std"] is None  # of one value
    assert found["inception_score_mean"] == pytest.approx(
        inception_score(logits, splits=1)[0], 1e-6
    )


def test_too_few_images_are_told_before_the_pass(monkeypatch):
    from ganfast.metrics.evaluation.evaluation import Evaluation

    monkeypatch.setattr(Evaluation, "scan", lambda self: pytest.fail("it has begun"))
    with pytest.raises(InputError, match="splits: got 10, and there are 4 images; give fewer"):
        score(crops(4), **GIVEN)


def test_what_has_no_score(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="splits: got 10, and there are 4 images; give fewer"):
        score(crops(4), **GIVEN)
    with pytest.raises(InputError, match="images: got statistics, which have no Inception Score"):
        score(image_statistics(crops(4), **GIVEN), **GIVEN)
    with pytest.raises(InputError, match="dims: got 64, a layer without logits"):
        score(crops(12), dims=64, device="cpu")
    with pytest.raises(InputError, match="extractor: got .*which gives no logits"):
        score(crops(12), extractor=f"{__name__}:features_only", device="cpu")


def test_the_command(tmp_path, capsys):
    folder = write(tmp_path / "f", {f"{i}.png": encode(crop(i)) for i in range(12)})
    (folder / "broken.png").write_bytes(b"no image")
    np.save(tmp_path / "n.npy", crops(12))
    flags = ["--extractor", TINY, "--device", "cpu", "--workers", "0", "--splits", "2"]
    assert cli.main(["score", str(tmp_path / "n.npy"), *flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 12 and found["inception_score_mean"] >= 1
    assert cli.main(["score", str(folder), *flags]) == 1
    assert "broken.png" in capsys.readouterr().err
    assert cli.main(["score", str(folder), *flags, "--on-error", "skip"]) == 3
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["IS"].startswith(f"{found['inception_score_mean']:.6g}  (+- ")
    assert lines["images"] == "12" and lines["skipped"].endswith("broken.png")
