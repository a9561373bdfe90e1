"""The metric in torchmetrics' shape: what goes in, what comes out, copies, and extractors."""

import copy
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ganfast.metrics import moments
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.frechet_inception_distance import FrechetInceptionDistance
from ganfast.metrics.statistics import Statistics

N, SIZE = 40, 6


def channel_means(images):
    """Three features, of uint8 images as they lie in files."""
    assert images.dtype == torch.uint8 and images.shape[3] == 3 and images.is_contiguous()
    return images.float().mean((1, 2))


def images(n=N, high=256):
    return torch.randint(0, high, (n, SIZE, SIZE, 3), dtype=torch.uint8)


def expected(real, fake):
    sides = [Statistics(*moments(channel_means(x))) for x in (real, fake)]
    return frechet_terms(*sides).fid


def metric(real, fake, **kwargs):
    found = FrechetInceptionDistance(channel_means, **kwargs)
    for x, side in ((real, True), (fake, False)):
        for batch in x.split(7):
            found.update(batch, real=side)
    return found


def test_the_distance_in_either_layout():
    real, fake = images(), images(30, 200)
    found = metric(real, fake).compute()
    assert found.dtype == torch.float64 and found.shape == ()
    assert float(found) == pytest.approx(expected(real, fake), rel=1e-10)
    first = metric(real.permute(0, 3, 1, 2), fake.permute(0, 3, 1, 2).contiguous())
    assert torch.equal(first.compute(), found)
    assert (first.n_real, first.n_fake) == (N, 30)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_floats_are_rounded(dtype):
    levels = torch.arange(256, dtype=torch.uint8).repeat(3)[: 3 * SIZE * SIZE]
    x = levels.reshape(1, SIZE, SIZE, 3).repeat(4, 1, 1, 1)
    x[1:3] += 7
    seen = []

    def spy(images):
        seen.append(images)
        return channel_means(images)

    FrechetInceptionDistance(spy, normalize=True).update((x.double() / 255).to(dtype), real=True)
    assert torch.equal(seen[0], x)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_rounding_step_outside_the_range_is_taken(antialias, dtype):
    white = functional.interpolate(
        torch.ones(N, 3, 64, 64), size=(23, 23), mode="bilinear", antialias=antialias
    ).to(dtype)
    one = torch.tensor(1, dtype=dtype)
    white[0] = (
        torch.nextafter(one.float(), one.float() + 1)
        if dtype.itemsize > 2
        else one * (1 + torch.finfo(dtype).eps)
    )
    white[1] = -white[0] + 1
    seen = []
    spy = lambda images: seen.append(images) or channel_means(images)  # noqa: E731
    FrechetInceptionDistance(spy, normalize=True).update(white, real=True)
    assert (seen[0][0] == 255).all() and (seen[0][1] == 0).all()


def test_a_shared_network_sees_a_batch_once_and_again_what_was_written_over_it():
    """Also unseen, as the replay of a CUDA graph writes: the same tensor of the same version."""
    asked = []

    def spy(images):
        asked.append(images.clone())
        return channel_means(images)

    one, two = FrechetInceptionDistance(spy), FrechetInceptionDistance(spy)
    memory = images(8).numpy()
    x, other = torch.from_numpy(memory), images(8)
    for each in (one, two):
        each.update(x, real=True)
    assert len(asked) == 1
    version = x._version
    memory[:] = other.numpy()
    two.update(x, real=False)
    assert x._version == version and len(asked) == 2 and torch.equal(asked[1], other)


def test_copies_and_pickles_are_of_their_own():
    real, fake = images(), images(30, 200)
    found = metric(real, fake)
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert torch.equal(other.compute(), found.compute())
        before = found.compute()
        other.update(images(5), real=False)
        assert torch.equal(found.compute(), before) and found.n_fake == 30
        assert not torch.equal(other.compute(), before)


def test_a_saved_state():
    found = metric(images(), images(30, 200))
    other = metric(images(3), images(3))
    other.load_state_dict(found.state_dict())
    assert torch.equal(other.compute(), found.compute())
    other.load_state_dict(FrechetInceptionDistance(channel_means).state_dict())
    assert other.n_real == other.n_fake == 0
    with pytest.raises(ValueError, match="state"):
        other.load_state_dict({"real.count": torch.tensor(3)})


def test_reset():
    real, fake, new = images(), images(30, 200), images(20, 100)
    kept = metric(real, fake, reset_real_features=False)
    kept.reset()
    assert (kept.n_real, kept.n_fake) == (N, 0)
    kept.update(new, real=False)
    assert float(kept.compute()) == pytest.approx(expected(real, new), rel=1e-10)
    found = metric(real, fake)
    found.reset()
    assert (found.n_real, found.n_fake) == (0, 0)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        assert not self.training
        return self.norm(x.float().mean((1, 2)))


class Extractor(Network):
    """A module that takes images as every extractor does."""

    protocol = "none"

    def forward(self, x):
        assert x.dtype == torch.uint8 and x.shape[3] == 3
        return super().forward(x), torch.zeros(len(x), 5)


@pytest.mark.parametrize("kind", [Network, Extractor])
def test_modules(kind):
    real, fake = images(), images(30, 200)
    found = FrechetInceptionDistance(kind())
    for x, side in ((real, True), (fake, False)):
        found.update(x.permute(0, 3, 1, 2) if kind is Extractor else x.float(), real=side)
    scale = 1 / (1 + 1e-5)  # of an untrained batch norm's variance
    assert float(found.compute()) == pytest.approx(scale * expected(real, fake), rel=1e-5)


def test_the_default_is_loaded_at_the_first_update(monkeypatch):
    asked = []

    def load_extractor(name, *, device, dims, weights):
        asked.append((name, torch.device(device), dims, weights))
        return lambda images: (channel_means(images), None)

    module = types.ModuleType("ganfast.metrics.extractors")
    module.load_extractor = load_extractor
    monkeypatch.setitem(sys.modules, "ganfast.metrics.extractors", module)
    found = FrechetInceptionDistance(64, feature_extractor_weights_path="w.pth")
    assert asked == []
    found.update(images(), real=True)
    found.update(images(), real=False)
    assert asked == [("inception", torch.device("cpu"), 64, "w.pth")]
    FrechetInceptionDistance().to("meta").update(images(), real=True)
    assert asked[1] == ("inception", torch.device("meta"), 2048, None)
    assert copy.deepcopy(found).extractor is None  # packed for this machine: made anew


def test_it_is_a_module_whose_network_is_not_trained_saved_or_converted():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.metrics = nn.ModuleDict({"fid": FrechetInceptionDistance(Network())})

    model, real, fake = Model().train().half().double(), images(), images(30, 200)
    fid = model.metrics["fid"]
    assert fid.to("cpu") is fid and fid.cpu() is fid and fid.training
    assert not fid.extractor.training and len(list(model.parameters())) == 2
    assert {x.dtype for x in fid.extractor.parameters()} == {torch.float32}
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]
    fid(real, real=True)
    fid(fake, real=False)
    other = Model()
    other.metrics["fid"].update(images(3), True)
    other.load_state_dict(pickle.loads(pickle.dumps(model.state_dict())))
    assert torch.equal(other.metrics["fid"].compute(), fid.compute())
    assert (other.metrics["fid"].n_real, other.metrics["fid"].n_fake) == (N, 30)
    with pytest.raises(RuntimeError, match="Unexpected key.*metrics.fid.other"):
        other.load_state_dict({**model.state_dict(), "metrics.fid.other": torch.zeros(1)})
    assert fid.set_dtype(torch.float32).compute().dtype == torch.float32
    with pytest.raises(ValueError, match="dtype: got torch.int64"):
        fid.set_dtype(torch.int64)


def test_it_moves_with_the_module_that_holds_it():
    network = Network()
    fid = metric_of(network)
    assert fid.to("meta") is fid
    assert next(network.parameters()).device.type == "meta"


def metric_of(network):
    return FrechetInceptionDistance(feature=network)


@pytest.mark.parametrize("one", [1, torch.tensor(1), np.int64(1)])
def test_real_may_be_one_or_zero(one):
    found = FrechetInceptionDistance(channel_means)
    found.update(images(3), one)
    found.update(images(4), real=one - 1)
    assert (found.n_real, found.n_fake) == (3, 4)


@pytest.mark.parametrize("normalize", [False, True])
def test_gray_is_the_same_in_all_channels(normalize):
    gray = images(5)[..., :1]
    given = gray.permute(0, 3, 1, 2)
    seen = []
    spy = lambda images: seen.append(images) or channel_means(images)  # noqa: E731
    found = FrechetInceptionDistance(spy, normalize=normalize)
    found.update(given / 255 if normalize else given, real=True)
    assert torch.equal(seen[0], gray.expand(-1, -1, -1, 3))


def test_inference_mode():
    found = FrechetInceptionDistance(channel_means)
    with torch.inference_mode():
        found.update(images(), real=True)
        found.update(images(), real=False)
    found.update(images(), real=False)
    assert found.compute() >= 0


def test_too_few_images():
    found = metric(images(2), images(1))
    with pytest.raises(ValueError, match="got 1 images with real=False; give at least 2"):
        found.compute()
    with pytest.raises(ValueError, match="got 0 images with real=True"):
        FrechetInceptionDistance(channel_means).compute()
    found.update(images(2), real=False)
    with pytest.warns(UserWarning, match="2 real and 3 generated images in 3 dimensions") as caught:
        found.compute()
    assert caught[0].filename == __file__
    found.update(images(1), real=True)
    found.update(images(1), real=False)
    with pytest.warns(UserWarning, match="3 real and 4 generated"):
        found.compute()
    found.update(images(1), real=True)
    found.compute()  # four of each: as many as a covariance of three features needs


@pytest.mark.parametrize(
    "given, kwargs, match",
    [
        (torch.rand(2, 3, 4, 4), {}, "got torch.float32; give uint8"),
        (images(2), {"normalize": True}, "leave normalize out"),
        (torch.rand(2, 3, 4, 4) * 2, {"normalize": True}, "from 0 to 1"),
        (torch.rand(2, 3, 4, 4) - 0.5, {"normalize": True}, "tanh"),
        (torch.rand(2, 3, 4, 4) * 255, {"normalize": True}, "of 0 to 255, x / 255"),
        (torch.full((2, 3, 4, 4), 1.00001), {"normalize": True}, r"got 1.00001 to 1.00001"),
        (torch.full((2, 3, 4, 4), torch.nan), {"normalize": True}, "from 0 to 1"),
        (torch.zeros(2, 2, 4, 4, dtype=torch.uint8), {}, "3 channels or 1"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), {}, "shape"),
        (torch.zeros(2, 3, 0, 4, dtype=torch.uint8), {}, "shape"),
        ([1], {}, "got a list; give a torch tensor"),
    ],
)
def test_bad_images(given, kwargs, match):
    found = FrechetInceptionDistance(channel_means, **kwargs)
    with pytest.raises(ValueError, match=match):
        found.update(given, real=True)
    assert found.n_real == 0


def test_bad_extractors_and_arguments():
    for extractor, match in (
        (lambda x: torch.zeros(len(x)), r"features of shape \(40,\); give one of \(40, d\)"),
        (lambda x: torch.zeros(1, 3), r"of shape \(1, 3\)"),
        (lambda x: "features", "of shape str"),
        (lambda x: torch.full((len(x), 3), torch.nan), "NaN"),
    ):
        found = FrechetInceptionDistance(extractor)
        with pytest.raises(ValueError, match=match):
            found.update(images(), real=True)
        assert found.n_real == 0
    widths = iter((3, 4))
    found = FrechetInceptionDistance(lambda x: torch.zeros(len(x), next(widths)))
    found.update(images(), real=True)
    with pytest.raises(ValueError, match="got 4 features, and 3 before"):
        found.update(images(), real=False)
    for kwargs, match in (
        ({"feature": 100}, "feature: got 100; give one of 64, 192, 768, 2048"),
        ({"feature": [1, 2]}, "feature"),
        ({"feature": channel_means, "extractor": channel_means}, "got both"),
        ({"extractor": 2048}, "extractor: got a int; give None, or a callable"),
        ({"normalize": 1}, "normalize"),
        ({"reset_real_features": None}, "reset_real_features"),
    ):
        with pytest.raises(ValueError, match=match):
            FrechetInceptionDistance(**kwargs)
    for wrong in (2, "fake", 0.9, None):
        with pytest.raises(ValueError, match=f"real: got {wrong!r}; give True or False"):
            found.update(images(), real=wrong)
