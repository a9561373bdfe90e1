"""Which files of a folder are its images, and in which order."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from image_samples import crop, encode, images_in, png_files, write

from ganfast.errors import InputError
from ganfast.metrics.images import Skipped, open_images

PNG = encode(crop(0, 4, 4))


def names_in(folder, **options) -> list[str]:
    return open_images(folder, **options)._files.names


def test_recursive_any_case_sorted_by_relative_name(tmp_path):
    names = ["b.PNG", "a/z.Jpg", "a.png", "a/B/c.tiff", "a b/ü.webp", "B.jpeg", "a-1.bmp"]
    write(tmp_path, dict.fromkeys(names, PNG))
    assert names_in(tmp_path) == sorted(names)


def test_images_come_in_that_order(tmp_path):
    write(tmp_path, {f"{name}.png": encode(crop(i)) for i, name in enumerate("cab")})
    for image, number in zip(images_in(open_images(tmp_path)), (1, 2, 0), strict=True):
        assert torch.equal(image, torch.from_numpy(crop(number)))


def test_what_the_system_left_is_no_image(tmp_path):
    left = [".a.png", "._a.png", ".git/a.png", "__MACOSX/a.png", "x/.ipynb_checkpoints/a.png"]
    write(tmp_path, dict.fromkeys([*left, "a.png"], PNG) | {"Thumbs.db": b"x"})
    source = open_images(tmp_path)
    assert names_in(tmp_path) == ["a.png"] and source.ignored == {}


LEFT = [".AppleDouble", "__MACOSX", ".ipynb_checkpoints", "@eaDir", "#recycle", "$RECYCLE.BIN"]
LEFT += ["lost+found", ".Trash-1000", ".snapshot", ".zfs", ".thumbnails", ".git", "@Recycle"]
LEFT += [".@__thumb", "System Volume Information", "~snapshot", "#snapshot", "__pycache__"]
LEFT_FILES = [".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini", "._a.png", "Icon\r"]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "pattern"])
def test_what_a_server_or_a_system_leaves_is_no_image(tmp_path, kind):
    own = ["a.png", "snapshots/e.png", "thumbnails/b.png", "recycle/c.png", "tmp/d.png"]
    left = [f"{folder}/x.png" for folder in LEFT] + [f"in/{LEFT[3]}/a.png/thumb.jpg", *LEFT_FILES]
    write(tmp_path / "all", dict.fromkeys([*own, *left], PNG))
    if kind in ("zip", "tar"):
        import shutil

        path = shutil.make_archive(str(tmp_path / "all"), kind, tmp_path / "all")
    else:
        path = str(tmp_path / "all") + ("/**" if kind == "pattern" else "")
    source = open_images(path)
    prefix = f"{tmp_path}/all/" if kind == "pattern" else ""
    assert sorted(source._files.names) == sorted(prefix + name for name in own)
    assert source.ignored == {}


def test_a_folder_that_is_named_is_meant(tmp_path):
    write(tmp_path / "@eaDir", {"a.png": PNG})
    assert open_images(tmp_path / "@eaDir").count == 1
    assert open_images(tmp_path / "@eaDir" / "*.png").count == 1
    write(tmp_path, {".run1/a.png": PNG, ".run2/a.png": PNG, "x/b.png": PNG})
    for pattern in (".run{1..2}/*.png", ".run*/a.png", ".r*/*.png"):
        assert open_images(tmp_path / pattern).count == 2
    assert open_images(tmp_path / "*" / "*.png").count == 1


def test_other_files_are_counted(tmp_path):
    write(
        tmp_path, {"a.png": PNG, "b.heic": b"", "c/d.HEIC": b"", "labels.csv": b"", "README": b""}
    )
    assert open_images(tmp_path).ignored == {".heic": 2, ".csv": 1, "(none)": 1}


def test_odd_names(tmp_path):
    names = ["a\nb.png", "ünï/ç ö.png", "日本.png", " lead.png", "100%.png", "'q\".png"]
    write(tmp_path, dict.fromkeys(names, PNG))
    if sys.platform == "linux":
        with open(os.path.join(os.fsencode(tmp_path), b"\xff\xfe.png"), "wb") as file:
            file.write(PNG)
        names.append("\udcff\udcfe.png")
    source = open_images(tmp_path)
    assert names_in(tmp_path) == sorted(names)
    assert len(images_in(source, workers=2)) == len(names)


def test_a_name_that_is_no_text_can_still_be_shown(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"\xff\n.png"), "wb") as file:
        file.write(b"text")
    with pytest.raises(InputError) as caught:
        images_in(open_images(tmp_path))
    str(caught.value).encode()
    assert r"\udcff\n.png" in str(caught.value) and "\n" not in str(caught.value)


def test_linked_files_and_folders_are_read(tmp_path):
    real = write(tmp_path / "real", {"sub/a.png": PNG, "b.png": PNG})
    root = write(tmp_path / "root", {"own.png": PNG})
    (root / "link.png").symlink_to(real / "b.png")
    (root / "folder").symlink_to(real)
    assert names_in(root) == ["folder/b.png", "folder/sub/a.png", "link.png", "own.png"]


def test_a_folder_is_read_once_and_under_its_own_name(tmp_path):
    write(tmp_path, {"z/a.png": PNG, "z/deep/b.png": PNG})
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "z" / "again").symlink_to(tmp_path / "z" / "deep")
    assert names_in(tmp_path) == ["z/a.png", "z/deep/b.png"]


def test_cycles_end(tmp_path):
    root = write(tmp_path / "root", {"sub/a.png": PNG, "b.png": PNG})
    (root / "sub" / "up").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "ring.png").symlink_to(root / "ring.png")
    (root / "parent").symlink_to(tmp_path)
    (tmp_path / "other").symlink_to(root / "sub")
    assert names_in(root) == ["b.png", "ring.png", "sub/a.png"]
    (batch,) = open_images(root, on_error="skip").batches(4)
    assert [skipped.name for skipped in batch.skipped] == [f"{root}/ring.png"]


def test_the_folder_itself_may_be_a_link(tmp_path):
    write(tmp_path / "real", {"a.png": PNG})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names_in(tmp_path / "link") == ["a.png"]


def test_a_link_to_nowhere_is_a_file_that_cannot_be_read(tmp_path):
    write(tmp_path, {"a.png": PNG})
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    (batch,) = open_images(tmp_path, on_error="skip").batches(4)
    assert batch.skipped == [Skipped(f"{tmp_path}/b.png", "No such file or directory")]


def as_nobody(function):
    """What ``function`` returns where permissions count, as they don't for root."""
    if os.geteuid() != 0:
        return function()
    os.seteuid(65534)
    try:
        return function()
    finally:
        os.seteuid(0)


@pytest.fixture
def open_to_all(tmp_path):
    """A folder that others than root can enter: pytest's own are closed to them."""
    import tempfile

    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield path


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as POSIX has them")
def test_a_file_without_permission(open_to_all):
    path = os.path.join(open_to_all, "a.png")
    with open(path, "wb") as file:
        file.write(PNG)
    os.chmod(path, 0)
    source = open_images(open_to_all)
    with pytest.raises(InputError, match=r"cannot read .*/a.png: Permission denied; mend"):
        as_nobody(lambda: images_in(source))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as POSIX has them")
def test_a_folder_without_permission(open_to_all):
    inner = os.path.join(open_to_all, "inner")
    os.mkdir(inner)
    os.chmod(inner, 0)

    def attempt(path):
        with pytest.raises(InputError) as caught:
            open_images(path, name="real")
        return str(caught.value)

    cannot_list = f"real: cannot list the folder {inner!r}: Permission denied"
    assert as_nobody(lambda: attempt(open_to_all)) == cannot_list
    inside = os.path.join(inner, "a.zip")
    cannot_open = f"real: cannot open {inside!r}: Permission denied"
    assert as_nobody(lambda: attempt(inside)) == cannot_open


def test_empty_folders_say_what_was_there(tmp_path):
    with pytest.raises(InputError, match=f"^fake: no images in '{tmp_path}': it is empty$"):
        open_images(tmp_path, name="fake")
    write(tmp_path, {"a.heic": b"", "b/c.heic": b"", "d.txt": b"", ".hidden.png": PNG})
    with pytest.raises(InputError, match=r"3 files \(2 .heic, 1 .txt\), and .* \.jpg "):
        open_images(tmp_path)


def test_the_fingerprint_is_that_of_the_list(tmp_path):
    first = write(tmp_path / "first", png_files(3))
    same = write(tmp_path / "elsewhere", png_files(3))
    more = write(tmp_path / "more", png_files(4))
    renamed = write(tmp_path / "renamed", {f"x{n}": data for n, data in png_files(3).items()})
    longer = write(tmp_path / "longer", png_files(3) | {"000.png": PNG + b"\0"})
    prints = [open_images(p).fingerprint for p in (first, same, more, renamed, longer)]
    assert prints[0] == prints[1] and len(set(prints)) == 4
    assert all(len(p) == 64 and int(p, 16) >= 0 for p in prints)


def test_attributes(tmp_path):
    source = open_images(write(tmp_path, png_files(5)), name="real")
    assert (source.name, source.count, source.resumable) == (str(tmp_path), 5, True)
    assert open_images(write(tmp_path / "one", {"a.png": PNG})).count == 1
