"""Images and statistics at URLs: fsspec's memory file system, and a web server on loopback."""

from __future__ import annotations

import gc
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from image_samples import crop, crops, encode, images_in, write

from ganfast import _remote, cli
from ganfast.errors import InputError
from ganfast.metrics import image_statistics
from ganfast.metrics.images import open_images
from ganfast.metrics.statistics_files import statistics_at
from testing.file_server import served

fsspec = pytest.importorskip("fsspec")

N = 7
SOURCES = ["a.zip", "a.tar", "a.tar.gz", "a.npz", "a.npy", "l.txt", "in", "in/*.png"]
SOURCES += ["{00..01}.tar", "0*.zip", "{00..01}.npz", "zips", "npys"]


@pytest.fixture
def files(tmp_path):
    """The same seven images in every form."""
    pngs = {f"{i}.png": encode(crop(i)) for i in range(N)}
    root = tmp_path / "files"
    inside = write(root / "in", pngs | {"@eaDir/x.png": b"", "notes.md": b""})
    for part, names in (("00", "0123"), ("01", "456")):
        some = write(tmp_path / part, {f"{i}.png": pngs[f"{i}.png"] for i in names})
        for kind in ("tar", "zip"):
            shutil.make_archive(str(root / part), kind, some)
        arrays = crops(N)[[int(i) for i in names]]
        np.savez(root / f"{part}.npz", arrays)
        for folder in ("zips", "npys"):
            (root / folder).mkdir(exist_ok=True)
        shutil.copy(root / f"{part}.zip", root / "zips")
        np.save(root / "npys" / f"{part}.npy", arrays)
    for kind in ("tar", "gztar", "zip"):
        shutil.make_archive(str(root / "a"), kind, inside)
    np.savez(root / "a.npz", crops(N))
    np.save(root / "a.npy", crops(N))
    (root / "l.txt").write_text("".join(f"in/{i}.png\n" for i in range(N)))
    return root


@pytest.fixture
def memory(files):
    """They in fsspec's memory."""
    fs = fsspec.filesystem("memory")
    fs.put(str(files), "/set", recursive=True)
    yield "memory://set"
    fs.rm("/set", recursive=True)


def assert_all(source, **options):
    assert source.count == N
    found = images_in(source, 3, **options)
    assert len(found) == N
    assert all(torch.equal(image, torch.from_numpy(crop(i))) for i, image in enumerate(found))


@pytest.mark.parametrize("name", SOURCES)
def test_in_memory(memory, name):
    source = open_images(f"{memory}/{name}")
    assert source.name == f"{memory}/{name}"
    assert_all(source, workers=1)
    assert_all(source)  # again


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("name", [name for name in SOURCES if "*" not in name] + ["0*.zip"])
def test_on_a_web_server(files, name, ranges, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(_remote, "BLOCK", 1 << 12)  # less than the files
    with served(files, ranges=ranges) as server:
        assert_all(open_images(f"{server.url}/{name}"), workers=1)
        source = open_images(f"{server.url}/{name}")
        assert_all(source)
    del source
    gc.collect()
    assert not glob.glob(os.path.join(tempfile.gettempdir(), f"ganfast-*-{name}"))


def test_a_file_url_is_a_path(files):
    assert_all(open_images(f"file://{files}/a.zip"))
    assert open_images(f"file://{files}/in").name == f"{files}/in"


def test_a_list_of_urls(memory):
    assert_all(open_images([f"{memory}/in/{i}.png" for i in range(N)]))
    paths = [f"{memory}/in/0.png", f"{memory}/in/gone.png"]
    (batch,) = open_images(paths, on_error="skip").batches(2)
    assert [(one.name, one.reason) for one in batch.skipped] == [
        (paths[1], "No such file or directory")
    ]


def test_only_what_is_read_is_fetched(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(_remote, "BLOCK", 1 << 16)
    images = np.random.default_rng(0).integers(0, 256, (300, 64, 64, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images)
    with served(tmp_path) as server:
        assert len(images_in(open_images(f"{server.url}/a.npz", num=4))) == 4
        assert server.sent < images.nbytes / 4
        tracemalloc.start()
        source = open_images(f"{server.url}/a.npz")
        assert sum(len(batch.images) for batch in source.batches(5)) == 300
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < images.nbytes / 2


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.npz", "a.npy", "in", "l.txt"])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_cut_connection_ends_the_reading(files, name, ranges, on_error, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(_remote, "BLOCK", 1 << 12)
    with served(files, ranges=ranges) as server:
        before = set(os.listdir(tempfile.gettempdir()))
        source = None
        if ranges:
            source = open_images(f"{server.url}/{name}", on_error=on_error)
        server.breaks_at = 300
        with pytest.raises(InputError, match="cannot read") as caught:
            images_in(source or open_images(f"{server.url}/{name}", on_error=on_error))
    assert "\n" not in str(caught.value) and "://" in str(caught.value)
    left = set(os.listdir(tempfile.gettempdir())) - before
    assert not [one for one in left if one.startswith("ganfast-")]


def test_statistics_and_features(memory, files):
    statistics = image_statistics(files / "in", extractor="tiny_network:network")
    fs = fsspec.filesystem("memory")
    statistics.save(files / "s.npz")
    features = torch.randn(20, 5, dtype=torch.float64)
    np.save(files / "f.npy", features.numpy())
    torch.save({"mu": statistics.mu, "sigma": statistics.sigma}, files / "s.pt")
    for name in ("s.npz", "f.npy", "s.pt"):
        fs.put(str(files / name), f"/set/{name}")
        here, there = statistics_at(files / name), statistics_at(f"{memory}/{name}")
        assert torch.equal(here.mu, there.mu) and torch.equal(here.sigma, there.sigma)
    assert statistics_at(f"{memory}/a.npz") is statistics_at(f"{memory}/gone.npz") is None
    with pytest.raises(InputError, match="statistics: .*No such file or directory: 'memory://set"):
        statistics_at(f"{memory}/gone.pt")


@pytest.mark.slow
def test_weights(memory, tmp_path):
    from ganfast.metrics.inception.weights import load_weights
    from testing.inception_weights import random_state_dict

    before = set(os.listdir(tempfile.gettempdir()))
    state = random_state_dict(0)
    torch.save(state, tmp_path / "w.pth")
    fsspec.filesystem("memory").put(str(tmp_path / "w.pth"), "/set/w.pth")
    loaded = load_weights(f"{memory}/w.pth")
    assert not loaded.published and all(torch.equal(state[n], t) for n, t in loaded.state.items())
    fsspec.filesystem("memory").pipe("/set/half.pth", b"PK\3\4" + bytes(100))
    with pytest.raises(
        InputError, match="^weights: memory://set/half.pth .* is no file of tensors"
    ):
        load_weights(f"{memory}/half.pth")
    with pytest.raises(InputError, match="weights: cannot read 'memory://set/gone.pth': No such"):
        load_weights(f"{memory}/gone.pth")
    left = set(os.listdir(tempfile.gettempdir())) - before
    assert not [one for one in left if one.startswith("ganfast-")]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("memory://gone", "real: cannot list 'memory://gone': No such file or directory"),
        ("memory://gone/a.zip", "cannot read the archive 'memory://gone/a.zip': .*No such file"),
        ("memory://gone/a.npz", "cannot read 'memory://gone/a.npz': .*No such file"),
        ("memory://gone/l.txt", "cannot read 'memory://gone/l.txt': No such file"),
        ("memory://gone/*.png", r"no image matches 'memory://gone/\*.png'"),
        ("memory://gone/{0..2}.tar", "there is no 'memory://gone/0.tar', of"),
        ("memory://gone/a.png", "is a single image; give the folder"),
        ("nosuch://a/b.zip", "cannot open 'nosuch://a/b.zip': Protocol not known: nosuch"),
    ],
)
def test_what_is_not_there(url, text):
    with pytest.raises(InputError, match=text) as caught:
        open_images(url, name="real")
    assert "\n" not in str(caught.value)


def test_secrets_are_not_printed(files):
    url = "https://me:pass@host.org/set/a.zip?token=abc"
    assert _remote.shown(url) == "https://host.org/set/a.zip"
    assert _remote.shown(f"403, url='{url}'") == "403, url='https://host.org/set/a.zip'"
    assert _remote.shown("a?b.png") == "a?b.png"
    pytest.importorskip("aiohttp")
    with served(files) as server:
        there = server.url.replace("//", "//me:pass@")
        assert_all(open_images(f"{there}/a.zip?token=abc"))
        (files / "in" / "0.png").write_bytes(b"text")
        shutil.make_archive(str(files / "a"), "zip", files / "in")
        for source in (f"{there}/a.zip?token=abc", [f"{there}/a.zip?token=abc"]):
            opened = open_images(source, on_error="skip")
            skipped = [one.name for batch in opened.batches(4) for one in batch.skipped]
            assert skipped == [f"{server.url}/a.zip/0.png"]
        for name in (
            "gone.zip?token=abc",
            "gone.npz?token=abc",
            "gone/?token=abc",
            "x.png?token=a",
        ):
            with pytest.raises(InputError) as caught:
                open_images(f"{there}/{name}")
            assert server.url in str(caught.value)
            assert "pass" not in str(caught.value) and "token" not in str(caught.value)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(InputError, match=r"cannot open 'https://h/a.zip'.*ganfast\[remote\]"):
        open_images("https://h/a.zip")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(InputError, match=r"cannot open 's3://h/a.zip'.*ganfast\[remote\]"):
        open_images("s3://h/a.zip")


@pytest.mark.slow
def test_the_command_reads_urls_and_fails_in_one_line(files, tmp_path, capsys):
    """Twice in a process of its own, whose end is the command's; else without its start."""
    pytest.importorskip("aiohttp")
    eyes = ["--extractor", "tiny_network:network"]

    def run_here(*arguments):
        return cli.main(["stats", *arguments, *eyes]), capsys.readouterr().err

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "ganfast", "stats", *arguments, *eyes],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, os.getcwd()])},
            check=False,
        )

    out = tmp_path / "s.npz"
    with served(files) as server:
        done = run(f"{server.url}/a.tar", str(out))
        assert done.returncode == 0, done.stderr
        out.unlink()
        server.breaks_at = 5000
        code, err = run_here(f"{server.url}/in", str(out), "--on-error", "skip", "-q")
        assert code == 0, err  # images are smaller
        out.unlink()
        server.breaks_at = 300
        cut = run(f"{server.url}/in", str(out), "--on-error", "skip", "-q")
        assert cut.returncode == 1 and "cannot read http" in cut.stderr
        assert len(cut.stderr.splitlines()) == 1 and "Traceback" not in cut.stderr
        code, err = run_here(str(files / "in"), f"{server.url}/s.npz")
        assert code == 1 and "give a path on this machine" in err
    assert not list(tmp_path.glob("*.npz")) and not list(tmp_path.glob(".*"))
