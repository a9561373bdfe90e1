"""Images by their paths: lists of them, and patterns."""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest
import torch
from image_samples import crop, encode, images_in, write

from ganfast.errors import InputError
from ganfast.metrics.images import open_images

NAMES = ["a/0.png", "a/1.png", "b/2.png", "b/.hidden.png", "b/notes.txt", "3.JPG"]


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "x y", {n: encode(crop(i)) for i, n in enumerate(NAMES)})


def names_in(source, folder) -> list[str]:
    opened = open_images(source)
    assert len(images_in(opened)) == opened.count == len(opened._files.names)
    return [os.path.relpath(name, folder).replace(os.sep, "/") for name in opened._files.names]


@pytest.mark.parametrize("make", [str, pathlib.Path, os.fsencode])
def test_a_list_of_paths_in_its_order(folder, make):
    paths = [make(str(folder / name)) for name in ("b/2.png", "a/0.png", "a")]
    if make is os.fsencode:  # bytes are no paths of text
        with pytest.raises(InputError):
            images_in(open_images(paths))
        return
    expected = ["b/2.png", "a/0.png", "a/0.png", "a/1.png"]
    assert names_in(paths, folder) == names_in(tuple(paths), folder) == expected


def test_what_cannot_be_in_a_list(folder):
    with pytest.raises(InputError, match="got 'x.tar.gz' among images or folders"):
        open_images([folder / "3.JPG", "x.tar.gz"])
    with pytest.raises(InputError, match="got 'x.npz' among images or folders; give arrays by"):
        open_images([folder / "3.JPG", "x.npz"])
    with pytest.raises(InputError, match="cannot read 'x.npz': .*No such file"):
        open_images(["x.npz"])
    paths = [folder / "a/0.png", folder / "gone.png"]
    with pytest.raises(InputError, match="cannot read .*gone.png: No such file"):
        images_in(open_images(paths))
    (batch,) = open_images(paths, on_error="skip").batches(2)
    assert [one.name for one in batch.skipped] == [str(folder / "gone.png")]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*.png", ["a/0.png", "a/1.png"]),
        ("?/[12].png", ["a/1.png", "b/2.png"]),
        ("**/*.png", ["a/0.png", "a/1.png", "b/2.png"]),
        ("**", ["3.JPG", "a/0.png", "a/1.png", "b/2.png"]),
        ("[ab]", ["a/0.png", "a/1.png", "b/2.png"]),
    ],
)
def test_a_pattern_is_what_a_shell_makes_of_it(folder, pattern, found, monkeypatch):
    assert names_in(folder / pattern, folder) == found
    monkeypatch.setenv("HOME", str(folder.parent))
    assert names_in(f"~/x y/{pattern}", folder) == found


def test_a_pattern_that_matches_nothing(folder):
    with pytest.raises(InputError, match=r"real: no image matches '.*\*.webp'; give a pattern"):
        open_images(folder / "*.webp", name="real")
    with pytest.raises(InputError, match="no image matches .*, but 1 other files"):
        open_images(folder / "b" / "*.txt")


def test_what_has_the_name_of_a_pattern_is_what_is_meant(folder):
    (folder / "a").rename(folder / "[a]")
    assert open_images(folder / "[a]")._files.names == ["0.png", "1.png"]


LISTS = {
    "l.txt": "a/0.png\n\n  b/2.png \r\n",
    "bom.txt": "\ufeffa/0.png\nb/2.png",
    "plain.csv": "a/0.png,cat\nb/2.png,dog\n",
    "quoted.csv": 'label,path\n"two\nlines",a/0.png\nx,b/2.png\n',
    "second.csv": "cat,a/0.png\ndog,b/2.png\n",
    "header.csv": 'label,Path\n"a, cat",a/0.png\n"dog","b/2.png"\n',
}


@pytest.mark.parametrize("name", LISTS)
def test_a_file_that_lists_paths(folder, name, monkeypatch, tmp_path):
    text = LISTS[name]
    (folder / name).write_text(text, encoding="utf-8", newline="")
    expected = ["a/0.png", "b/2.png"]
    assert names_in(folder / name, folder) == expected
    # elsewhere: from the current folder
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    monkeypatch.chdir(folder)
    assert names_in(tmp_path / name, folder) == expected
    # absolute
    (tmp_path / name).write_text(
        text.replace("a/0", f"{folder}/a/0").replace("b/2", f"{folder}/b/2"), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    assert names_in(tmp_path / name, folder) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "\n \n", "names no files"),
        ("l.csv", "", "has no column of paths; call it one of path"),
        ("l.csv", "label,size\ncat,3\n", "has no column of paths"),
        ("l.csv", "path\n", "names no files"),
        ("l.txt", "a.npz\nb.png", "give arrays by themselves"),
    ],
)
def test_lists_that_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        open_images(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_among_the_images_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.png")
    for source in (folder, [folder / "pipe.png"]):
        with pytest.raises(InputError, match="cannot read .*pipe.png: not a regular file"):
            images_in(open_images(source))


@pytest.fixture
def shards(tmp_path):
    """Archives of three images each, 00009 to 00011, and the images in order."""
    for number in range(9, 12):
        files = {f"{i}.png": encode(crop(3 * number + i)) for i in range(3)}
        inside = write(tmp_path / f"in{number}", files | {"notes.md": b""})
        for kind in ("tar", "gztar", "zip"):
            shutil.make_archive(str(tmp_path / f"{number:05}"), kind, inside)
        shutil.rmtree(inside)
    return tmp_path, [torch.from_numpy(crop(i)) for i in range(27, 36)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "pattern", ["*.tar", "*.tar.gz", "*.zip", "{00009..00011}.tar", "0*{9..11}.zip"]
)
def test_shards_are_one_source(shards, pattern, workers):
    folder, expected = shards
    source = open_images(folder / pattern)
    assert source.count == 9 and source.ignored == {".md": 3}
    for batch in (2, 9):
        found = images_in(source, batch, workers=workers)
        assert all(map(torch.equal, found, expected)) and len(found) == 9
    chosen = open_images(folder / pattern, include="2.png", num=2)
    assert all(map(torch.equal, images_in(chosen), [expected[2], expected[5]]))


def test_a_folder_of_nothing_but_shards(shards):
    folder, expected = shards
    for path in (*folder.glob("*.zip"), *folder.glob("*.gz")):
        path.unlink()
    (folder / "index.json").write_text("{}")
    assert all(map(torch.equal, images_in(open_images(folder)), expected))
    write(folder / "deeper", {"a.png": encode(crop(1))})
    assert open_images(folder).count == 1


def test_shards_that_are_missing_or_mixed(shards):
    folder, expected = shards
    with pytest.raises(InputError, match="there is no '.*00012.tar', of '.*00009..00012"):
        open_images(folder / "{00009..00012}.tar")
    listed = [folder / "00010.tar", folder / "00009.zip"]
    assert all(map(torch.equal, images_in(open_images(listed)), expected[3:6] + expected[:3]))
    (folder / "a.png").write_bytes(encode(crop(0)))
    with pytest.raises(InputError, match="among images or folders; give archives by themselves"):
        open_images(folder / "*")
