"""Files of other tools: their statistics, and their features."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from image_samples import crops

from ganfast.errors import InputError
from ganfast.metrics import evaluate
from ganfast.metrics.statistics_files import PAIRS, statistics_at

F = np.random.default_rng(0).normal(size=(50, 6))
MU, SIGMA = F.mean(0), np.cov(F, rowvar=False)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.fixture(autouse=True)
def nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "trapped").exists()


def assert_known(path, n=None):
    found = statistics_at(path)
    assert found is not None and found.n == n
    np.testing.assert_allclose(found.mu.numpy(), MU, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.sigma.numpy(), SIGMA, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8"])
def test_mean_and_covariance_by_any_name(pair, dtype):
    arrays = dict(zip(pair, (MU.astype(dtype), SIGMA.astype(dtype)), strict=True))
    np.savez("s.npz", **arrays, other=np.zeros(2))
    np.savez_compressed("c.npz", **arrays)
    np.save("s.npy", arrays)
    for path in ("s.npz", "c.npz", "s.npy"):
        assert_known(path)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_what_torch_fidelity_caches(make):
    torch.save({"mu": make(MU), "sigma": make(SIGMA)}, "s.pt")
    torch.save(torch.tensor(F), "features.pt")
    assert_known("s.pt")
    assert_known("features.pt", n=50)


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f4"])
def test_features(dtype):
    features = F.astype(dtype)
    np.save("f.npy", features)
    np.save("fortran.npy", np.asfortranarray(features))
    np.savez("one.npz", features)
    np.savez_compressed("named.npz", pool_3=features, logits=np.zeros((50, 3)))
    for path in ("f.npy", "fortran.npy", "one.npz", "named.npz"):
        assert_known(path, n=50)


def test_features_of_many_rows():
    rows = np.random.default_rng(1).normal(size=(9001, 3)).astype("f4")
    np.save("f.npy", rows)
    found = statistics_at("f.npy")
    assert found.n == 9001
    np.testing.assert_allclose(found.sigma.numpy(), np.cov(rows.astype("f8"), rowvar=False), 1e-5)


def test_images_and_what_is_not_there_are_neither():
    np.save("images.npy", crops(3))
    np.savez("images.npz", crops(3))
    np.savez("several.npz", a=crops(3), b=np.zeros((3, 2)))
    (open("damaged.npz", "wb")).close()
    (open("damaged.npy", "wb")).close()
    names = ("images.npy", "images.npz", "several.npz", "damaged.npz", "damaged.npy", "none.npz")
    for source in (*names, ".", crops(3), None):
        assert statistics_at(source) is None


def write_refused() -> dict[str, str]:
    """Files, and what is said of each."""
    np.save("trap.npy", {"mu": Trap()})
    np.save("list.npy", np.array([1, None], dtype=object))
    np.savez("shapes.npz", mean=MU, cov=np.eye(3))
    np.savez("nan.npz", np.full((4, 2), np.nan))
    np.save("row.npy", F[:1])
    torch.save({"mu": Trap()}, "trap.pt")
    torch.save({"weight": torch.zeros(3)}, "weights.pt")
    torch.save([1], "list.pt")
    torch.save({"mu": "a", "sigma": "b"}, "words.pt")
    with open("stats.pkl", "wb") as file:
        pickle.dump({"mu": Trap()}, file)
    (open("empty.pt", "wb")).close()
    return {
        "trap.npy": "it is a pickle of more than arrays: it asks for .*mkdir",
        "list.npy": "it holds an object of type ndarray; give a dict with mu and sigma",
        "shapes.npz": "got mu of shape",
        "nan.npz": "got NaN or inf in 4 of 4 rows",
        "row.npy": "got features of shape .1, 6.; give at least 2 rows",
        "trap.pt": "it can't be read as tensors and arrays alone",
        "weights.pt": "it holds a dict with the keys weight; give a dict with mu and sigma",
        "list.pt": "it holds an object of type list",
        "words.pt": "its mu or sigma is no array",
        "stats.pkl": "it is a pickle, which can run any code when it is read",
        "empty.pt": "it can't be read",
    }


def test_files_that_are_refused_and_never_run():
    for name, words in write_refused().items():
        with pytest.raises(InputError, match=f"^statistics: '{name}' .*{words}") as caught:
            statistics_at(name)
        assert "\n" not in str(caught.value) and "image" not in str(caught.value)


def test_a_distance_of_features_is_that_of_their_statistics():
    np.save("one.npy", F)
    np.savez("two.npz", feats=2 * F + 1)
    found = evaluate("one.npy", "two.npz")
    assert (found["n_real"], found["n_fake"]) == (50, 50)
    difference = (2 * F + 1).mean(0) - MU
    # Tr(S + 4 S - 2 (4 S S)^1/2) = Tr S
    assert found["fid"] == pytest.approx(float(difference @ difference + np.trace(SIGMA)), rel=1e-9)
    with pytest.raises(InputError, match="6 features and the network .* has 12"):
        evaluate("one.npy", crops(3), extractor="tiny_network:network", device="cpu")
