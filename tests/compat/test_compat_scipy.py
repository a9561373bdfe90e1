"""``patch("scipy")``: sqrtm with ``disp`` on every SciPy, right for every matrix."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg

import ganfast.linalg as GL
from ganfast import compat


def covariance(n: int, d: int, seed: int) -> np.ndarray:
    return np.cov(
        np.random.default_rng(seed).normal(size=(n, d)) * np.geomspace(1, 0.1, d), rowvar=False
    )


A, B = covariance(50, 6, 0), covariance(60, 6, 1)
SINGULAR = covariance(4, 6, 2)  # rank 3
MATRICES = {
    "a product of covariances": A @ B,
    "a covariance": A,
    "float32": A.astype(np.float32),
    "a product in float32": (A @ B).astype(np.float32),
    "indefinite": np.array([[1.0, 2.0], [2.0, 1.0]]),  # its root is complex
    "negative": np.array([[-4.0]]),
    "Hermitian": A + 0.01j * (np.tri(6) - np.tri(6).T),
    "rotation": np.array([[0.0, -1.0], [1.0, 0.0]]),
    "whole numbers": np.array([[2, 1], [1, 2]]),
    "float16": np.eye(2, dtype=np.float16) * 4,
    "a list": [[2.0, 1.0], [1.0, 3.0]],
    "zero": np.zeros((3, 3)),
    "empty": np.zeros((0, 0)),
    "a stack": np.stack([A, A @ B]),
}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy on `disp`, and on singular matrices
        yield


@pytest.mark.parametrize("name", MATRICES)
def test_the_root_of_any_matrix(name):
    matrix = MATRICES[name]
    theirs = scipy.linalg.sqrtm(matrix)
    with compat.patched("scipy"):
        ours = scipy.linalg.sqrtm(matrix)
        pair = scipy.linalg.sqrtm(matrix, disp=False)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    tolerance = 1e-5 if ours.dtype in (np.float32, np.complex64) else 1e-12
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours @ ours, matrix, rtol=0, atol=tolerance)
    root, error = pair
    np.testing.assert_array_equal(root, ours)
    assert np.shape(error) == ours.shape[:-2] and np.all(error <= tolerance)


def test_the_estimate_is_the_one_that_scipy_gave():
    for matrix in (A @ B + 0.1 * np.eye(6), A.astype(np.float32), MATRICES["rotation"]):
        with compat.patched("scipy"):
            root, error = scipy.linalg.sqrtm(matrix, disp=False)
        wanted = np.linalg.norm(root @ root - matrix) ** 2 / np.linalg.norm(matrix)
        assert error == pytest.approx(wanted, rel=1e-6)


def test_a_root_that_does_not_exist_is_told_by_the_estimate():
    nilpotent = np.array([[0.0, 1.0], [0.0, 0.0]])
    theirs = scipy.linalg.sqrtm(nilpotent)
    compat.patch("scipy")
    root, error = scipy.linalg.sqrtm(nilpotent, disp=False)
    np.testing.assert_array_equal(root, theirs)
    assert error > 0.5


def test_singular_covariances_have_a_real_finite_root():
    compat.patch("scipy")
    root, error = scipy.linalg.sqrtm(SINGULAR, disp=False)
    assert root.dtype == np.float64 and error < 1e-20
    np.testing.assert_allclose(root @ root, SINGULAR, rtol=0, atol=1e-14)


@pytest.mark.parametrize("bad", [np.ones((2, 3)), np.ones(4), np.full((2, 2), np.nan)])
def test_what_scipy_refuses_it_still_refuses(bad):
    def outcome():
        try:
            return str(scipy.linalg.sqrtm(bad))
        except Exception as error:
            return type(error), str(error)

    before = outcome()
    with compat.patched("scipy"):
        assert outcome() == before


def test_a_script_that_holds_the_distance(scipy_1_18):
    """As stylegan3, edm, guided-diffusion and StudioGAN compute it, where SciPy has no ``disp``."""

    def script():
        root, _ = scipy.linalg.sqrtm(np.dot(A, B), disp=False)
        return np.real(np.trace(A) + np.trace(B) - 2 * np.trace(root))

    with pytest.raises(TypeError, match="disp"):
        script()
    with compat.patched("scipy") as records:
        assert [record.function for record in records] == ["scipy.linalg.sqrtm"]
        mean = np.zeros(6)
        assert script() == pytest.approx(GL.frechet_distance(mean, A, mean, B), rel=1e-12)
        assert scipy.linalg.sqrtm(A @ B, True, 64).shape == (6, 6)  # its arguments of old
    with pytest.raises(TypeError, match="disp"):
        script()


def test_every_place_in_scipy_gets_ours_and_gives_it_back():
    before = scipy.linalg.sqrtm, scipy.linalg._matfuncs.sqrtm
    compat.patch("scipy")
    assert scipy.linalg.sqrtm is scipy.linalg._matfuncs.sqrtm is not before[0]
    kept = scipy.linalg.sqrtm
    compat.unpatch("scipy")
    assert (scipy.linalg.sqrtm, scipy.linalg._matfuncs.sqrtm) == before
    np.testing.assert_allclose(kept(A @ B), before[0](A @ B))  # a copy of ours lives on
