"""ganfast.linalg under torch.func and torch.compile, where no value can be looked at."""

from __future__ import annotations

import pytest
import torch

from ganfast import linalg

# torch's forward mode, Inductor's imports and Dynamo's graph breaks warn; nothing of ours does.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:The .grad attribute:UserWarning"
)


def definite(*batch, n=4, seed=0):
    x = torch.randn(*batch, n, n, generator=torch.Generator().manual_seed(seed)).double()
    return x @ x.mT + torch.eye(n, dtype=torch.float64)


def means(*batch, n=4, seed=0):
    return torch.randn(*batch, n, generator=torch.Generator().manual_seed(seed)).double()


WHOLE = {
    "sqrtm": (linalg.sqrtm, lambda: (definite(3),)),
    "trace": (linalg.trace_sqrtm, lambda: (definite(3), definite(3, seed=1))),
    "distance": (
        linalg.frechet_distance,
        lambda: (means(3), definite(3), means(3, seed=1), definite(3, seed=1)),
    ),
    "features": (
        linalg.frechet_distance_from_features,
        lambda: (torch.randn(3, 9, 4).double(), torch.randn(3, 7, 4).double()),
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_vmap_grad_and_jvp(name):
    function, make = WHOLE[name]
    inputs = make()
    expected = function(*inputs)
    torch.testing.assert_close(torch.func.vmap(function)(*inputs), expected)
    leaves = tuple(x.clone().requires_grad_() for x in inputs)
    gradients = torch.autograd.grad(function(*leaves).sum(), leaves)
    places = tuple(range(len(inputs)))

    def total(*inputs):
        return function(*inputs).sum()

    for vectorised in (
        torch.func.grad(total, places)(*inputs),
        torch.func.vmap(torch.func.grad(total, places))(*inputs),
    ):
        for mine, exact in zip(vectorised, gradients, strict=True):
            torch.testing.assert_close(mine, exact)
    tangents = tuple(torch.randn_like(x) for x in inputs)
    tangents = tuple(t + t.mT if t.shape[-1:] == t.shape[-2:-1] else t for t in tangents)
    value, slope = torch.func.jvp(total, inputs, tangents)
    torch.testing.assert_close(value, expected.sum())
    torch.testing.assert_close(
        slope, sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True))
    )


def test_second_order_under_func():
    a, b = definite(), definite(seed=1)

    def gradient(a):
        return torch.autograd.grad(linalg.trace_sqrtm(a, b), a, create_graph=True)[0]

    exact = torch.autograd.functional.jacobian(gradient, a)
    torch.testing.assert_close(
        torch.func.jacrev(torch.func.grad(lambda a: linalg.trace_sqrtm(a, b)))(a), exact
    )
    singular = torch.diag(torch.tensor([1.0, 2.0, 0.0, 0.0], dtype=torch.float64))
    first = torch.func.grad(lambda a: linalg.trace_sqrtm(a, b))
    leaf = singular.clone().requires_grad_()
    (eager,) = torch.autograd.grad(linalg.trace_sqrtm(leaf, b), leaf)
    torch.testing.assert_close(first(singular), eager)
    # Where eager raises, nothing can: NaN, not a wrong number.
    assert torch.func.grad(lambda a: first(a).square().sum())(singular).isnan().all()


def test_what_is_refused_is_nan_where_nothing_can_be_refused():
    good, indefinite = definite(), torch.diag(torch.tensor([1.0, 1, 1, -1]).double())
    crooked = good.clone()
    crooked[0, 1] += 1
    eye = torch.eye(4, dtype=torch.float64)
    found = torch.func.vmap(linalg.trace_sqrtm)(
        torch.stack([good, indefinite]), torch.stack([eye, eye])
    )
    torch.testing.assert_close(found[0], linalg.sqrtm(good).trace())
    assert found[1].isnan() and torch.func.vmap(linalg.sqrtm)(indefinite[None]).isnan().all()
    same = torch.func.vmap(linalg.sqrtm)(eye[None])[0]
    torch.testing.assert_close(same, eye)  # repeated eigenvalues, far scales
    large = torch.func.vmap(linalg.sqrtm)(good[None] * 1e140)[0]
    torch.testing.assert_close(large, linalg.sqrtm(good) * 1e70)


@pytest.mark.parametrize("name", WHOLE)
def test_in_a_compiled_function(name):
    torch.compiler.reset()
    function, make = WHOLE[name]
    inputs = make()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), function(*inputs))
    for x in inputs:
        x.requires_grad_()
    compiled = torch.compile(function, backend="aot_eager")  # gradients: not in one graph
    results = [function(*inputs), compiled(*inputs)]
    torch.testing.assert_close(*results)
    for pair in zip(*(torch.autograd.grad(r.sum(), inputs) for r in results), strict=True):
        torch.testing.assert_close(*pair)
