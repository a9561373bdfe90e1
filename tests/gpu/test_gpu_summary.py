"""What one pass keeps, summed up on the device: the CPU's numbers, and nothing waits for them."""

from __future__ import annotations

import pytest
import torch

from ganfast.metrics.summary import Summary
from ganfast.metrics.summary.feature_file import FeatureFile
from ganfast.metrics.summary.late_checks import MOST
from testing.host_calls import HostCalls

pytestmark = pytest.mark.gpu
N, DIM, CLASSES, BATCH = 200, 6, 5, 16
KINDS = {
    "FID": {},
    "Inception Score": {"classes": CLASSES, "splits": 4},
    "KID": {"sample": 40},
    "chunks": {"chunks": 5},
    "all": {"classes": CLASSES, "splits": 4, "sample": 40, "chunks": 5},
}


def images():
    source = torch.Generator().manual_seed(1)
    return (
        torch.randn(N, DIM, generator=source) + 3,
        3 * torch.randn(N, CLASSES, generator=source),
    )


def filled(features, logits, device="cuda", **kwargs):
    found = Summary(DIM, device=device, **kwargs)
    for start in range(0, len(features), BATCH):
        where = range(start, min(start + BATCH, len(features)))
        found.add(features[where].to(device), logits[where].to(device), where)
    return found


@pytest.mark.parametrize("kwargs", KINDS.values(), ids=KINDS)
def test_the_cpus_numbers(kwargs):
    found, wanted = filled(*images(), **kwargs), filled(*images(), device="cpu", **kwargs)
    torch.testing.assert_close(found.moments.covariance.cpu(), wanted.moments.covariance)
    assert torch.equal(found.sample, wanted.sample)
    for one, two in zip(found.chunk_moments, wanted.chunk_moments, strict=True):
        torch.testing.assert_close(one.mean.cpu(), two.mean)
    if found.classes is not None:
        assert found.inception_score() == pytest.approx(wanted.inception_score(), rel=1e-12)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("kwargs", KINDS.values(), ids=KINDS)
def test_nothing_waits_for_a_batch(kwargs):
    features, logits = (x.cuda() for x in images())
    found = Summary(DIM, device="cuda", **kwargs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with HostCalls() as calls:
            for start in range(0, N, BATCH):
                where = range(start, min(start + BATCH, N))
                rows = slice(where.start, where.stop)
                found.add(features[rows], logits[rows], where)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not calls.waits and not calls.copies["pageable"]
    with HostCalls() as calls:
        found.settle()
    assert calls.waits["cpu"] <= 2  # all features, all logits


@pytest.mark.parametrize("name", ["features", "logits"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_not_finite_is_told_by_position_at_the_next_reading(name, value):
    features, logits = images()
    (features if name == "features" else logits)[[3, 108], 1] = value
    found = filled(features, logits, **KINDS["all"])
    message = f"{name}: got NaN or inf for 2 of 200 images, at the positions 3, 108;"
    for read in (
        found.settle,
        found.state_dict,
        found.inception_score,
        lambda: found.moments,
        lambda: found.chunk_moments,
        lambda: found.sample,
        lambda: found.add(features[:1].cuda(), logits[:1].cuda(), [N]),
    ):
        with pytest.raises(ValueError, match=message):
            read()
    found.load_state_dict(filled(*images(), **KINDS["all"]).state_dict())
    assert found.count == N and found.moments.count == N


def test_it_is_told_before_the_last_of_many_images():
    found, bad = Summary(1, device="cuda"), torch.full((1, 1), torch.nan, device="cuda")
    with pytest.raises(ValueError, match=f"for {MOST} of {MOST} images"):
        for i in range(MOST + 1):
            found.add(bad, None, [i])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_large_but_finite(dtype):
    found = Summary(1000, device="cuda", classes=2)
    largest = min(torch.finfo(dtype).max / 4, 1e306)  # a row's sum is inf, in float64 too
    found.add(torch.full((10, 1000), largest, dtype=dtype).cuda(), torch.ones(10, 2).cuda() * 3,
              range(10))  # fmt: skip
    assert found.moments.mean[0] == pytest.approx(largest, rel=1e-3)


def test_probabilities_are_not_taken_for_logits():
    found = Summary(DIM, classes=4, device="cuda")
    logits = torch.randn(3, 4).cuda()
    found.add(torch.zeros(3, DIM).cuda(), logits, range(3))
    found.settle()
    found.add(torch.zeros(3, DIM).cuda(), logits.softmax(1), range(3, 6))
    with pytest.raises(ValueError, match="logits that are probabilities"):
        found.settle()
    one = Summary(DIM, classes=1, device="cuda")
    one.add(torch.zeros(3, DIM).cuda(), torch.ones(3, 1).cuda(), range(3))
    one.settle()


@pytest.mark.parametrize("kwargs", KINDS.values(), ids=KINDS)
def test_a_state_goes_on_with_the_same_bits(kwargs):
    features, logits = images()
    whole, begun = filled(features, logits, **kwargs), filled(features[:96], logits[:96], **kwargs)
    on = Summary(DIM, device="cuda", **kwargs)
    on.load_state_dict({key: value.cpu() for key, value in begun.state_dict().items()})
    for start in range(96, N, BATCH):
        where = range(start, min(start + BATCH, N))
        on.add(features[where].cuda(), logits[where].cuda(), where)
    one, two = on.state_dict(), whole.state_dict()
    assert all(torch.equal(one[key].cpu(), two[key].cpu()) for key in two)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_of_all_images_in_a_file(dtype, tmp_path):
    """Copied while the GPU goes on, and the tensor may then be written to again."""
    features, logits = images()
    file = FeatureFile(DIM, dtype=dtype, folder=tmp_path)
    found = Summary(DIM, device="cuda", features=file)
    memory = torch.empty(BATCH, DIM, device="cuda")
    for start in range(0, N, BATCH):
        where = range(start, min(start + BATCH, N))
        rows = memory[: len(where)].copy_(features[where])
        found.add(rows, None, where)
        rows.zero_()
    wanted = features.to(getattr(torch, dtype))
    assert torch.equal(found.all_features.rows(), wanted)
    assert found.all_features.positions().tolist() == list(range(N))
