"""Two processes hold, after all_reduce, what one would: moments, chunks, score and sample."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ganfast.metrics.summary import Summary

N, DIM = 500, 6
CASES = ((2, None), (1, None), (N, None), (2, 30))
"""Images of the first process: every k-th, or (with the second number) of the first so many."""


def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, DIM, generator=generator), torch.randn(N, 4, generator=generator)


def summary(seed=3):
    return Summary(DIM, classes=4, splits=3, chunks=4, sample=60, seed=seed)


def filled(positions):
    features, logits = images()
    found = summary()
    found.add(features[positions], logits[positions], positions)
    return found


def shares(case):
    count = N if case[1] is None else case[1]
    first = list(range(0, count, case[0]))
    return first, [i for i in range(count) if i not in set(first)]


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    states = []
    for case in CASES:
        own = filled(shares(case)[rank])
        own.all_reduce()
        states.append(own.state_dict())
    refusals = []
    for own in (summary(seed=rank), filled([5, 6])):
        try:
            own.all_reduce()
        except ValueError as error:
            refusals.append(str(error))
    torch.save((states, refusals), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_uneven_ranks(tmp_path):
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    (states, refusals), (others, same) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert refusals == same
    assert "make it alike" in refusals[0] and "got 5 in several" in refusals[1]
    for case, state, other in zip(CASES, states, others, strict=True):
        assert all(torch.equal(state[key], other[key]) for key in state)
        found, whole = summary(), filled(sorted(sum(shares(case), [])))
        found.load_state_dict(state)
        assert found.count == whole.count
        assert found.inception_score() == pytest.approx(whole.inception_score(), rel=1e-12)
        assert torch.equal(found.sample, whole.sample)
        pairs = [(found.moments, whole.moments)]
        pairs += zip(found.chunk_moments, whole.chunk_moments, strict=True)
        for one, two in pairs:
            assert one.count == two.count
            torch.testing.assert_close(one.mean, two.mean, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(one.covariance, two.covariance, rtol=1e-12, atol=1e-12)
