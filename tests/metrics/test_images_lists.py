"""Images by their paths: lists of them, and patterns."""

from __future__ import annotations

import os
import pathlib

import pytest
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
    with pytest.raises(InputError, match="got a list with 'x.tar.gz', which holds many images"):
        open_images([folder / "3.JPG", "x.tar.gz"])
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
        ("l.txt", "a.zip", "give it by itself"),
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
