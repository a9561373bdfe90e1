"""Images in one array: tensors, NumPy arrays, .npy and .npz files."""

from __future__ import annotations

import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from image_samples import assert_same_batches, crop, crops, encode, images_in, write

from ganfast.errors import InputError
from ganfast.metrics import evaluate
from ganfast.metrics.images import is_statistics_file, open_images

N = 7
IMAGES = crops(N, 20, 24)


def forms():
    tensor = torch.from_numpy(IMAGES)
    return {
        "tensor": tensor,
        "array": IMAGES,
        "tensor, channels first": tensor.permute(0, 3, 1, 2).contiguous(),
        "tensor, channels first as a view": tensor.permute(0, 3, 1, 2),
        "array, channels first": IMAGES.transpose(0, 3, 1, 2).copy(),
        "array, reversed": IMAGES[::-1][::-1],
        "array, strided": np.repeat(IMAGES, 2, 0)[::2],
        "array, read-only": np.frombuffer(IMAGES.tobytes(), np.uint8).reshape(IMAGES.shape),
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_gives_the_same_batches(form):
    source = open_images(forms()[form], name="fake")
    assert (source.name, source.count, source.resumable) == ("fake", N, True)
    batches = list(source.batches(3))
    assert [batch.positions for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    for batch in batches:
        assert isinstance(batch.images, torch.Tensor) and batch.images.is_contiguous()
        expected = torch.from_numpy(IMAGES[batch.positions])
        assert batch.images.dtype == torch.uint8 and torch.equal(batch.images, expected)
    assert_same_batches(list(source.batches(3, workers=2)), batches)
    assert_same_batches(list(source.batches(3, start=1)), batches[1:])
    assert_same_batches(list(source.batches(3, rank=1, world_size=2)), batches[1::2])


@pytest.mark.parametrize("axis", [1, 3])
def test_gray_is_repeated(axis):
    gray = IMAGES[..., :1]
    source = open_images(np.moveaxis(gray, 3, axis))
    expected = torch.from_numpy(np.repeat(gray, 3, 3))
    assert torch.equal(torch.stack(images_in(source)), expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            torch.zeros(4, 3, 8, 8),
            r"fake: got images of float32, whose range is not assumed; give uint8, 0 to 255, of "
            r"images in \[0, 1\] by \(x \* 255\).round\(\).clamp\(0, 255\).to\(torch.uint8\)",
        ),
        (np.zeros((4, 8, 8, 3)), r"got images of float64, .* in \[0, 1\] by .*\.astype\('uint8'\)"),
        (np.full((4, 8, 8, 3), 250.0, ">f4"), r"of images in \[0, 255\] by x\.round\(\)"),
        (torch.full((4, 8, 8, 3), -0.9), r"of images in \[-1, 1\] by \(x \* 127.5 \+ 127.5\)"),
        (torch.full((4, 8, 8, 3), -3.0), "255, scaled from their -3 to -3$"),
        (torch.full((4, 8, 8, 3), torch.nan), "255, scaled from their nan to nan$"),
        (
            torch.zeros(4, 3, 8, 8, dtype=torch.int64),
            "got images of int64, .*; give uint8, 0 to 255$",
        ),
        (torch.zeros(4, 3, 8, 8, dtype=torch.bool), "got images of bool"),
        (np.zeros((4, 8, 8, 3), np.int8), "got images of int8"),
        (np.zeros((8, 8, 3), np.uint8), r"got shape \(8, 8, 3\); give images \(n, h, w, 3\)"),
        (np.zeros((4, 8, 8), np.uint8), r"got shape \(4, 8, 8\)"),
        (np.zeros((4, 8, 8, 4), np.uint8), "compositing the alpha channel"),
        (np.zeros((4, 8, 8, 2), np.uint8), "give images of 3 channels or 1"),
        (np.zeros((4, 3, 8, 3), np.uint8), r"could be \(n, h, w, c\) or \(n, c, h, w\)"),
        (np.zeros((4, 1, 8, 1), np.uint8), r"could be \(n, h, w, c\) or \(n, c, h, w\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), "got no images"),
        (np.zeros((4, 0, 8, 3), np.uint8), r"got shape \(4, 0, 8, 3\)"),
    ],
)
def test_other_arrays_are_refused(images, message):
    with pytest.raises(InputError, match=message) as caught:
        open_images(images, name="fake")
    assert str(caught.value).startswith("fake: ") and "\n" not in str(caught.value)


def test_fingerprints_of_arrays():
    prints = [
        open_images(images).fingerprint for images in (IMAGES, torch.from_numpy(IMAGES), IMAGES[1:])
    ]
    assert prints[0] == prints[1] != prints[2]


def test_npy(tmp_path):
    np.save(tmp_path / "a.NPY.npy", IMAGES)
    source = open_images(tmp_path / "a.NPY.npy")
    assert source.name == str(tmp_path / "a.NPY.npy")
    assert_same_batches(list(source.batches(3)), list(open_images(IMAGES).batches(3)))
    np.save(tmp_path / "f.npy", np.asfortranarray(IMAGES))
    assert torch.equal(
        torch.stack(images_in(open_images(tmp_path / "f.npy"))), torch.from_numpy(IMAGES)
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("key", ["arr_0", "images", "x", "samples", "whatever"])
@pytest.mark.parametrize("first", [False, True])
def test_npz(tmp_path, save, key, first):
    images = IMAGES.transpose(0, 3, 1, 2) if first else IMAGES
    others = {} if key == "whatever" else {"arr_1": np.arange(N), "labels": np.arange(N)}
    save(tmp_path / "a.npz", **{key: np.ascontiguousarray(images)}, **others)
    source = open_images(tmp_path / "a.npz")
    expected = list(open_images(IMAGES).batches(3))
    assert_same_batches(list(source.batches(3)), expected)
    assert_same_batches(list(source.batches(3, start=1)), expected[1:])
    assert_same_batches(list(source.batches(3, rank=1, world_size=2)), expected[1::2])
    # Two that are read in turns have a position each.
    for pair in zip(source.batches(3), open_images(tmp_path / "a.npz").batches(3), strict=True):
        assert torch.equal(pair[0].images, pair[1].images)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, np.save])
def test_array_files_are_not_loaded(tmp_path, save):
    images = np.random.default_rng(0).integers(0, 256, (400, 64, 64, 3), dtype=np.uint8)
    path = tmp_path / ("a.npy" if save is np.save else "a.npz")
    save(path, images)
    tracemalloc.start()
    source = open_images(path)
    total = sum(int(batch.images.sum()) for batch in source.batches(8))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == images.sum() and peak < images.nbytes / 8


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": IMAGES, "b": IMAGES}, "has the arrays a, b; save the images as one of arr_0, "),
        ({}, "has the arrays none"),
        ({"images": IMAGES / 255}, r"got images of float64, .* \(x \* 255\)"),
        ({"arr_0": np.asfortranarray(IMAGES)}, "Fortran order.*np.ascontiguousarray"),
        ({"arr_0": np.array([{}], dtype=object)}, "got images of object"),
        (
            {"mu": np.zeros(4), "sigma": np.eye(4)},
            r"holds statistics \(mu, sigma\), which can be compared with but not read as images",
        ),
    ],
)
def test_other_npz_files_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=f"^real: .*{message}"):
        open_images(tmp_path / "a.npz", name="real")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"some text", bytes(range(256))])
def test_broken_array_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"^real: cannot read '.*': ."):
        open_images(tmp_path / name, name="real")


def test_pickled_npy_is_not_executed(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot read"):
        open_images(tmp_path / "a.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_inside_an_npz_is_one_line(tmp_path, save):
    save(tmp_path / "a.npz", IMAGES)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match="cannot read") as caught:
        images_in(open_images(tmp_path / "a.npz"))
    assert "\n" not in str(caught.value)


def test_a_member_that_ends_early(tmp_path):
    np.savez(tmp_path / "a.npz", IMAGES)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        data = archive.read("arr_0.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("arr_0.npy", data[:-100])
    with pytest.raises(InputError, match=f"it ends before image {N - 1}"):
        images_in(open_images(tmp_path / "b.npz"))


def test_statistics_files(tmp_path):
    np.savez(tmp_path / "stats.NPZ.npz", mu=np.zeros(4), sigma=np.eye(4))
    np.savez(tmp_path / "both.npz", IMAGES, mu=np.zeros(4), sigma=np.eye(4))
    np.savez(tmp_path / "images.npz", IMAGES)
    (tmp_path / "broken.npz").write_bytes(b"PK")
    assert is_statistics_file(tmp_path / "stats.NPZ.npz")
    assert is_statistics_file(str(tmp_path / "both.npz"))
    assert open_images(tmp_path / "both.npz").count == N
    for other in ("images.npz", "broken.npz", "missing.npz", "stats.npy", ""):
        assert not is_statistics_file(tmp_path / other)
    assert not is_statistics_file(IMAGES)


PARTS = ((0, 3), (3, 3), (3, 4), (4, 7))  # one of them empty


def write_shards(folder, kind):
    """The images in several files, as samplers of several processes write them."""
    folder.mkdir(exist_ok=True)
    for number, (start, stop) in enumerate(PARTS):
        path = folder / f"samples_{number:05}.{kind[:3]}"
        part = IMAGES[start:stop]
        if kind == "npy":
            np.save(path, part)
        else:
            save = np.savez if kind == "npz" else np.savez_compressed
            save(path, part, np.arange(len(part)))  # arr_1: labels, as ADM's
    return folder


@pytest.mark.parametrize("kind", ["npy", "npz", "npz compressed"])
@pytest.mark.parametrize("form", ["folder", "pattern", "range", "list", "txt"])
def test_shards_are_one_array(tmp_path, kind, form):
    folder, end = write_shards(tmp_path / "shards", kind), kind[:3]
    (tmp_path / "l.txt").write_text("".join(f"{path}\n" for path in sorted(folder.iterdir())))
    source = {
        "folder": folder,
        "pattern": folder / f"*.{end}",
        "range": folder / f"samples_{{00000..00003}}.{end}",
        "list": sorted(folder.iterdir()),
        "txt": tmp_path / "l.txt",
    }[form]
    opened = open_images(source)
    assert (opened.count, opened.resumable) == (N, True)
    expected = list(open_images(IMAGES).batches(2))
    assert_same_batches(list(opened.batches(2)), expected)
    assert_same_batches(list(opened.batches(2, start=1)), expected[1:])
    assert_same_batches(list(opened.batches(2, rank=1, world_size=2)), expected[1::2])
    assert_same_batches(
        list(open_images(source, num=5, shuffle_seed=3).batches(5)),
        list(open_images(IMAGES, num=5, shuffle_seed=3).batches(5)),
    )


def test_only_one_shard_is_held(tmp_path):
    images = np.zeros((64, 64, 64, 3), np.uint8)
    for number in range(12):
        np.savez_compressed(tmp_path / f"{number:02}.npz", images)
    source = open_images(tmp_path)
    assert source.count == 12 * 64
    tracemalloc.start()
    for _ in source.batches(8):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes  # of 12


def test_a_folder_of_single_images_in_npy_is_a_folder_of_images(tmp_path):
    for number, image in enumerate(IMAGES):
        np.save(tmp_path / f"{number}.npy", image)
    assert_same_batches(
        list(open_images(tmp_path).batches(3)), list(open_images(IMAGES).batches(3))
    )


def test_arrays_beside_images_are_left_out(tmp_path):
    write_shards(write(tmp_path, {"a.png": encode(crop(0))}), "npz")
    for source in (tmp_path, tmp_path / "*"):
        assert open_images(source).count == 1


def test_shards_that_are_refused(tmp_path):
    np.savez(tmp_path / "0.npz", IMAGES)
    np.savez(tmp_path / "1.npz", IMAGES[:, :4])
    with pytest.raises(InputError) as caught:
        open_images(tmp_path, name="fake")
    assert str(caught.value) == (
        f"fake: '{tmp_path}/1.npz' has images of shape (4, 24, 3), uint8, and '{tmp_path}/0.npz' "
        "images of shape (20, 24, 3), uint8; give shards that agree"
    )
    np.savez(tmp_path / "1.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(InputError, match="1.npz' holds statistics"):
        open_images(tmp_path)
    (tmp_path / "1.npz").write_bytes((tmp_path / "0.npz").read_bytes()[:100])
    with pytest.raises(InputError, match="cannot read '.*1.npz'"):
        open_images(tmp_path)
    with pytest.raises(InputError, match="there is no '.*/2.npz', of"):
        open_images(tmp_path / "{0..2}.npz")


def test_sides_that_share_shards_are_refused(tmp_path):
    folder = write_shards(tmp_path, "npz")
    sides = [folder / f"samples_0000{{{ends}}}.npz" for ends in ("0..2", "2..3")]
    with pytest.raises(InputError, match="got 1 files that are on both sides, such as '.*2.npz'"):
        evaluate(*sides, extractor="tiny_network:network")
