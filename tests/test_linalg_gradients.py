"""Derivatives of the square root and of the Fréchet distance, where eigen-derivatives break."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from ganfast.linalg import frechet_distance, frechet_distance_from_features, sqrtm, trace_sqrtm
from testing import gaussians

pytestmark = pytest.mark.usefixtures("one_thread")


def definite(*shape: int, seed: int) -> torch.Tensor:
    x = gaussians.normal(*shape[:-1], shape[-1] + 3, shape[-1], seed=seed)
    return (x.mT @ x / shape[-1]).requires_grad_()


def samples(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The five cases on which other implementations give NaN, fail or point the wrong way."""
    counts = {"few samples": (40, 6), "both few": (7, 9)}.get(case, (40, 50))
    x = gaussians.normal(counts[0], 12, seed=1)
    y = gaussians.normal(counts[1], 12, seed=2) * torch.linspace(0.5, 2, 12).double() + 0.3
    if case == "dead features":
        x[:, 3:5], y[:, 4:7] = 0, 0
    if case == "duplicated samples":
        x, y = x[:8], y[:9]
        x[4:], y[3:6] = x[:4], y[6:]
    return x, y


FIVE = ("full rank", "few samples", "both few", "dead features", "duplicated samples")


def central(function, inputs, direction, step=1e-5):
    ends = [
        float(function(*(x + sign * step * d for x, d in zip(inputs, direction, strict=True))))
        for sign in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * step)


def kept(direction, x):
    """A direction in which the rank does not change: there the distance is differentiable."""
    direction = direction.clone()
    direction[:, (x == 0).all(0)] = 0
    _, where = torch.unique(x, dim=0, return_inverse=True)
    return direction[where]  # equal samples move alike


@pytest.mark.parametrize("case", FIVE)
def test_features_against_central_differences(case):
    given = [v.requires_grad_() for v in samples(case)]
    gradients = torch.autograd.grad(frechet_distance_from_features(*given), given)
    assert all(bool(torch.isfinite(g).all()) for g in gradients)
    plain = [v.detach() for v in given]
    for seed in range(5):
        direction = [
            kept(gaussians.normal(*v.shape, seed=10 * i + seed + 3), v) for i, v in enumerate(plain)
        ]
        wanted = central(frechet_distance_from_features, plain, direction)
        got = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
        assert got == pytest.approx(wanted, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("case", FIVE)
@pytest.mark.parametrize("op", [trace_sqrtm, frechet_distance])
def test_covariances_against_central_differences(case, op):
    """Along congruences (I + tK) S (I + tK)^T, which keep the rank."""
    covariances = [torch.cov(v.T) for v in samples(case)]
    means = [v.mean(0) for v in samples(case)]

    def function(m1, k1, m2, k2):
        eye = torch.eye(12).double()
        moved = [(eye + k) @ s @ (eye + k).T for k, s in zip((k1, k2), covariances, strict=True)]
        if op is trace_sqrtm:
            return trace_sqrtm(*moved)
        return frechet_distance(m1, moved[0], m2, moved[1])

    zero = torch.zeros(12, 12).double()
    inputs = [means[0], zero, means[1], zero]
    live = [x.clone().requires_grad_() for x in inputs]
    gradients = torch.autograd.grad(function(*live), live, allow_unused=True)
    gradients = [
        torch.zeros_like(x) if g is None else g for g, x in zip(gradients, live, strict=True)
    ]
    assert all(bool(torch.isfinite(g).all()) for g in gradients)
    for seed in range(5):
        direction = [gaussians.normal(*x.shape, seed=20 * i + seed) for i, x in enumerate(inputs)]
        if case == "dead features":  # rounding cannot keep the rank of a rotated matrix, zeros can
            direction = [kept_zeros(d) for d in direction]
        wanted = central(function, inputs, direction)
        got = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
        assert got == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def kept_zeros(direction):
    direction = direction.clone()
    if direction.dim() == 2:
        direction[3:7] = 0
        direction[:, 3:7] = 0
    return direction


def test_trace_to_second_order():
    for shape in [(5, 5), (2, 4, 4)]:
        given = (definite(*shape[:-1], seed=1), definite(*shape[:-1], seed=2))
        assert gradcheck(trace_sqrtm, given)
        assert gradgradcheck(trace_sqrtm, given)


def test_distance_to_second_order():
    means = [gaussians.normal(4, seed=s).requires_grad_() for s in (1, 2)]
    given = (means[0], definite(4, seed=3), means[1], definite(4, seed=4))
    assert gradcheck(frechet_distance, given)
    assert gradgradcheck(frechet_distance, given)


@pytest.mark.parametrize("n1, n2, d", [(8, 9, 4), (4, 5, 7), (9, 3, 5), (3, 9, 5)])
def test_features_to_second_order(n1, n2, d):
    given = [gaussians.normal(n, d, seed=n).requires_grad_() for n in (n1, n2)]
    assert gradcheck(frechet_distance_from_features, given)
    assert gradgradcheck(frechet_distance_from_features, given)


def test_broadcast_gradients_add_up():
    a, b = definite(3, 4, seed=1), definite(4, seed=2)
    assert gradcheck(trace_sqrtm, (a, b))


def test_root_to_second_order():
    assert gradcheck(sqrtm, definite(2, 4, seed=1))
    assert gradgradcheck(sqrtm, definite(2, 4, seed=1))


def test_repeated_eigenvalues():
    eye = torch.eye(5).double()
    a, b = (2 * eye).requires_grad_(), (3 * eye).requires_grad_()
    first, second = torch.autograd.grad(trace_sqrtm(a, b), (a, b))
    torch.testing.assert_close(first, eye * 1.5**0.5 / 2, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(second, eye / 1.5**0.5 / 2, rtol=1e-14, atol=1e-15)
    assert gradcheck(sqrtm, a) and gradgradcheck(sqrtm, a)
    assert gradgradcheck(trace_sqrtm, (a, b))


def test_one_known_gradient_has_its_sign():
    """d/da of sqrt(a b) is sqrt(b / a) / 2: a flipped sign or a lost factor shows here."""
    a = torch.tensor([[4.0]]).requires_grad_()
    b = torch.tensor([[9.0]]).requires_grad_()
    one, two = torch.autograd.grad(trace_sqrtm(a, b), (a, b))
    assert float(one) == pytest.approx(0.75) and float(two) == pytest.approx(1 / 3)
    assert one.dtype == torch.float32
    (root,) = torch.autograd.grad(sqrtm(a).sum(), a)
    assert float(root) == pytest.approx(0.25)


@pytest.mark.parametrize("n", [3, 70])
def test_zero_matrices_have_finite_gradients(n):
    a, b = torch.zeros(n, n).double().requires_grad_(), torch.eye(n).double().requires_grad_()
    for g in torch.autograd.grad(trace_sqrtm(a, b), (a, b)):
        assert float(g.abs().max()) == 0
    (g,) = torch.autograd.grad(sqrtm(a).sum(), a)
    assert float(g.abs().max()) == 0
    mean = torch.zeros(n).double()
    assert torch.autograd.grad(frechet_distance(mean, a, mean, a), a)[0].isfinite().all()


def test_root_of_a_singular_matrix_has_the_gradient_of_its_range():
    a = torch.diag(torch.tensor([4.0, 1.0, 0.0, 0.0]).double()).requires_grad_()
    (g,) = torch.autograd.grad(sqrtm(a).diagonal().sum(), a)
    wanted = torch.tensor([0.25, 0.5, 0, 0]).double()  # 1 / (2 s), and 0 under the floor
    torch.testing.assert_close(g.diagonal(), wanted)
    assert bool(g.isfinite().all())


def test_a_second_backward_raises_where_there_is_no_second_derivative():
    singular = torch.diag(torch.tensor([1.0, 1.0, 0.0])).double().requires_grad_()
    other = definite(3, seed=1)
    (g,) = torch.autograd.grad(trace_sqrtm(singular, other), singular, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative at a singular"):
        g.square().sum().backward()
    (g,) = torch.autograd.grad(sqrtm(singular).sum(), singular, create_graph=True)
    with pytest.raises(RuntimeError, match="sqrtm has no second derivative"):
        g.square().sum().backward()
    x, y = (v.requires_grad_() for v in samples("duplicated samples"))
    (g,) = torch.autograd.grad(frechet_distance_from_features(x, y), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative where the product"):
        g.square().sum().backward()


@pytest.mark.parametrize("case", FIVE)
def test_create_graph_changes_no_gradient(case):
    given = [v.requires_grad_() for v in samples(case)]
    distance = frechet_distance_from_features(*given)
    plain = torch.autograd.grad(distance, given, retain_graph=True)
    graph = torch.autograd.grad(distance, given, create_graph=True)
    torch.testing.assert_close(plain, graph, rtol=1e-9, atol=1e-9)


def test_scale_of_gradients():
    a, b = definite(6, seed=1), definite(6, seed=2)
    plain = torch.autograd.grad(trace_sqrtm(a, b), (a, b))
    scaled = [(v.detach() * s).requires_grad_() for v, s in ((a, 2.0**480), (b, 2.0**-480))]
    one, two = torch.autograd.grad(trace_sqrtm(*scaled), scaled)
    torch.testing.assert_close(one * 2.0**480, plain[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(two * 2.0**-480, plain[1], rtol=1e-12, atol=0)


def test_training_on_the_distance_moves_samples_to_the_target():
    target = gaussians.normal(60, 8, seed=1) * 2 + 1
    x = gaussians.normal(6, 8, seed=2).requires_grad_()
    optimizer = torch.optim.SGD([x], lr=0.5)
    first = None
    for _ in range(40):
        distance = frechet_distance_from_features(x, target)
        first = distance.item() if first is None else first
        optimizer.zero_grad()
        distance.backward()
        optimizer.step()
    assert distance.item() < 0.5 * first
