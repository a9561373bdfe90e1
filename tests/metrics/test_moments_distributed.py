"""Two processes with different numbers of rows hold, after all_reduce, what one would."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ganfast.metrics import Moments

CASES = ((1500, 37, 0.5), (1100, 0, 0.5), (0, 5, 0.5), (1, 1, 0.5), (1025, 400, 1e7))
"""Rows of either process, and the mean."""


def rows(case):
    generator = torch.Generator().manual_seed(1)
    n = case[0] + case[1]
    x = torch.randn(n, 12, dtype=torch.float64, generator=generator) + case[2]
    return x[: case[0]], x[case[0] :]


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = []
    for case in CASES:
        own = Moments(12)
        own.update(rows(case)[rank])
        own.all_reduce()
        found.append((own.count, own.mean, own.covariance))
    try:
        Moments(3 + rank).all_reduce()
    except ValueError as error:
        found.append(str(error))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_uneven_ranks(tmp_path):
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert "[3, 4] by rank" in first.pop() and "[3, 4] by rank" in second.pop()
    for case, one, two in zip(CASES, first, second, strict=True):
        whole = Moments(12)
        whole.update(torch.cat(rows(case)))
        assert one[0] == two[0] == whole.count
        assert torch.equal(one[1], two[1]) and torch.equal(one[2], two[2])
        torch.testing.assert_close(one[1], whole.mean, rtol=1e-12, atol=1e-12)
        tolerance = 1e-12 if case[2] < 1e6 else 1e-8
        torch.testing.assert_close(one[2], whole.covariance, rtol=tolerance, atol=tolerance)
