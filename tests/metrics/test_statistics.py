"""The statistics file: whole or not there, read by others, refused when it can't be right."""

import errno
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from ganfast.metrics import Moments
from ganfast.metrics.statistics import Statistics

DIM = 5
MADE = {"extractor": "ab" * 32, "protocol": "pytorch-fid", "precision": "fp32"}


def statistics(**kwargs):
    moments = Moments(DIM)
    moments.update(torch.randn(30, DIM))
    return Statistics.from_moments(moments, **{**MADE, **kwargs})


def test_there_and_back(tmp_path):
    made = statistics()
    made.save(tmp_path / "a.npz")
    found = Statistics.load(tmp_path / "a.npz")
    assert torch.equal(found.mu, made.mu) and torch.equal(found.sigma, made.sigma)
    assert found.mu.dtype == found.sigma.dtype == torch.float64
    names = ("n", "extractor", "protocol", "precision", "version")
    assert [getattr(found, name) for name in names] == [getattr(made, name) for name in names]
    assert found.n == 30 and found.protocol == "pytorch-fid" and found.extractor == "ab" * 32
    assert os.listdir(tmp_path) == ["a.npz"]
    made.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_and_so_the_peers_read_it(tmp_path):
    made = statistics()
    made.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:  # pickle is not allowed by default
        m, s = file["mu"][:], file["sigma"][:]  # as pytorch-fid does
        assert all(file[name].dtype != object for name in file.files)
    assert m.dtype == s.dtype == np.float64
    assert np.array_equal(m, made.mu.numpy()) and np.array_equal(s, made.sigma.numpy())


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ">f8"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_of_others(tmp_path, dtype, save):
    made = statistics()
    mu, sigma = (x.numpy().astype(dtype) for x in (made.mu, made.sigma))
    save(tmp_path / "a.npz", mu=mu, sigma=np.asfortranarray(sigma), mu_s=mu)
    found = Statistics.load(tmp_path / "a.npz")
    assert found.mu.dtype == torch.float64
    assert np.array_equal(found.sigma.numpy(), sigma.astype(np.float64))
    facts = (found.n, found.extractor, found.protocol, found.precision, found.version)
    assert facts == (None,) * 5
    found.save(tmp_path / "b.npz")
    assert Statistics.load(tmp_path / "b.npz").n is None


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


GOOD = {"mu": np.zeros(3), "sigma": np.eye(3)}
BAD = {
    "no sigma": ({"mu": np.zeros(3)}, "no sigma; its entries are: mu"),
    "images": ({"arr_0": np.zeros((2, 4, 4, 3))}, "no mu and no sigma; its entries are: arr_0"),
    "nothing": ({}, "entries are: none"),
    "shapes": (
        {"mu": np.zeros(3), "sigma": np.eye(4)},
        r"mu of shape \(3,\) and sigma of shape \(4, 4\)",
    ),
    "axes": ({"mu": np.zeros((1, 3)), "sigma": np.eye(3)}, r"\(1, 3\) and"),
    "empty": ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, r"\(0,\) and"),
    "nan": ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, "got NaN or inf in mu"),
    "inf": ({"mu": np.zeros(3), "sigma": np.full((3, 3), np.inf)}, "got NaN or inf in sigma"),
    "asymmetric": ({"mu": np.zeros(2), "sigma": np.array([[1, 0.5], [0, 1]])}, "not symmetric"),
    "negative": ({"mu": np.zeros(2), "sigma": -np.eye(2)}, "negative variance"),
    "integers": ({"mu": np.zeros(2, int), "sigma": np.eye(2)}, "its mu is of int64"),
    "complex": ({"mu": np.zeros(2), "sigma": np.eye(2, dtype=complex)}, "complex128"),
    "objects": ({**GOOD, "mu": np.array([Trap()] * 3)}, "'mu' can't be read: .*allow_pickle"),
    "n": ({**GOOD, "n": np.array("many")}, "its n is not one number"),
    "protocol": ({**GOOD, "protocol": np.zeros(3)}, "its protocol is not one word"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_are_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arrays, match = BAD[case]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=match) as caught:
        Statistics.load(tmp_path / "a.npz")
    assert "\n" not in str(caught.value) and "a.npz" in str(caught.value)
    assert not (tmp_path / "trapped").exists()


def test_files_that_are_no_archives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "array.npy", np.eye(3))
    statistics().save("a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    with zipfile.ZipFile("text.zip", "w") as archive:
        archive.writestr("mu", "0 0 0")
        archive.writestr("sigma", "1")
    cases = {
        "pickle": pickle.dumps(Trap()),
        "text": b"mu = 0\n",
        "empty": b"",
        "array": (tmp_path / "array.npy").read_bytes(),
        "words": (tmp_path / "text.zip").read_bytes(),
        **{f"cut at {at}": whole[:at] for at in (3, 100, len(whole) // 2, len(whole) - 5)},
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"statistics: .*{name}.npz' can't be used") as caught:
            Statistics.load(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "trapped").exists()
    for missing in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(ValueError, match="there is no file"):
            Statistics.load(missing)


def test_every_changed_byte_of_the_content_is_noticed(tmp_path):
    made = statistics()
    path = tmp_path / "a.npz"
    made.save(path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = Statistics.load(path)
        except ValueError:
            continue
        # What can change unnoticed is padding of the archive.
        assert torch.equal(found.mu, made.mu) and torch.equal(found.sigma, made.sigma)
        assert found.protocol in (made.protocol, None) and found.n in (made.n, None)


def test_content_that_was_edited_is_refused(tmp_path):
    statistics().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    for name, value in (("mu", arrays["mu"] + 1), ("protocol", np.array("clean"))):
        np.savez(tmp_path / "b.npz", **{**arrays, name: value})
        with pytest.raises(ValueError, match="hash differs"):
            Statistics.load(tmp_path / "b.npz")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, step):
    path = tmp_path / "a.npz"
    statistics().save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(ValueError, match=r"statistics: .*\(No space left on device\): nothing was"):
        statistics().save(path)
    assert os.listdir(tmp_path) == ["a.npz"] and path.read_bytes() == before


FILL = """
import resource, signal, sys, torch
from ganfast.metrics.statistics import Statistics
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Statistics(torch.zeros(300), torch.eye(300)).save(sys.argv[1])
except ValueError as error:
    print(error)
"""


def test_no_room_in_the_middle(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path / "a.npz")], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "File too large" in done.stdout and done.stdout.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_places_that_can_not_be_written(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    cases = [
        (tmp_path / "a.txt", "path: got .*; give one that ends in .npz"),
        (tmp_path / "none" / "a.npz", "there is no folder"),
    ]
    (tmp_path / "dir.npz").mkdir()
    cases.append((tmp_path / "dir.npz", "which is a folder"))
    if os.geteuid():
        cases.append((folder / "a.npz", "can't write to the folder"))
    for path, match in cases:
        with pytest.raises(ValueError, match=match):
            statistics().save(path)
    assert list(folder.iterdir()) == []


def test_comparable():
    made = statistics()
    assert made.check_comparable(statistics()) == []
    assert made.check_comparable(**MADE) == []
    (note,) = made.check_comparable(extractor="ab" * 32, precision="fp32")
    assert "with which protocol" in note
    unknown = Statistics(torch.zeros(DIM), torch.eye(DIM))
    (note,) = made.check_comparable(unknown)
    assert "extractor, protocol, precision" in note
    (note,) = made.check_comparable(statistics(precision="bf16"))
    assert note == "The sides differ in precision: fp32 against bf16."


@pytest.mark.parametrize(
    "name, value, shown",
    [("protocol", "clean", "pytorch-fid against clean"), ("extractor", "cd" * 32, "against cdcd")],
)
def test_not_comparable(name, value, shown):
    made, other = statistics(), statistics(**{name: value})
    for call in ({"other": other}, {name: value}):
        with pytest.raises(ValueError, match=f"differ in {name} .*{shown}.*--allow-mismatch"):
            made.check_comparable(**call)
    (note,) = made.check_comparable(other, allow_mismatch=True)
    assert f"differ in {name}" in note
    with pytest.raises(ValueError, match="got 5 features on one side and 4"):
        made.check_comparable(Statistics(torch.zeros(4), torch.eye(4)), allow_mismatch=True)


def test_bad_moments():
    with pytest.raises(ValueError, match="statistics: sigma is not symmetric"):
        Statistics(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="statistics: got 0 images; give at least 2"):
        Statistics.from_moments(Moments(3))
