"""The evaluation on a real device: the CPU's number, whatever the GPU's defaults are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganfast import metrics
from testing.inception_weights import save_random_weights, smooth_pictures

pytestmark = pytest.mark.gpu
COUNT = 24


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    save_random_weights(path)
    return path


@pytest.fixture(scope="module")
def sides():
    """uint8 pictures (n, h, w, 3)."""
    pictures = smooth_pictures(2 * COUNT, 0)[:, :, ::4, ::4]
    pixels = ((pictures + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).contiguous()
    return pixels[:COUNT], pixels[COUNT:]


@pytest.fixture(scope="module")
def on_the_cpu(sides, weights):
    return metrics.evaluate(*sides, weights=weights, device="cpu")


def test_float32_is_the_cpus_number(sides, weights, on_the_cpu):
    before = torch.backends.cudnn.allow_tf32
    found = metrics.evaluate(*sides, weights=weights, device="cuda")
    assert torch.backends.cudnn.allow_tf32 is before
    assert found["fid"] == pytest.approx(on_the_cpu["fid"], rel=1e-4)
    assert found["inception_score_mean"] == pytest.approx(
        on_the_cpu["inception_score_mean"], rel=1e-4
    )


@pytest.mark.parametrize(("precision", "most"), [("tf32", 0.02), ("bf16", 0.1)])
def test_lower_precisions_come_near(precision, most, sides, weights, on_the_cpu):
    found = metrics.evaluate(*sides, weights=weights, device="cuda", precision=precision)
    assert found["fid"] == pytest.approx(on_the_cpu["fid"], rel=most)
    assert found["fid"] != on_the_cpu["fid"]


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
def test_images_on_the_device_are_prepared_there(protocol, sides, weights):
    here = metrics.evaluate(*sides, weights=weights, device="cuda", protocol=protocol)
    there = metrics.evaluate(
        *(side.cuda() for side in sides), weights=weights, device="cuda", protocol=protocol
    )
    assert there["fid"] == pytest.approx(here["fid"], rel=1e-6)


def test_the_metric_takes_images_on_the_device(sides, weights):
    extractor = metrics.load_extractor(weights=weights, device="cuda")
    fid = metrics.FrechetInceptionDistance(extractor)
    for side, real in zip(sides, (True, False), strict=True):
        fid.update(side.cuda(), real=real)
    found = metrics.evaluate(*sides, weights=weights, device="cuda")["fid"]
    with pytest.warns(UserWarning, match="fewer than 2049"):
        assert float(fid.compute()) == pytest.approx(found, rel=1e-6)
