"""One pass over a side: the same numbers however its images are divided, and none for bad ones."""

import random

import pytest
import torch

from ganfast.metrics import Moments, inception_score
from ganfast.metrics.summary import Summary

N, DIM, CLASSES = 700, 6, 5


def images():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(N, DIM, generator=generator) + 3
    return features, 3 * torch.randn(N, CLASSES, generator=generator)


def summary(**kwargs):
    kwargs = {"classes": CLASSES, "splits": 4, "chunks": 5, "sample": 40, "seed": 3, **kwargs}
    return Summary(DIM, **kwargs)


def divided(order, seed):
    draw = random.Random(seed)
    while order:
        size = draw.choice((0, 1, 7, 100))
        yield order[:size]
        order = order[size:]


def filled(order, seed=0, **kwargs):
    features, logits = images()
    found = summary(**kwargs)
    for positions in divided(order, seed):
        found.add(features[positions], logits[positions], positions)
    return found


def close(one, two):
    assert one.count == two.count
    parts = [one.moments, *one.chunk_moments], [two.moments, *two.chunk_moments]
    for a, b in zip(*parts, strict=True):
        assert a.count == b.count
        torch.testing.assert_close(a.mean, b.mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(a.covariance, b.covariance, rtol=1e-12, atol=1e-12)
    assert one.inception_score() == pytest.approx(two.inception_score(), rel=1e-12)
    assert torch.equal(one.sample, two.sample)


def equal(one, two):
    a, b = one.state_dict(), two.state_dict()
    assert list(a) == list(b)
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("chunks", [0, 1, 5])
def test_moments_are_those_of_all_images(chunks):
    features, _ = images()
    found, whole = filled(list(range(N)), chunks=chunks), Moments(DIM)
    whole.update(features)
    assert found.count == found.moments.count == N
    assert len(found.chunk_moments) == chunks
    torch.testing.assert_close(found.moments.mean, whole.mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(found.moments.covariance, whole.covariance, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_and_any_division(seed):
    order = list(range(N))
    random.Random(seed).shuffle(order)
    close(filled(order, seed), filled(list(range(N)), 7))


def test_chunks_are_drawn_by_position_and_seed():
    counts = [part.count for part in filled(list(range(N))).chunk_moments]
    # Binomial(700, 1/5) has a deviation of 10.6; five of them lie within 4 with p = 0.9997.
    assert sum(counts) == N and all(abs(count - N / 5) < 43 for count in counts)
    assert counts == [part.count for part in filled(list(range(N)), sample=1).chunk_moments]
    features, logits = images()
    reseeded = summary(seed=4)
    reseeded.add(features, logits, range(N))
    assert counts != [part.count for part in reseeded.chunk_moments]


def test_the_inception_score_is_that_of_the_parts_taken_in_turn():
    _, logits = images()
    by_part = torch.cat([logits[part::4] for part in range(4)])  # 700 = 4 * 175
    expected = inception_score(by_part, splits=4)
    assert filled(list(range(N))).inception_score() == pytest.approx(expected, rel=1e-12)


def test_the_sample_is_made_of_rows_each_once_and_is_spread_over_the_source():
    features, _ = images()
    found = filled(list(range(N))).sample
    assert found.shape == (40, DIM) and found.dtype == torch.float32
    where = [int((features == row).all(1).nonzero()) for row in found]
    assert len(set(where)) == 40
    # The mean position of 40 drawn without replacement has a deviation of 31; it is in no order.
    assert abs(sum(where) / 40 - N / 2) < 4 * 31
    assert where != sorted(where) and where != sorted(where, reverse=True)


def test_a_sample_larger_than_what_there_is():
    features, _ = images()
    found = filled(list(range(N)), sample=1000).sample
    assert found.shape == (N, DIM)
    torch.testing.assert_close(found.double().mean(0), features.double().mean(0))


def test_each_row_is_drawn_equally_often():
    x = torch.arange(20.0)[:, None]
    times = torch.zeros(20)
    for seed in range(2000):
        found = Summary(1, sample=5, seed=seed)
        found.add(x, None, range(20))
        times[found.sample[:, 0].long()] += 1
    # Binomial(2000, 1/4): deviation 19.4; twenty of them within 4.5 with p > 0.9998.
    assert (times - 500).abs().max() < 4.5 * 19.4


@pytest.mark.parametrize("at", [0, 1, 350])
@pytest.mark.parametrize("chunks", [0, 5])
def test_a_loaded_state_goes_on_with_the_same_bits(at, chunks):
    features, logits = images()
    whole, first, second = (summary(chunks=chunks) for _ in range(3))
    second.add(features[:9], logits[:9], range(9))
    for start in range(0, N, 50):
        positions = range(start, start + 50)
        batch = features[positions], logits[positions], positions
        whole.add(*batch)
        (first if start < at else second).add(*batch)
        if start < at <= start + 50 or at == start == 0:
            second.load_state_dict(first.state_dict())
            if not at:
                second.add(*batch)
    equal(whole, second)


def test_inference_mode_half_precision_and_gradients():
    features, logits = images()
    found = summary()
    with torch.inference_mode():
        found.add(features[:100], logits[:100].bfloat16(), range(100))
    found.add(features[100:].requires_grad_(), logits[100:].half(), torch.arange(100, N))
    assert found.count == N and not found.moments.mean.requires_grad
    assert not found.sample.requires_grad


def test_without_classes_logits_are_not_looked_at():
    features, logits = images()
    found = Summary(DIM)
    found.add(features, logits * torch.nan, range(N))
    assert found.count == N
    with pytest.raises(ValueError, match="got no logits"):
        found.inception_score()
    with pytest.raises(ValueError, match="logits: got None; give"):
        summary().add(features, None, range(N))


@pytest.mark.parametrize("name", ["features", "logits"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_not_finite_is_refused_by_position_and_nothing_is_taken(name, value):
    features, logits = images()
    found, same = summary(), summary()
    (features if name == "features" else logits)[[3, 8], 1] = value
    with pytest.raises(ValueError, match=f"{name}: got NaN or inf .* 2 of 10 .*103, 108;"):
        found.add(features[:10], logits[:10], range(100, 110))
    equal(found, same)


def test_large_but_finite_features():
    found = Summary(2)
    found.add(torch.full((10, 2), 3e38), None, range(10))
    assert found.moments.mean[0] == pytest.approx(3e38, rel=1e-6)


@pytest.mark.parametrize(
    "features, positions, match",
    [
        (torch.zeros(3, DIM + 1), range(3), r"features: got shape \(3, 7\); give \(3, 6\)"),
        (torch.zeros(3, DIM), range(4), "4 positions"),
        (torch.zeros(3, DIM), [0, 1, -2], "positions"),
        (torch.zeros(3, DIM), [0.0, 1.0, 2.0], "positions"),
        (torch.zeros(3, DIM), [[0, 1, 2]], "positions"),
        (torch.zeros(3, DIM, dtype=torch.int64), range(3), "int64"),
        ([[0.0] * DIM], range(1), "list"),
    ],
)
def test_bad_batches(features, positions, match):
    with pytest.raises(ValueError, match=match):
        Summary(DIM).add(features, None, positions)


def test_probabilities_are_not_taken_for_logits():
    made = Summary(DIM, classes=4)
    with pytest.raises(ValueError, match="logits that are probabilities"):
        made.add(torch.zeros(3, DIM), torch.randn(3, 4).softmax(1), range(3))
    assert made.count == 0


@pytest.mark.parametrize(
    "name, value",
    [("classes", 0), ("splits", 0), ("chunks", -1), ("sample", True), ("seed", 2**63), ("dim", 0)],
)
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=name):
        Summary(**{"dim": DIM, name: value})


def test_bad_states_and_too_few_images():
    with pytest.raises(
        ValueError, match=r"state: got that of a Summary .*40, 9\]; give one with .* 3\]"
    ):
        summary().load_state_dict(summary(seed=9).state_dict())
    with pytest.raises(ValueError, match="state: got"):
        summary().load_state_dict({})
    found = summary()
    features, logits = images()
    found.add(features[:3], logits[:3], range(3))
    with pytest.raises(ValueError, match="got 3 images, which leave one of 4 splits empty"):
        found.inception_score()
    with pytest.raises(ValueError, match="process group"):
        found.all_reduce()
