"""Two processes with different numbers of images hold, after all_reduce, what one would."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from helpers import two_processes
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data.distributed import DistributedSampler

from ganfast.metrics import FrechetInceptionDistance, Moments, Summary, evaluate
from ganfast.metrics import distributed as metrics_distributed

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")


def work(rank, folder):
    """In each of two processes: all that the tests below look at."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    seen = {"moments": moments_of(rank), "summary": summaries_of(rank), "fid": distances_of(rank)}
    seen["alone"] = alone_of(rank)
    seen["evaluate"] = evaluations_of(rank)
    seen["classes"] = classes_by(slice(None, 15) if rank == 0 else slice(15, None))
    seen["kept"] = kept_by(folder)
    torch.save(seen, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """By the name of the part, what the first and the second process saw."""
    folder = tmp_path_factory.mktemp("processes")
    two_processes(work, str(folder))
    first, second = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    return SimpleNamespace(**{name: (first[name], second[name]) for name in first})


def refusal(call) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "nothing was refused"


# ---- Moments

ROWS = ((1500, 37, 0.5), (1100, 0, 0.5), (0, 5, 0.5), (1, 1, 0.5), (1025, 400, 1e7))
"""Rows of either process, and the mean."""


def rows(case):
    generator = torch.Generator().manual_seed(1)
    n = case[0] + case[1]
    x = torch.randn(n, 12, dtype=torch.float64, generator=generator) + case[2]
    return x[: case[0]], x[case[0] :]


def moments_of(rank):
    values = []
    for case in ROWS:
        own = Moments(12)
        own.update(rows(case)[rank])
        own.all_reduce()
        values.append((own.count, own.mean, own.covariance))
    return values, refusal(Moments(3 + rank).all_reduce)


def test_moments(seen):
    (first, refused), (second, also_refused) = seen.moments
    assert "[3, 4] by rank" in refused and refused == also_refused
    for case, one, two in zip(ROWS, first, second, strict=True):
        whole = Moments(12)
        whole.update(torch.cat(rows(case)))
        assert one[0] == two[0] == whole.count
        assert torch.equal(one[1], two[1]) and torch.equal(one[2], two[2])
        torch.testing.assert_close(one[1], whole.mean, rtol=1e-12, atol=1e-12)
        tolerance = 1e-12 if case[2] < 1e6 else 1e-8
        torch.testing.assert_close(one[2], whole.covariance, rtol=tolerance, atol=tolerance)


# ---- Summary: moments, chunks, score and sample

N, DIM = 500, 6
SHARES = ((2, None), (1, None), (N, None), (2, 30))
"""Images of the first process: every k-th, or (with the second number) of the first so many."""


def summary(seed=3):
    return Summary(DIM, classes=4, splits=3, chunks=4, sample=60, spatial=2, seed=seed)


def filled(positions):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(N, DIM, generator=generator)
    logits = torch.randn(N, 4, generator=generator)
    made = summary()
    made.add(features[positions], logits[positions], positions, features[positions, :2].square())
    return made


def shares(case):
    count = N if case[1] is None else case[1]
    first = list(range(0, count, case[0]))
    return first, [i for i in range(count) if i not in set(first)]


def summaries_of(rank):
    states = []
    for case in SHARES:
        own = filled(shares(case)[rank])
        own.all_reduce()
        states.append(own.state_dict())
    return states, [refusal(own.all_reduce) for own in (summary(seed=rank), filled([5, 6]))]


def test_summary(seen):
    (states, refusals), (others, same) = seen.summary
    assert refusals == same
    assert "make it alike" in refusals[0] and "got 5 in several" in refusals[1]
    for case, state, other in zip(SHARES, states, others, strict=True):
        assert all(torch.equal(state[key], other[key]) for key in state)
        reduced, whole = summary(), filled(sorted(sum(shares(case), [])))
        reduced.load_state_dict(state)
        assert reduced.count == whole.count
        assert reduced.inception_score() == pytest.approx(whole.inception_score(), rel=1e-12)
        assert torch.equal(reduced.sample, whole.sample)
        pairs = [(reduced.moments, whole.moments)]
        pairs += zip(reduced.chunk_moments, whole.chunk_moments, strict=True)
        pairs += [(reduced.spatial_moments, whole.spatial_moments)]
        for one, two in pairs:
            assert one.count == two.count
            torch.testing.assert_close(one.mean, two.mean, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(one.covariance, two.covariance, rtol=1e-12, atol=1e-12)


# ---- FrechetInceptionDistance: compute() twice, and then over more images


def channel_means(images):
    return images.float().mean((1, 2))


def images(seed, n):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256 - seed, (n, 4, 4, 3), dtype=torch.uint8, generator=generator)


PARTS = ((slice(0, 40), slice(0, 25), slice(25, 30)), (slice(40, 40), slice(30, 50), slice(0, 0)))
"""By rank: real images, generated ones, and those that come after the first compute()."""


def alone_of(rank):
    """compute() in the first process alone: with sync=False, and without, until the others end."""
    group = dist.new_group([0, 1], timeout=timedelta(seconds=2))
    metric = FrechetInceptionDistance(channel_means, process_group=group)
    metric.update(images(0, 40), real=True)
    metric.update(images(50, 50), real=False)
    if rank:
        return None
    own = metric.compute(sync=False)
    metric.sync = False
    metrics_distributed.PATIENCE = 0.2  # in this process alone
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refused = refusal(lambda: metric.compute(sync=True))
    metrics_distributed.PATIENCE = 30.0
    return own, metric.compute(), refused, [(str(one.message), one.filename) for one in caught]


def test_one_process_alone(seen):
    (own, again, refused, warned), _ = seen.alone
    metric = FrechetInceptionDistance(channel_means, sync=False)
    metric.update(images(0, 40), real=True)
    metric.update(images(50, 50), real=False)
    assert own == again == metric.compute()
    assert "call it in all of them, or with sync=False" in refused
    assert len(warned) == 1 and "waits for the other processes" in warned[0][0]
    assert warned[0][1] == __file__


def distances_of(rank):
    real, fake = images(0, 40), images(50, 50)
    metric = FrechetInceptionDistance(channel_means)
    refused = refusal(metric.compute)
    if rank == 0:  # the other never sees a real image, not even none of them
        metric.update(real[PARTS[rank][0]], real=True)
    metric.update(fake[PARTS[rank][1]], real=False)
    values = [metric.compute(), metric.compute()]
    metric.update(fake[PARTS[rank][2]], real=False)
    return refused, [*values, metric.compute()], (metric.n_real, metric.n_fake)


def test_frechet_inception_distance(seen):
    (refused, values, counts), (also_refused, others, other_counts) = seen.fid
    assert (counts, other_counts) == ((40, 30), (0, 20))
    assert refused == also_refused and values == others
    assert "got 0 images with real=True" in refused
    real, fake = images(0, 40), images(50, 50)
    metric = FrechetInceptionDistance(channel_means)
    metric.update(real, real=True)
    metric.update(torch.cat([fake[:25], fake[30:]]), real=False)
    torch.testing.assert_close(values[0], metric.compute(), rtol=1e-10, atol=0)
    assert values[0] == values[1]
    metric.update(fake[25:30], real=False)
    torch.testing.assert_close(values[2], metric.compute(), rtol=1e-10, atol=0)


# ---- evaluate(): each image once, whoever divides them


class Own(IterableDataset):
    """Every second image, beginning with this process's number."""

    def __init__(self, rank):
        self.rank = rank

    def __iter__(self):
        return iter(pictures()[self.rank :: 2])


def pictures(n=40):
    return images(0, n).permute(0, 3, 1, 2)


def generator(rank):
    """Each process draws images of its own: the even ones, or the odd ones."""
    place = [rank]

    def draw(n):
        found = pictures()[place[0] :: 2][:n]
        place[0] += 2 * n
        return found

    return draw, 40


def distributed(n):
    sampler = DistributedSampler(pictures(n), shuffle=False)
    return DataLoader(pictures(n), batch_size=5, sampler=sampler)


STREAMS = {
    "one loader": lambda rank: DataLoader(pictures(), batch_size=3),
    "a function": lambda rank: lambda: iter(pictures().split(7)),
    "DistributedSampler": lambda rank: distributed(40),
    "an uneven DistributedSampler": lambda rank: distributed(39),
    "its own dataset": lambda rank: DataLoader(pictures()[rank::2], batch_size=3),
    "its own iterable": lambda rank: DataLoader(Own(rank), batch_size=3),
    "unequal shares": lambda rank: [pictures()[:31] if rank else pictures()[31:]],
    "a generator": generator,
    "an array": lambda rank: pictures(),
}
REFUSED = {
    "shuffled": lambda rank: DataLoader(
        pictures(), shuffle=True, generator=torch.Generator().manual_seed(rank)
    ),
    "a sampler in one": lambda rank: DataLoader(pictures()) if rank else distributed(40),
    "other arrays": lambda rank: pictures()[rank * 20 :][:20],
    "other lengths": lambda rank: DataLoader(pictures()[: 30 + rank]),
}


def evaluated(real, fake, **more):
    given = {"extractor": "tiny_network:network", "device": "cpu", "batch_size": 5, "splits": 2}
    return evaluate(real, fake, kid=True, prdc=True, **given, **more)


def evaluations_of(rank):
    fake = images(50, 50)
    found = {kind: evaluated(make(rank), fake) for kind, make in STREAMS.items()}
    kept = ("fid", "n_real", "kid_mean", "prdc_density", "notes")
    found = {kind: {key: one[key] for key in kept} for kind, one in found.items()}
    return found | {
        kind: refusal(lambda m=m: evaluated(m(rank), fake)) for kind, m in REFUSED.items()
    }


def kept_by(folder, name="kept"):
    """With the features of all images, which the processes share."""
    into = Path(folder) / name
    into.mkdir(exist_ok=True)
    given = {"prdc_full": True, "swd_full": True, "features_folder": into, "keep_features": True}
    found = evaluated(pictures(), images(50, 50), **given)
    kept = {path.name: torch.from_numpy(np.load(path)) for path in sorted(into.glob("*.npy"))}
    return {key: found[key] for key in ("prdc_density", "prdc_recall", "prdc_n_fake", "swd")}, kept


def test_the_features_of_all_images_come_together(seen, tmp_path):
    (found, kept), (other, _) = seen.kept
    whole, alone = kept_by(tmp_path)
    assert found == other == pytest.approx(whole, rel=1e-5)
    for name, rows in alone.items():  # in the order of the images
        torch.testing.assert_close(kept[name], rows, rtol=1e-5, atol=1e-5)
    assert len(kept) == 2


def classes_by(share):
    """By class, of a loader whose labels each process knows a part of."""
    labels = torch.tensor([3] * 10 + [1] * 10 + [2] * 20)
    loader = [(pictures()[share], labels[share])]
    fake = [(images(50, 50), torch.arange(50) % 4)] if share == slice(None) else [
        (images(50, 50)[share], (torch.arange(50) % 4)[share])]  # fmt: skip
    return evaluated(loader, fake, per_class=True)["fid_per_class"]


def test_classes_of_which_each_process_has_seen_some(seen):
    first, second = seen.classes
    assert first == second and set(first) == {"1", "2", "3"}
    whole = classes_by(slice(None))
    assert first == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("kind", STREAMS)
def test_evaluate_takes_each_image_once(seen, kind):
    found, other = (part[kind] for part in seen.evaluate)
    whole = evaluated(pictures(), images(50, 50))
    assert found == other and found["n_real"] == 40
    if "uneven" in kind:
        assert "(with 1 repeated" in " ".join(found["notes"])
    else:
        assert found["fid"] == pytest.approx(whole["fid"], rel=1e-6)
        assert found["prdc_density"] == pytest.approx(whole["prdc_density"], abs=0.02)
    notes = [note for note in found["notes"] if "process" in note]
    assert len(notes) == (kind != "an array")
    if notes:
        alike = kind in ("one loader", "a function")
        assert ("see the same" in notes[0]) == alike and ("all of" in notes[0]) != alike


@pytest.mark.parametrize(
    "kind, words",
    [
        ("shuffled", "shuffles in another order in each process; give shuffle=False"),
        ("a sampler in one", "a loader with DistributedSampler in some processes only"),
        ("other arrays", "other images in one process"),
        ("other lengths", "got 30, 31 images by process"),
    ],
)
def test_what_processes_cannot_share_is_refused(seen, kind, words):
    first, second = (part[kind] for part in seen.evaluate)
    assert words in first and first == second
