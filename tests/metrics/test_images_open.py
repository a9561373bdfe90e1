"""Paths that are no source, and the options."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from image_samples import crop, encode, images_in, png_files, write

from ganfast.errors import InputError
from ganfast.metrics.images import open_images

PNG = encode(crop(0))


def message(source, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_images(source, name="real", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_path_has_a_neighbour(tmp_path):
    write(tmp_path, {"celeba/train/0.png": PNG})
    assert message(tmp_path / "celeba" / "trian") == (
        f"real: '{tmp_path}/celeba/trian' does not exist; did you mean '{tmp_path}/celeba/train'?"
    )
    assert message(tmp_path / "CelebA" / "train").endswith(f"mean '{tmp_path}/celeba'?")
    assert message(tmp_path / "celebb" / "train").endswith(f"mean '{tmp_path}/celeba'?")
    assert message(tmp_path / "qqq") == f"real: '{tmp_path}/qqq' does not exist"
    assert "does not exist" in message(tmp_path / "celeba" / "train" / "0.png" / "x")
    assert "does not exist" in message("a\0b")


def test_a_single_image_or_an_unknown_file(tmp_path):
    write(tmp_path, {"a.PNG": PNG, "a.rar": b"", "a.pkl": b""})
    assert "is a single image; give the folder" in message(tmp_path / "a.PNG")
    for name in ("a.rar", "a.pkl"):
        assert "is of no known kind; give a folder, .zip, .tar" in message(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes as POSIX has them")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    assert "neither a file nor a folder" in message(tmp_path / "a.zip")


def test_relative_paths_and_strings(tmp_path, monkeypatch):
    write(tmp_path, {"set/a.png": b"text"})
    monkeypatch.chdir(tmp_path)
    source = open_images("set/")
    assert source.name == "set/"
    with pytest.raises(InputError, match="cannot read set/a.png: holds text"):
        list(source.batches(1))


def test_a_source_is_returned_as_it_is(tmp_path):
    source = open_images(write(tmp_path, {"a.png": PNG}))
    assert open_images(source) is source


def test_options_are_checked(tmp_path):
    write(tmp_path, {"a.png": PNG})
    assert (
        message(tmp_path, background="pink") == "background: got 'pink'; give one of white, black"
    )
    assert message(tmp_path, on_error="ignore") == "on_error: got 'ignore'; give one of raise, skip"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size: got 0; give a whole number of at least 1"),
        ({"batch_size": 2.0}, "batch_size: got 2.0; give a whole number of at least 1"),
        ({"workers": -1}, "workers: got -1; give a whole number of at least 0"),
        ({"workers": True}, "workers: got True; give a whole number of at least 0"),
        ({"world_size": 0}, "world_size: got 0; give a whole number of at least 1"),
        ({"rank": 2, "world_size": 2}, r"rank: got 2; give one below world_size, 2"),
        ({"start": -1}, "start: got -1; give a whole number of at least 0"),
    ],
)
def test_arguments_of_batches_are_checked_at_once(tmp_path, options, text):
    source = open_images(write(tmp_path, png_files(2)))
    with pytest.raises(InputError, match=text):
        source.batches(**({"batch_size": 2} | options))


def test_without_pillow_arrays_work_and_folders_say_what_to_install(tmp_path, monkeypatch):
    write(tmp_path, {"a.png": PNG})
    monkeypatch.setitem(sys.modules, "PIL", None)
    images = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    assert open_images(images).count == len(images_in(open_images([images]))) == 2
    assert message(tmp_path) == "reading images needs Pillow; pip install 'ganfast[fid]'"
