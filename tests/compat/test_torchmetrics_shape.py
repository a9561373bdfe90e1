"""ganfast's metrics as torchmetrics' own: in a collection, sharing one network, over processes."""

from __future__ import annotations

import contextlib
import copy
import pickle

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from ganfast.metrics import (
    FrechetInceptionDistance,
    inception_score,
    kernel_inception_distance,
    manifold_metrics,
)
from testing.torchvision_stub import import_torchvision

with contextlib.suppress(ImportError):  # torchmetrics takes it where it is there
    import_torchvision()
torchmetrics = pytest.importorskip("torchmetrics")
shapes = pytest.importorskip("ganfast.compat.torchmetrics")

SIZE, CLASSES = 8, 4


class Network(nn.Module):
    """As an Extractor: uint8 (n, h, w, 3) to features and logits; counts what it is asked."""

    protocol, dim, classes = "none", 6, CLASSES

    def __init__(self):
        super().__init__()
        self.asked = []
        weight = torch.randn(3, self.dim, generator=torch.Generator().manual_seed(3))
        self.register_buffer("weight", weight / 100)

    def forward(self, x):
        assert x.dtype == torch.uint8 and x.shape[3] == 3
        self.asked.append(len(x))
        features = (x.float().mean((1, 2)) @ self.weight).sin()
        return features, 3 * features[:, :CLASSES]


def images(n, high=256, seed=0):
    random = torch.Generator().manual_seed(seed + high)
    return torch.randint(0, high, (n, 3, SIZE, SIZE), dtype=torch.uint8, generator=random)


REAL, FAKE = images(60), images(50, 250)
UPDATES = [(x, real) for side, real in ((REAL, True), (FAKE, False)) for x in side.split(16)]


def fed(metric, updates=UPDATES):
    for x, real in updates:
        metric.update(x, real=real)
    return metric


def collection(network, **kwargs):
    made = {
        "fid": shapes.FrechetInceptionDistance(extractor=network),
        "kid": shapes.KernelInceptionDistance(extractor=network, subset_size=20),
        "manifold": shapes.PrecisionRecall(extractor=network),
        "score": shapes.InceptionScore(extractor=network, splits=2),
    }
    return torchmetrics.MetricCollection(made, **kwargs)


@pytest.fixture
def expected():
    """The numbers of ganfast's functions, of all features at once."""
    network = Network()
    (real, _), (fake, logits) = (network(x.permute(0, 2, 3, 1)) for x in (REAL, FAKE))
    found = {"fid": fed(FrechetInceptionDistance(network)).compute().item()}
    manifold = manifold_metrics(real, fake)
    found |= {name: getattr(manifold, name) for name in ("precision", "recall", "density")}
    found["coverage"] = manifold.coverage
    halves = [inception_score(logits[part::2], splits=1)[0] for part in (0, 1)]
    return {**found, "score": (np.mean(halves), np.std(halves))}, (real, fake)


def assert_equal(found, expected):
    numbers, (real, fake) = expected
    assert set(found) == {*numbers, "kid"}
    for name, value in numbers.items():
        shown = tuple(map(float, found[name])) if name == "score" else float(found[name])
        assert shown == pytest.approx(value, rel=1e-9), name
    whole = kernel_inception_distance(real, fake, subset_size=50)[0]
    mean, deviation = map(float, found["kid"])
    assert abs(mean - whole) < 3 * deviation and deviation > 0


@pytest.mark.parametrize("groups", [True, False, [["fid"], ["kid", "manifold"], ["score"]]])
def test_a_collection_is_one_pass(groups, expected):
    network = Network()
    metrics = fed(collection(network, compute_groups=groups))
    assert network.asked == [len(x) for x, _ in UPDATES]
    assert_equal(metrics.compute(), expected)
    if groups is not False:
        together = [sorted(group) for group in metrics.compute_groups.values()]
        assert ["kid", "manifold"] in together and len(together) == 3
    metrics.reset()
    assert_equal(fed(metrics).compute(), expected)


def test_a_clone_is_of_its_own(expected):
    network = Network()
    metrics = fed(collection(network))
    other = metrics.clone(prefix="late_")
    other.update(images(20, 90), real=False)
    assert_equal(metrics.compute(), expected)
    changed = other.compute()
    assert float(changed["late_fid"]) > float(metrics.compute()["fid"])
    again = pickle.loads(pickle.dumps(metrics))
    assert_equal(again.compute(), expected)
    assert_equal(copy.deepcopy(metrics).compute(), expected)


def test_forward_is_update(expected):
    metrics = collection(Network())
    for x, real in UPDATES:
        assert set(metrics(x, real=real).values()) == {None}
    assert_equal(metrics.compute(), expected)


def test_a_state_that_is_saved(expected):
    metrics = collection(Network())
    metrics.persistent(True)
    fed(metrics)
    assert not list(metrics.parameters())
    other = collection(Network())
    other.persistent(True)
    other.load_state_dict(pickle.loads(pickle.dumps(metrics.state_dict())))
    for one in other.values():
        one._update_count = 1
    assert_equal(other.compute(), expected)


def test_no_conversion_reaches_sums_or_network():
    network = Network()
    fid = fed(shapes.FrechetInceptionDistance(extractor=network))
    whole = fid.compute()
    holder = nn.ModuleDict({"fid": fid}).half().double().to(torch.bfloat16).train()
    assert fid.real_products.dtype == torch.float64 and network.weight.dtype == torch.float32
    assert holder["fid"].compute() == whole and not network.training
    fid = fed(shapes.FrechetInceptionDistance(extractor=network)).set_dtype(torch.float32)
    assert fid.compute().dtype == torch.float32
    with pytest.raises(ValueError, match="dtype: got torch.int64"):
        fid.set_dtype(torch.int64)


def test_it_moves():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 5))
    network.num_features = 5
    metric = shapes.FrechetInceptionDistance(network).to("meta")
    assert metric.real_products.device.type == metric.device.type == "meta"
    assert network[1].weight.device.type == "meta"


def test_reset_keeps_real_features(expected):
    network = Network()
    made = {"reset_real_features": False, "extractor": network}
    metrics = torchmetrics.MetricCollection(
        [shapes.FrechetInceptionDistance(**made), shapes.PrecisionRecall(**made)]
    )
    fed(metrics)
    metrics.reset()
    found = fed(metrics, UPDATES[4:]).compute()
    assert float(found["FrechetInceptionDistance"]) == pytest.approx(expected[0]["fid"])
    assert float(found["recall"]) == expected[0]["recall"]


def test_merged_states(expected):
    parts = [fed(collection(Network()), UPDATES[i::2]) for i in (0, 1)]
    for name, metric in parts[0].items(copy_state=True):
        if name in ("fid", "manifold"):
            metric.merge_state(parts[1][name])
    found = parts[0]["fid"].compute(), parts[0]["manifold"].compute()["precision"]
    assert [float(x) for x in found] == pytest.approx(
        [expected[0]["fid"], expected[0]["precision"]], rel=1e-9
    )


def test_the_sample_is_bounded_and_random():
    network = Network()
    metric = shapes.PrecisionRecall(extractor=network, sample=15)
    other = shapes.PrecisionRecall(extractor=network, sample=15, seed=1)
    for each in (metric, other):
        fed(each)
    one, two = (each._sample("real") for each in (metric, other))
    assert len(one) == len(two) == 15 and not torch.equal(one, two)
    every = network(REAL.permute(0, 2, 3, 1))[0]
    where = [int((every == row).all(1).nonzero()) for row in one]
    assert len(set(where)) == 15 and max(where) > 30 and min(where) < 15
    names = [set(each._defaults) for each in (metric, other)]
    assert not names[0] & names[1]  # so that no group takes one for the other


def test_metrics_of_their_own_share_the_default_network(monkeypatch):
    from ganfast.metrics import extractors

    made = []

    def load(name, **kwargs):
        made.append(Network())
        made[-1].dim = 2048
        made[-1].weight = torch.randn(3, 2048)
        return made[-1]

    monkeypatch.setattr(extractors, "load_extractor", load)
    one, two = shapes.FrechetInceptionDistance(), shapes.KernelInceptionDistance()
    for x in (REAL[:5], REAL[5:9]):
        for each in (one, two):
            each.update(x, real=True)
    assert len(made) == 1 and made[0].asked == [5, 5, 4]  # shared once both have it


def test_the_same_network_is_asked_again_for_other_images():
    network = Network()
    one, two = (shapes.FrechetInceptionDistance(extractor=network) for _ in range(2))
    x = REAL[:5].clone()
    one.update(x, real=True)
    two.update(x, real=True)
    assert network.asked == [5]
    x[0] = 0
    two.update(x, real=True)
    assert network.asked == [5, 5]
    one.reset()
    one.update(x, real=True)
    assert network.asked == [5, 5, 5]


def test_plain_metrics_share_too():
    network = Network()
    for each in (a := FrechetInceptionDistance(network), b := FrechetInceptionDistance(network)):
        each.update(REAL, real=True)
    assert network.asked == [60] and a.n_real == b.n_real == 60


@pytest.mark.parametrize(
    ("kind", "kwargs", "words"),
    [
        ("FrechetInceptionDistance", {"feature": 100}, "feature: got 100"),
        ("PrecisionRecall", {"k": 0}, "k: got 0"),
        ("PrecisionRecall", {"sample": 1}, "sample: got 1"),
        ("KernelInceptionDistance", {"subsets": 0}, "subsets: got 0"),
        ("InceptionScore", {"splits": 0}, "splits: got 0"),
        ("InceptionScore", {"feature": 64}, "got one without logits"),
    ],
)
def test_bad_arguments(kind, kwargs, words):
    with pytest.raises(ValueError, match=words):
        getattr(shapes, kind)(**kwargs)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("FrechetInceptionDistance", "got 0 images with real=False; give at least 2"),
        ("KernelInceptionDistance", "got 0 images with real=False"),
        ("PrecisionRecall", "got 0 images with real=False"),
        ("InceptionScore", "got 0 generated images, which leave"),
    ],
)
def test_too_few_images(kind, words):
    metric = getattr(shapes, kind)(extractor=Network())
    metric.update(REAL, real=True)
    metric._update_count = 1
    with pytest.raises(ValueError, match=words):
        metric.compute()
    with pytest.raises(ValueError, match="real: got 2; give True or False"):
        metric.update(REAL, real=2)
    if kind == "FrechetInceptionDistance":
        fed(metric, [(FAKE[:4], False)])
        with pytest.warns(UserWarning, match="60 real and 4 generated images in 6 dimensions"):
            metric.compute()


def test_how_many_features_is_seen_where_nothing_tells():
    pooled = lambda x: x.float().mean((1, 2))  # noqa: E731
    metric = fed(shapes.FrechetInceptionDistance(pooled))
    assert metric.compute() == pytest.approx(
        fed(FrechetInceptionDistance(pooled)).compute().item(), rel=1e-9
    )
    with pytest.raises(ValueError, match="fails on images of 299 x 299 .*num_features"):
        shapes.FrechetInceptionDistance(nn.Linear(3, 4))


def two_processes(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    metrics = collection(Network())
    fed(metrics, UPDATES[:1] if rank else UPDATES[1:])  # rank 1 has no generated image
    found = [{k: torch.as_tensor(v) if k != "kid" else v for k, v in metrics.compute().items()}
             for _ in range(2)]  # fmt: skip
    own = int(metrics["fid"].real_count), len(metrics["manifold"]._sample("real"))
    torch.save((found[0], own), f"{folder}/{rank}.pt")
    assert repr(found[0]) == repr(found[1])
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_two_processes_with_different_numbers_of_images(tmp_path, expected):
    mp.spawn(two_processes, args=(str(tmp_path),), nprocs=2)
    (first, own), (second, others) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert repr(first) == repr(second)
    expected[0].pop("score")  # a process has parts of its own
    first.pop("score")
    assert_equal(first, expected)
    assert own == (44, 44) and others == (16, 16)  # each goes on with what it had
