"""The evaluation on a real device: the CPU's number, whatever the GPU's defaults are."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from ganfast import metrics
from ganfast.metrics import preprocessing, staging
from ganfast.metrics.evaluation import image_set
from testing.inception_weights import save_random_weights, smooth_pictures
from testing.simulated_gpu import sized

pytestmark = pytest.mark.gpu
COUNT = sized(24, 10)
DIMS = sized(2048, 64)
"""Where the network's depth is not the point: the distance of 2,048 takes a minute of products."""


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
    how = {"weights": weights, "device": "cuda", "protocol": protocol, "dims": DIMS}
    here = metrics.evaluate(*sides, **how)
    there = metrics.evaluate(*(side.cuda() for side in sides), **how)
    assert there["fid"] == pytest.approx(here["fid"], rel=1e-6)


def test_the_metric_takes_images_on_the_device(sides, weights):
    extractor = metrics.load_extractor(weights=weights, device="cuda", dims=DIMS)
    fid = metrics.FrechetInceptionDistance(extractor)
    for side, real in zip(sides, (True, False), strict=True):
        fid.update(side.cuda(), real=real)
    found = metrics.evaluate(*sides, weights=weights, device="cuda", dims=DIMS)["fid"]
    with pytest.warns(UserWarning, match=f"fewer than {DIMS + 1}"):
        assert float(fid.compute()) == pytest.approx(found, rel=1e-6)


def small_extractor(device):
    def network(x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)

    return metrics.Extractor(
        network, name="small", identity="0", dim=12, classes=None, device=device, size=9,
        protocol=metrics.PROTOCOLS["pytorch-fid"],
    )  # fmt: skip


@pytest.mark.parametrize("room", [1 << 28, 5000], ids=["at once", "in parts"])
def test_images_of_many_sizes_are_sent_together(room, sides, monkeypatch):
    """The CPU's number again, of batches of which every other image is cropped."""
    monkeypatch.setattr(image_set, "on_the_host", lambda images: True)  # also where all is "cuda"
    monkeypatch.setattr(image_set, "parts", lambda images: staging.parts(images, room))
    few = [[x[: 60 - 7 * (i % 2), 3 * (i % 3) :] for i, x in enumerate(side)] for side in sides]
    made = {
        device: metrics.evaluate(
            *((lambda side=side: iter(side)) for side in few),
            extractor=small_extractor(device), device=device, batch_size=7,
        )
        for device in ("cpu", "cuda")
    }  # fmt: skip
    assert made["cuda"]["fid"] == pytest.approx(made["cpu"]["fid"], rel=1e-4)
    assert made["cuda"]["n_real"] == COUNT


def test_a_network_that_fails_is_told_of(sides):
    extractor = small_extractor("cuda")
    network = extractor.network
    extractor.network = lambda x: network(x) / (x.amax((1, 2, 3), keepdim=True)[:, 0, 0] < 0.8)
    with pytest.raises(ValueError, match="features: got NaN or inf for .* images, at the pos"):
        metrics.evaluate(*sides, extractor=extractor, device="cuda", batch_size=7)


def test_256_at_once_but_a_run_that_goes_on_has_its_own(sides, tmp_path):
    given = {"extractor": small_extractor("cuda"), "device": "cuda"}
    whole = metrics.evaluate(*sides, **given, batch_size=5)
    assert metrics.evaluate(*sides, **given)["batch_size"] == 256
    state, seen = tmp_path / "run.state", []
    stopped = small_extractor("cuda")

    def network(x, of=stopped.network):
        seen.append(len(x))
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return of(x)

    stopped.network = network
    with pytest.raises(KeyboardInterrupt):
        metrics.evaluate(*sides, extractor=stopped, device="cuda", batch_size=5, state=state)
    found = metrics.evaluate(*sides, **given, state=state)
    assert (found["fid"], found["batch_size"]) == (whole["fid"], 5)


@pytest.mark.parametrize("dims", [64, 2048])
def test_the_graph_of_the_network_has_the_same_bits(dims, weights, sides):
    """The first batch of a shape is launched, the others replayed; the last, smaller one is not."""
    extractor = metrics.load_extractor(weights=weights, device="cuda", dims=dims)
    few = sides[0][:11].cuda()
    with torch.inference_mode():
        for batch in extractor.prepare(few).split(3):
            found = extractor.extract(batch)
            fast, extractor.network = extractor.network, extractor.network.network
            launched = extractor.extract(batch)
            extractor.network = fast
            for mine, other in zip(found, launched, strict=True):
                assert mine is other is None or torch.equal(mine, other)
    assert fast.impossible is None and len(fast._graphs) == 1


def test_many_bytes_of_images_are_prepared_in_parts(sides, monkeypatch):
    few = [x[: 60 - 7 * (i % 2)] for i, x in enumerate(sides[0][:5])]
    whole = metrics.preprocess(few, "pytorch-fid", size=16, device="cuda")
    sizes = []

    def parts(images):
        found = staging.parts(images, 20_000)
        sizes.append([len(part) for part in found])
        return found

    monkeypatch.setattr(preprocessing, "parts", parts)
    monkeypatch.setattr(preprocessing, "on_the_host", lambda images: True)  # where all is "cuda"
    found = metrics.preprocess(few, "pytorch-fid", size=16, device="cuda")
    assert sizes == [[1, 1, 1, 1, 1]]
    assert torch.equal(found, whole)
    assert found.is_contiguous(memory_format=torch.channels_last)
