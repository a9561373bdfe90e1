"""Images in .zip and .tar files."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import tracemalloc
import zipfile

import pytest
import torch
from image_samples import assert_same_batches, crop, encode, images_in, png_files, write

from ganfast.errors import InputError
from ganfast.metrics.images import Skipped, open_images

PNG = encode(crop(0, 4, 4))
TARS = [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.TGZ", "w:gz"), ("a.tar.bz2", "w:bz2")]
TARS += [("a.tbz2", "w:bz2"), ("a.tar.xz", "w:xz"), ("a.txz", "w:xz")]


def zipped(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path, files, mode="w"):
    """``files``: bytes, or what a link leads to."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            else:
                member.type, member.linkname = data
                archive.addfile(member)
    return path


@pytest.fixture
def files():
    return png_files(11, sizes=(32, 40))


@pytest.fixture
def expected(files, tmp_path):
    return list(open_images(write(tmp_path / "folder", files)).batches(3))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_the_folder(tmp_path, files, expected, workers, compression):
    shuffled = dict(reversed(files.items()))
    source = open_images(zipped(tmp_path / "a.zip", shuffled, compression))
    assert_same_batches(list(source.batches(3, workers=workers)), expected)
    assert source.fingerprint == open_images(tmp_path / "folder").fingerprint


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("name", "mode"), TARS)
def test_a_tar_is_the_folder(tmp_path, files, expected, workers, name, mode):
    source = open_images(tarred(tmp_path / name, files, mode))
    assert (source.count, source.resumable) == (11, True)
    assert_same_batches(list(source.batches(3, workers=workers)), expected)
    assert_same_batches(list(source.batches(3, start=2)), expected[2:])


def test_order_of_a_tar_is_sorted_and_of_a_compressed_one_its_own(tmp_path):
    files = {"b.png": PNG, "c.png": PNG, "a.png": PNG}
    assert open_images(tarred(tmp_path / "a.tar", files))._files.names == sorted(files)
    compressed = tarred(tmp_path / "a.tgz", files, "w:gz")
    assert open_images(compressed)._files.names == list(files)


def test_a_compressed_tar_is_read_from_front_to_end(tmp_path, files, monkeypatch):
    offsets = []

    class Watched(gzip.GzipFile):
        def seek(self, offset, whence=0):
            offsets.append(offset)
            return super().seek(offset, whence)

    path = tarred(tmp_path / "a.tgz", files, "w:gz")
    monkeypatch.setattr(gzip, "open", Watched)
    source = open_images(path)
    offsets.clear()
    assert len(images_in(source, 3, rank=1, world_size=2)) == 5
    assert len(offsets) == 5 and offsets == sorted(offsets)


def test_a_python_without_a_decompressor(tmp_path, files, monkeypatch):
    path = tarred(tmp_path / "a.tar.xz", files, "w:xz")
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(InputError, match="cannot read the archive .* lzma"):
        open_images(path)


def test_links_in_a_tar(tmp_path):
    image = encode(crop(1))
    files = {
        "d/real.png": image,
        "d/soft.png": (tarfile.SYMTYPE, "real.png"),
        "hard.png": (tarfile.LNKTYPE, "d/real.png"),
        "up/soft.png": (tarfile.SYMTYPE, "../hard.png"),
        "nowhere.png": (tarfile.SYMTYPE, "gone.png"),
        "round.png": (tarfile.SYMTYPE, "round.png"),
    }
    for name, mode in TARS[:2]:
        source = open_images(tarred(tmp_path / name, files, mode), on_error="skip")
        batches = list(source.batches(6))
        assert len(batches[0].images) == 4
        for pixels in batches[0].images:
            assert torch.equal(pixels, torch.from_numpy(crop(1)))
        reason = "a link to something that is not in the archive"
        assert sorted(batches[0].skipped, key=lambda s: s.name) == [
            Skipped(f"{tmp_path / name}/nowhere.png", reason),
            Skipped(f"{tmp_path / name}/round.png", reason),
        ]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_last_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"old")
        archive.writestr("a.png", PNG)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for data in (b"old", PNG):
            member = tarfile.TarInfo("./a.png")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for name in ("a.zip", "a.tar"):
        assert len(images_in(open_images(tmp_path / name))) == 1


def test_folders_and_what_the_system_left_are_no_images(tmp_path):
    files = {"__MACOSX/._a.png": PNG, "d/.hidden/a.png": PNG, "notes.txt": b"", "d/a.png": PNG}
    zipped(tmp_path / "a.zip", files | {"e.png/": b""})
    tarred(tmp_path / "a.tar", files | {"e.png": (tarfile.DIRTYPE, "")})
    for name in ("a.zip", "a.tar"):
        source = open_images(tmp_path / name)
        assert source._files.names == ["d/a.png"] and source.ignored == {".txt": 1}


def test_an_archive_without_images(tmp_path):
    for path in (zipped(tmp_path / "a.zip", {"a.txt": b""}), tarred(tmp_path / "a.tar", {})):
        with pytest.raises(InputError, match="no images in"):
            open_images(path)


def test_a_damaged_member_is_named(tmp_path, files):
    path = zipped(tmp_path / "a.zip", files, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    batches = list(open_images(path, on_error="skip").batches(20))
    (skipped,) = batches[0].skipped
    assert skipped.name.startswith(f"{path}/0") and "Bad CRC-32" in skipped.reason
    with pytest.raises(InputError, match=r"cannot read .*a\.zip/0\d\d\.png: Bad CRC-32"):
        images_in(open_images(path), workers=2)


def test_an_encrypted_zip(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.png": PNG})
    data = path.read_bytes()
    directory = data.index(b"PK\1\2")
    flagged = bytearray(data)
    flagged[6] |= 1
    flagged[directory + 8] |= 1
    path.write_bytes(flagged)
    with pytest.raises(InputError, match="is encrypted, which is not supported; unpack it"):
        open_images(path)


@pytest.mark.parametrize("name", ["a.zip", *(name for name, _ in TARS)])
@pytest.mark.parametrize("content", [b"", b"not an archive", bytes(range(256)) * 8])
def test_not_an_archive(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="^real: cannot read the archive '.*': ."):
        open_images(tmp_path / name, name="real")


@pytest.mark.parametrize(("name", "mode"), [("a.zip", "")] + TARS[:2] + [TARS[3], TARS[5]])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.7])
def test_a_truncated_archive(tmp_path, files, name, mode, share):
    path = tmp_path / name
    _ = tarred(path, files, mode) if mode else zipped(path, files)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="cannot read the archive"):
        open_images(path)


@pytest.mark.parametrize(("name", "mode"), TARS[:2])
def test_a_damaged_header_is_not_the_end(tmp_path, files, name, mode):
    plain = tarred(tmp_path / "plain.tar", files).read_bytes()
    place = plain.index(b"005.png")
    damaged = plain[:place] + b"\xff" * 20 + plain[place + 20 :]
    path = tmp_path / name
    path.write_bytes(gzip.compress(damaged) if mode == "w:gz" else damaged)
    with pytest.raises(InputError, match=f"the header at byte {place} is damaged"):
        open_images(path)


@pytest.mark.parametrize("inside", ["", "run/"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_training_run_in_an_archive_is_not_a_set_of_images(tmp_path, make, inside):
    files = {f"{inside}losses.png": PNG, f"{inside}samples/1.png": PNG}
    path = make(tmp_path / f"a.{'zip' if make is zipped else 'tar'}", files)
    assert open_images(path).count == open_images([path]).count == 2
    path.unlink()
    make(path, files | {f"{inside}log.jsonl": b"{}"})
    for source in (path, [path]):
        with pytest.raises(InputError, match="is the folder of a training run: its losses.png"):
            open_images(source)
    assert open_images(path, exclude="losses.png").count == 1


def test_the_index_is_small(tmp_path):
    path = tarred(tmp_path / "a.tar", {f"{i:05d}.png": b"" for i in range(4000)})
    tracemalloc.start()
    assert open_images(path).count == 4000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 400  # as much as a header of tarfile's takes alone


def test_nothing_is_unpacked_and_little_is_held(tmp_path):
    big = {f"{i:02d}.bmp": encode(crop(i, 200, 300), "BMP") for i in range(40)}
    paths = [zipped(tmp_path / "a.zip", big), tarred(tmp_path / "a.tgz", big, "w:gz")]
    before = set(tmp_path.iterdir())
    for path in paths:
        source = open_images(path)
        next(iter(source.batches(1)))  # Pillow's own modules
        tracemalloc.start()
        for _ in source.batches(2):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 12 * 180_000, peak  # of 40 such images
    assert set(tmp_path.iterdir()) == before
