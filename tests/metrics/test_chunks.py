"""Moments of selections of chunks against those of their images."""

import numpy as np
import pytest
import torch

from ganfast.linalg import frechet_distance
from ganfast.metrics.distances.chunks import Chunks, distances
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary
from ganfast.metrics.summary.chunked_moments import PURPOSE
from ganfast.metrics.summary.sample import position_hash

N, DIM, K = 300, 4, 6


def side(shift=0.0, seed=3):
    x = (torch.randn(N, DIM) + shift).double()
    summary = Summary(DIM, chunks=K, seed=seed)
    summary.add(x, None, range(N))
    return x, summary


@pytest.mark.parametrize("shift, tolerance", [(0.5, 1e-12), (1e5, 1e-9)])
def test_an_image_counts_as_often_as_its_chunk(shift, tolerance):
    x, summary = side(shift)
    chunk = torch.from_numpy((position_hash(np.arange(N), 3, PURPOSE) % K).astype(np.int64))
    weights = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 2, 1, 0, 3, 0], [0, 0, 1, 0, 0, 0]])
    means, covariances = Chunks.of(summary, "real").moments(weights)
    for row, mean, covariance in zip(weights, means, covariances, strict=True):
        rows = x.repeat_interleave(row[chunk], 0)
        torch.testing.assert_close(mean, rows.mean(0), rtol=1e-13, atol=1e-13)
        expected = torch.cov(rows.T)
        torch.testing.assert_close(covariance, expected, rtol=tolerance, atol=tolerance)


def test_distances_are_the_same_in_any_batches(monkeypatch):
    (_, real), (_, fake) = side(), side(0.3)
    one, two = Chunks.of(real, "real"), Chunks.of(fake, "fake")
    a, b = torch.randint(0, 3, (2, 7, K)) + (torch.arange(K) < 2)
    together = distances(one, two, a, b)
    monkeypatch.setattr("ganfast.metrics.distances.chunks._BATCH_BYTES", 8 * DIM * DIM * 2)
    torch.testing.assert_close(distances(one, two, a, b), together, rtol=1e-11, atol=0)
    (m1, s1), (m2, s2) = one.moments(a), two.moments(b)
    for i, value in enumerate(together):
        expected = frechet_distance(m1[i], s1[i], m2[i], s2[i])
        torch.testing.assert_close(value, expected, rtol=1e-11, atol=0)


def test_statistics_are_fixed():
    _, fake = side()
    fixed = Statistics(torch.zeros(DIM), torch.eye(DIM))
    one, two = Chunks.of(fixed, "real"), Chunks.of(fake, "fake")
    assert len(one) == 0 and one.dim == DIM
    found = distances(one, two, torch.ones(3, 0), torch.ones(3, K))
    assert found.shape == (3,) and (found == found[0]).all()


def test_empty_chunks_are_left_out_and_too_few_are_refused():
    x = torch.randn(12, DIM)
    summary = Summary(DIM, chunks=100)
    summary.add(x, None, range(12))
    chunks = Chunks.of(summary, "real")
    assert 4 <= len(chunks) <= 12 and chunks.counts.sum() == 12
    mean, covariance = chunks.moments(torch.ones(1, len(chunks)))
    torch.testing.assert_close(covariance[0], torch.cov(x.double().T))
    few = Summary(DIM, chunks=3)
    few.add(x, None, range(12))
    none = Summary(DIM)
    none.add(x, None, range(12))
    for given, match in (
        (few, "real: got images in 3 chunks; give them in at least 4"),
        (none, "in 0 chunks; .* Summary with chunks=20"),
        (Summary(DIM, chunks=20), "real: got 0 images; give at least 2"),
        (summary.moments, "real: got a Moments; give a Summary with chunks, or Statistics"),
    ):
        with pytest.raises(ValueError, match=match):
            Chunks.of(given, "real")
    with pytest.raises(ValueError, match="selection with fewer than 2"):
        chunks.moments(torch.zeros(1, len(chunks)))
