"""Reference images that are looked at once: known again by their content and by nothing else."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
import torch
from image_samples import crops, encode, write

from ganfast import doctor
from ganfast.metrics import evaluate, load_extractor
from ganfast.metrics.evaluation import cache

N = 12
GIVEN = {"device": "cpu", "workers": 0, "batch_size": 5, "inception_score": False}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cache, "LEAST", N)
    return tmp_path / "home" / "ganfast" / "statistics"


@pytest.fixture(scope="module")
def network():
    """A tiny one that passes for a published one; counts the images that it sees."""
    extractor = load_extractor("tiny_network:network")
    extractor.name = "inception"
    whole, extractor.seen = extractor.network, 0

    def counted(batch):
        extractor.seen += len(batch)
        return whole(batch)

    extractor.network = counted
    return extractor


@pytest.fixture
def real(tmp_path):
    files = {f"{i:02}.png": encode(image) for i, image in enumerate(crops(N))}
    return write(tmp_path / "real", files)


@pytest.fixture
def look(network, real):
    """Evaluates; how many images the network saw, FID, and whether the result says "known"."""
    fake = crops(2 * N)[N:]

    def looked(source=real, **given):
        network.seen = 0
        result = evaluate(source, fake, extractor=network, **{**GIVEN, **given})
        said = any("are known from an earlier run" in note for note in result["notes"])
        return network.seen, result, said

    return looked


def test_images_are_looked_at_once(look, folder):
    seen, first, said = look()
    assert seen == 2 * N and not said
    (path,) = folder.glob("*")
    seen, second, said = look()
    assert seen == N and said and str(path) in " ".join(second["notes"])
    for key in ("fid", "mean_term", "covariance_term", "n_real"):
        assert second[key] == first[key]
    assert list(folder.glob("*")) == [path]


def test_a_changed_image_is_looked_at(look, real):
    look()
    at = real / "03.png"
    facts, data = at.stat(), bytearray(at.read_bytes())
    picture = encode(255 - crops(N)[3])
    at.write_bytes(picture)
    os.utime(at, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # no date tells it
    seen, changed, said = look()
    assert seen == 2 * N and not said
    at.write_bytes(data)
    seen, back, said = look()
    assert seen == N and said and back["fid"] != changed["fid"]


def test_other_names_and_other_ways_to_look(look, real, network, monkeypatch):
    assert look()[0] == 2 * N
    for given in ({"background": "black"}, {"prdc": True}, {"prdc": True, "seed": 1}, {"num": 7}):
        assert not look(**given)[2], given
    assert look()[2] and look(prdc=True)[2]
    for name, value in (("identity", "other"), ("precision", "bf16")):
        with monkeypatch.context() as patch:
            patch.setattr(network, name, value)
            assert not look()[2]
    (real / "00.png").rename(real / "zz.png")
    assert not look()[2]


def test_what_compares_images_one_by_one_is_the_same(look, tmp_path):
    asked = {"prdc": True, "kid": True, "swd": True, "interval": True, "memorisation": True}
    first = look(**asked)[1]
    _, second, said = look(**asked, report=tmp_path / "out.html")
    assert said and (tmp_path / "out.html").is_file()
    for key, value in first.items():
        if key not in ("notes", "images_per_second", "seconds", "stages"):
            assert second[key] == value, key


def test_features_of_all_images_come_from_the_images(look):
    first = look(prdc=True)[1]
    seen, second, said = look(prdc_full=True)
    assert seen == 2 * N and not said
    for name in ("precision", "recall", "density", "coverage"):
        assert first[f"prdc_{name}"] == second[f"prdc_{name}"]


def test_archives_and_arrays(look, real, tmp_path):
    at = tmp_path / "real.zip"
    with zipfile.ZipFile(at, "w") as archive:
        for path in sorted(real.iterdir()):
            archive.write(path, path.name)
    array = np.stack(crops(N))
    np.save(tmp_path / "real.npy", array)
    for source in (at, tmp_path / "real.npy"):
        assert look(source)[2] is False and look(source)[2] is True
    assert look(torch.from_numpy(array))[2]  # the very pixels of the .npy
    assert not look(torch.from_numpy(array).flip(0))[2]


def test_where_nothing_is_kept(look, folder, monkeypatch, network):
    batches = [np.stack(crops(N))]
    for source, given in (
        (None, {"cache": False}),
        (None, {"bootstrap": 4}),
        (None, {"prdc_full": True}),
        (lambda: iter(batches), {}),
    ):
        look(*([] if source is None else [source]), **given)
    with monkeypatch.context() as patch:
        patch.setattr(network, "name", "mine:network")
        look()
    with monkeypatch.context() as patch:
        patch.setattr(cache, "LEAST", N + 1)
        look()
    assert not folder.exists()


def test_half_an_entry_is_none(look, folder):
    look()
    (path,) = folder.glob("*")
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", whole[:-200] + bytes(200)):
        path.write_bytes(broken)
        seen, _, said = look()
        assert seen == 2 * N and not said
        assert look()[2]  # it was written anew
    (folder / f".{path.name}.part").write_bytes(whole[:100])  # of a process that was killed
    assert look()[2]


def test_an_entry_of_other_images_is_none(look, folder, real):
    """Under the right name, which a hash gave; the content is compared all the same."""
    look()
    (path,) = folder.glob("*")
    (real / "00.png").write_bytes(encode(255 - crops(N)[0]))
    look()
    (other,) = set(folder.glob("*")) - {path}
    other.write_bytes(path.read_bytes())
    assert look()[0] == 2 * N


def test_a_folder_that_cannot_be_written(look, folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file in its place")
    assert look()[0] == look()[0] == 2 * N


def test_the_oldest_are_removed(look, folder, monkeypatch):
    look()
    (first,) = folder.glob("*")
    look(background="black")
    (second,) = set(folder.glob("*")) - {first}
    os.utime(second, (1, 1))
    os.utime(first, (0, 0))
    assert look()[2]  # used: the newest again
    monkeypatch.setattr(cache, "LIMIT", int(2.5 * first.stat().st_size))
    look(exif=True)
    assert not second.exists() and first.exists() and len(list(folder.glob("*"))) == 2


def test_the_doctor_names_it(look, folder):
    assert doctor.examine()["cache"] == {"folder": str(folder), "entries": 0, "bytes": 0}
    look()
    facts = doctor.examine()
    (path,) = folder.glob("*")
    assert facts["cache"]["entries"] == 1 and facts["cache"]["bytes"] == path.stat().st_size
    (line,) = [one for one in doctor.report(facts).splitlines() if one.startswith("cache")]
    assert f"{folder}: 1 set of reference images, 0 MB" in line and "delete the folder" in line


def test_damaged_files_are_told_as_ever(look, real, folder):
    (real / "05.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"05\.png"):
        look()
    assert not folder.exists()
    _, first, _ = look(on_error="skip")
    _, second, said = look(on_error="skip")
    assert said and first["skipped"] == second["skipped"] and len(second["skipped"]) == 1
