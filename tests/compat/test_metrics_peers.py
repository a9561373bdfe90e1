"""Metrics of the same features, and statistics files, by the projects that people know."""

import importlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from ganfast.metrics import Moments, manifold_metrics
from ganfast.metrics.distances.kid import squared_discrepancy
from ganfast.metrics.extractors import load_extractor
from ganfast.metrics.frechet_inception_distance import FrechetInceptionDistance
from ganfast.metrics.statistics import Statistics
from testing.inception_weights import save_random_weights, smooth_pictures
from testing.torchvision_stub import import_torchvision


def peer(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_torchvision()
            return importlib.import_module(module)
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"{module} cannot be imported here: {error}")


@pytest.mark.parametrize("n, d", [(10, 3), (100, 64)])
def test_kernel_distance_of_the_same_subset(n, d):
    theirs = peer("torchmetrics.image.kid").poly_mmd
    x, y = torch.relu(torch.randn(2, n, d, dtype=torch.float64))
    assert squared_discrepancy(x, y + 0.3) == pytest.approx(float(theirs(x, y + 0.3)), rel=1e-10)


def manifolds():
    """Features as a network gives them (not negative), with duplicates on neither side: torch and
    scikit-learn take |x|^2 + |y|^2 - 2 x.y, which says of equal rows that they are apart."""
    source = torch.Generator().manual_seed(0)
    real, fake = torch.relu(torch.randn(2, 400, 64, generator=source))
    return real, torch.relu(1.1 * fake - 0.1)


def test_prdc():
    theirs = peer("prdc").compute_prdc
    real, fake = (x.double() for x in manifolds())
    for k in (1, 5, 12):
        ours = manifold_metrics(real, fake, k=k)
        for name, value in theirs(real.numpy(), fake.numpy(), nearest_k=k).items():
            assert getattr(ours, name) == pytest.approx(value, rel=1e-12), (name, k)


def test_precision_and_recall_of_torch_fidelity():
    """Its first argument is what is generated."""
    theirs = peer("torch_fidelity.metric_prc").prc_features_to_metric
    real, fake = (x.double() for x in manifolds())
    for k in (1, 3, 12):
        options = {"prc_neighborhood": k, "prc_batch_size": 150, "save_cpu_ram": k == 3}
        other = theirs(fake, real, verbose=False, **options)
        ours = manifold_metrics(real, fake, k=k)
        assert ours.precision == pytest.approx(other["precision"], rel=1e-6)  # a float32 mean
        assert ours.recall == pytest.approx(other["recall"], rel=1e-6)


class Pooled(nn.Module):
    num_features = 12

    def forward(self, x):
        return x.float().unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((3, 5)).flatten(1)


def test_torchmetrics_in_its_own_words():
    theirs = peer("torchmetrics.image.fid").FrechetInceptionDistance
    network = Pooled()
    metrics = [FrechetInceptionDistance(network), theirs(feature=network).set_dtype(torch.double)]
    draw = [torch.randint(0, 256 - 50 * i, (2, 40, 3, 8, 8), dtype=torch.uint8) for i in (0, 1)]
    for metric in metrics:
        for real, fake in zip(*draw, strict=True):
            metric.update(real, real=True)
            metric.update(fake, real=False)
    ours, other = (float(metric.compute()) for metric in metrics)
    assert ours == pytest.approx(other, rel=1e-8)


def test_torchmetrics_at_a_layer(tmp_path):
    """The same weights and images of the network's size: torch-fidelity's scaling, as theirs."""
    theirs = peer("torchmetrics.image.fid").FrechetInceptionDistance
    path = str(tmp_path / "weights.pth")
    save_random_weights(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = theirs(64, feature_extractor_weights_path=path)
    extractor = load_extractor(weights=path, dims=64, protocol="torch-fidelity")
    metrics = [FrechetInceptionDistance(extractor), other.set_dtype(torch.double)]
    for i, side in enumerate((True, False)):
        images = ((smooth_pictures(16, seed=i) + 1) * (127 - 20 * i)).to(torch.uint8)
        for metric in metrics:
            metric.update(images, real=side)
    with pytest.warns(UserWarning, match="fewer than 65"):
        ours = float(metrics[0].compute())
    assert ours == pytest.approx(float(metrics[1].compute()), rel=1e-4)


def test_pytorch_fid_reads_statistics(tmp_path):
    theirs = peer("pytorch_fid.fid_score")
    found = Moments(6)
    found.update(torch.randn(50, 6))
    path = str(tmp_path / "a.npz")
    Statistics.from_moments(found, protocol="pytorch-fid").save(path)
    mu, sigma = theirs.compute_statistics_of_path(path, None, 50, 6, "cpu")
    assert np.array_equal(mu, found.mean.numpy())
    assert np.array_equal(sigma, found.covariance.numpy())
