"""Three kinds of array in, the same kind out; and what is refused, by name."""

import re
import sys
import types

import numpy as np
import pytest
import torch

from ganfast import _dispatch, reference
from ganfast.errors import InputError, InputTypeError
from ganfast.linalg import frechet_distance, frechet_distance_from_features, sqrtm, trace_sqrtm
from ganfast.linalg.frechet import distance_of_moments

pytestmark = pytest.mark.usefixtures("one_thread")


X = np.random.default_rng(0).normal(size=(9, 4))
A, B = np.cov(X[:5].T), np.cov(X.T)
M = X.mean(0)


def test_numpy_in_numpy_out():
    trace = trace_sqrtm(A, B)
    assert type(trace) is np.float64
    assert trace == pytest.approx(float(trace_sqrtm(torch.tensor(A), torch.tensor(B))), rel=1e-14)
    assert type(frechet_distance(M, A, M, B)) is np.float64
    assert type(frechet_distance_from_features(X, X[:3])) is np.float64
    root = sqrtm(A.astype(np.float32))
    assert isinstance(root, np.ndarray) and root.dtype == np.float32
    batch = trace_sqrtm(np.stack([A, B]), B)
    assert isinstance(batch, np.ndarray) and batch.shape == (2,) and batch.dtype == np.float64


@pytest.mark.parametrize(
    "other",
    [
        np.asfortranarray,
        lambda a: a.astype(">f8"),
        lambda a: a[::-1, ::-1][::-1, ::-1],
        lambda a: np.broadcast_to(a, a.shape),  # not writeable
        lambda a: a.astype(np.longdouble),
        lambda a: a.astype(np.float32),
    ],
)
def test_arrays_as_other_tools_leave_them(other):
    given = other(A)
    before = given.copy()
    assert trace_sqrtm(given, B) == pytest.approx(trace_sqrtm(A, B), rel=1e-6)
    np.testing.assert_array_equal(given, before)


def test_nothing_is_modified():
    kept = [torch.tensor(v) for v in (M, A + 1e-9 * np.triu(A), M, B)]
    given = [v.clone() for v in kept]
    frechet_distance(*given)
    sqrtm(given[1])
    x = torch.tensor(X)
    frechet_distance_from_features(x, x[:3])
    assert all(map(torch.equal, kept, given)) and torch.equal(x, torch.tensor(X))


def test_cupy_goes_through_dlpack_and_is_not_imported_for_the_question(monkeypatch):
    class ndarray:  # the name that CuPy gives it
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **options):
            return self.tensor.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

    ndarray.__module__ = "cupy"
    trace_sqrtm(A, B)
    stub = types.ModuleType("cupy")
    stub.from_dlpack = ndarray
    monkeypatch.setitem(sys.modules, "cupy", stub)
    result = trace_sqrtm(ndarray(torch.tensor(A)), ndarray(torch.tensor(B)))
    assert isinstance(result, ndarray)
    assert float(result.tensor) == pytest.approx(trace_sqrtm(A, B))
    with pytest.raises(ValueError, match="b: got a torch array, but a is a CuPy one; give"):
        trace_sqrtm(ndarray(torch.tensor(A)), torch.tensor(B))


T, E = torch.eye(3), torch.eye(3).double()


@pytest.mark.parametrize(
    "a, b, what",
    [
        (torch.ones(3), T, "a: got shape (3,); give square"),
        (T, torch.ones(2, 3), "b: got shape (2, 3); give square"),
        (T, torch.eye(4), "b: got shape (4, 4); give .* size of a, (3, 3)"),
        (T.int(), T, "a: got dtype torch.int32; give a floating dtype"),
        (T, T.to(torch.complex64), "b: got dtype torch.complex64; give a floating"),
        (np.eye(3, dtype=int), np.eye(3), "a: got dtype int64; give a floating dtype"),
        (T, np.eye(3), "b: got a NumPy array, but a is a torch one; give"),
        ([[1.0]], T, "a: got list; give a torch tensor"),
        (T, T * torch.nan, "b: got values that are not finite"),
        (T / 0, T, "a: got values that are not finite"),
        (T, T + torch.ones(3, 3).triu(1) * 0.01, "b: .* not symmetric .*0.01 of the largest"),
        (torch.diag(torch.tensor([1.0, 2.0, -0.5])), T, "a: .* not positive.* from -0.5 to 2)"),
        (T, -T, "b: .* not positive semi-definite (its eigenvalues run from -1 to -1)"),
        (T, E[[1, 0, 2]], "b: .* not positive semi-definite.*from -1 to 1"),
        (torch.zeros(3, 3), -1e-150 * E, "b: .* not positive semi-definite"),
        (torch.stack([T, -T]), T, "a: .* not positive.* (matrix 1 of the batch: its"),
        (T.expand(2, 3, 3), T.expand(5, 3, 3), "b: got leading dimensions (5,); give .* (2,) of a"),
    ],
)
def test_trace_says_what_is_wrong(a, b, what):
    with pytest.raises(InputError, match=re.sub(r"[()]", r"\\\g<0>", what)):
        trace_sqrtm(a, b)


@pytest.mark.parametrize("n", [4, 100])
@pytest.mark.parametrize("sides", ["ab", "ba"])
@pytest.mark.parametrize("good", ["definite", "zero", "deficient"])
def test_an_indefinite_matrix_is_found_beside_any_other(n, sides, good):
    bad = torch.eye(n).double()
    bad[0, 0] = -1e-3
    other = {
        "definite": torch.eye(n).double(),
        "zero": torch.zeros(n, n).double(),
        "deficient": torch.diag((torch.arange(n) > 1).double()),
    }[good]
    given = (bad, other) if sides[0] == "a" else (other, bad)
    with pytest.raises(ValueError, match=f"^{sides[0] if sides == 'ab' else 'b'}: .* not positive"):
        trace_sqrtm(*given)


def test_sqrtm_says_what_is_wrong():
    with pytest.raises(ValueError, match="a: .* not positive semi-definite.*from -2 to 1"):
        sqrtm(torch.diag(torch.tensor([1.0, -2.0])))
    with pytest.raises(ValueError, match="a: .* not symmetric"):
        sqrtm(torch.ones(2, 2).triu())
    with pytest.raises(
        ValueError, match=r"sqrtm\(sigma1 @ sigma2\) call trace_sqrtm.*frechet_dist"
    ):
        sqrtm(torch.diag(torch.tensor([1.0, 2.0])) @ torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    with pytest.raises(ValueError, match="method: got .magic.; give one of auto, eigh"):
        sqrtm(T, method="magic")


@pytest.mark.parametrize(
    "x, y, what",
    [
        (torch.ones(3), torch.ones(3, 2), "x: got shape .*; give"),
        (torch.ones(5, 2), torch.ones(1, 2), "y: got 1 samples .* at least 2"),
        (torch.ones(0, 2), torch.ones(5, 2), "x: got 0 samples .* at least 2"),
        (torch.ones(5, 2), torch.ones(5, 3), r"y: .* give \(..., N, 2\), the d of x"),
        (torch.ones(5, 2), torch.ones(5, 2) * torch.inf, "y: got values that are not finite"),
        (
            torch.ones(5, 2).long(),
            torch.ones(5, 2),
            "x: got dtype torch.int64; give a floating dtype",
        ),
        (torch.ones(5, 2), np.ones((5, 2)), "y: got a NumPy array"),
        (torch.ones(2, 5, 2), torch.ones(3, 5, 2), "y: got leading .*; give ones that broadcast"),
    ],
)
def test_features_say_what_is_wrong(x, y, what):
    with pytest.raises(ValueError, match=what):
        frechet_distance_from_features(x, y)


def test_distance_says_which_moment_is_wrong():
    zero = torch.zeros(3)
    with pytest.raises(ValueError, match="sigma2: .* not positive"):
        frechet_distance(zero, T, zero, -T)
    with pytest.raises(ValueError, match="sigma1: .* not symmetric"):
        frechet_distance(zero, T + T[[1, 0, 2]].triu(), zero, T)
    with pytest.raises(ValueError, match="mu2: got a NumPy array"):
        frechet_distance(zero, T, zero.numpy(), T)
    with pytest.raises(ValueError, match=r"mu1: got shape \(\); give \(..., d\)"):
        frechet_distance(torch.tensor(0.0), T, zero, T)


def test_a_caller_with_other_names_hears_of_those():
    names = ("real mu", "real sigma", "fake mu", "fake sigma")
    zero = torch.zeros(3)
    assert float(distance_of_moments(zero, T, zero + 1, T, names=names)) == pytest.approx(3)
    with pytest.raises(InputError, match="fake sigma: .* not positive"):
        distance_of_moments(zero, T, zero, -T, names=names)
    with pytest.raises(InputError, match="fake mu: got shape .*as real mu has 3 features"):
        distance_of_moments(zero, T, zero[:2], T, names=names)


def test_a_wrong_type_is_python_s_type_error_too():
    for given in ([[1.0]], T.int()):
        with pytest.raises(TypeError):
            sqrtm(given)
        with pytest.raises(InputTypeError):
            sqrtm(given)


def test_float32_covariances_are_not_taken_for_indefinite_ones():
    x = torch.randn(40, 150)
    sigma = torch.cov(x.T)
    sigma[0, 1] += 1e-7
    assert torch.linalg.eigvalsh(sigma)[0] < 0
    assert float(trace_sqrtm(sigma, sigma)) == pytest.approx(float(sigma.trace()), rel=1e-4)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 40])
def test_symmetry_of_each_backend(n):
    """Size and asymmetry in one pass, and NaN for whatever is not finite."""
    a = torch.randn(3, n, n, dtype=torch.float64)
    a[1] = 0
    expected = reference.linalg.symmetry(a)
    for found in (_dispatch.serve("symmetry", (a,)).symmetry(x) for x in (a, a.mT, a.clone())):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    for bad in (torch.nan, torch.inf, -torch.inf):
        for i, j in ((0, 0), (0, n - 1), (n - 1, 0)):
            broken = a.clone()
            broken[1, i, j] = bad
            for module in (_dispatch.serve("symmetry", (a,)), reference.linalg):
                peak, _ = module.symmetry(broken)
                assert peak.isnan().tolist() == [False, True, False]
