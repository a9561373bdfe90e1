"""compute() over two processes, twice, and then over more images; one may have none of a side."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ganfast.metrics.frechet_inception_distance import FrechetInceptionDistance


def features(images):
    return images.float().mean((1, 2))


def images(seed, n):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256 - seed, (n, 4, 4, 3), dtype=torch.uint8, generator=generator)


# By rank: real images, generated ones, and those that come after the first compute().
SHARES = ((slice(0, 40), slice(0, 25), slice(25, 30)), (slice(40, 40), slice(30, 50), slice(0, 0)))


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    real, fake = images(0, 40), images(50, 50)
    metric = FrechetInceptionDistance(features)
    found = []
    try:
        metric.compute()
    except ValueError as error:
        found.append(str(error))
    if rank == 0:  # the other never sees a real image, not even none of them
        metric.update(real[SHARES[rank][0]], real=True)
    metric.update(fake[SHARES[rank][1]], real=False)
    found += [metric.compute(), metric.compute()]
    metric.update(fake[SHARES[rank][2]], real=False)
    found += [metric.compute(), metric.n_real, metric.n_fake]
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_two_processes(tmp_path):
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first[4:] == [40, 30] and second[4:] == [0, 20]
    assert first[:4] == second[:4]
    assert "got 0 images with real=True" in first[0]
    real, fake = images(0, 40), images(50, 50)
    metric = FrechetInceptionDistance(features)
    metric.update(real, real=True)
    metric.update(torch.cat([fake[:25], fake[30:]]), real=False)
    torch.testing.assert_close(first[1], metric.compute(), rtol=1e-10, atol=0)
    assert first[1] == first[2]
    metric.update(fake[25:30], real=False)
    torch.testing.assert_close(first[3], metric.compute(), rtol=1e-10, atol=0)
