"""`ganfast stats`: nothing is lost to a file that can't be written after hours of work."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ganfast import metrics


class Made:
    """Statistics that only know their size and how to be saved."""

    def __init__(self, skipped: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> None:
        self.notes = notes
        self.n, self.protocol, self.skipped = 1234, "clean", skipped

    def save(self, path: str) -> None:
        Path(path).write_bytes(b"saved")


@pytest.fixture
def statistics(monkeypatch) -> SimpleNamespace:
    """In place of ganfast.metrics.image_statistics: what it was given, and what it returns."""
    seen = SimpleNamespace(calls=[], made=Made())

    def image_statistics(source, **given):
        seen.calls.append((source, given))
        return seen.made

    monkeypatch.setattr(metrics, "image_statistics", image_statistics)
    return seen


def test_writes_the_file_and_says_so(call, sides, statistics, tmp_path):
    out = tmp_path / "out.npz"
    code, text, err = call("stats", sides[0], out, "--protocol", "clean", "--workers", "2")
    assert (code, err) == (0, "") and out.read_bytes() == b"saved"
    assert text == f"{out}: mu and sigma of 1,234 images, clean\n"
    given = {"protocol": "clean", "workers": 2, "progress": False}
    assert statistics.calls == [(sides[0], given)]


def test_the_flags_are_the_arguments_of_image_statistics(call):
    parameters = inspect.signature(metrics.image_statistics).parameters
    assert list(parameters)[0] == "source"
    text = call("stats", "--help")[1]
    for name in {*parameters} - {"source"}:
        assert f"--{name.replace('_', '-')} " in text or name in ("progress", "key")


def test_skipped_files_are_named_and_told_by_the_exit_code(call, sides, statistics, tmp_path):
    statistics.made = Made(("broken.png",), ("images: 1 skipped: no image",))
    code, text, err = call("stats", sides[0], tmp_path / "out.npz", "--on-error", "skip")
    assert code == 3 and err == (
        "ganfast: note: images: 1 skipped: no image\nganfast: note: skipped broken.png\n"
    )
    code, text, err = call("stats", sides[0], tmp_path / "again.npz", "--on-error=skip", "-q")
    assert code == 3 and err == ""


def test_a_file_is_replaced_only_when_told(call, sides, statistics, tmp_path):
    out = tmp_path / "out.npz"
    out.write_bytes(b"kept")
    code, text, err = call("stats", sides[0], out)
    assert (code, text) == (1, "") and "--overwrite" in err and len(err.splitlines()) == 1
    assert out.read_bytes() == b"kept" and not statistics.calls
    assert call("stats", sides[0], out, "--overwrite")[0] == 0 and out.read_bytes() == b"saved"


def refused(call, statistics, *argv: object) -> tuple[int, str]:
    """Exit code and the one line, with no work done."""
    code, text, err = call("stats", *argv)
    assert text == "" and len(err.splitlines()) == 1 and not statistics.calls
    return code, err


def test_what_cannot_be_written_is_known_before_the_work(call, sides, statistics, tmp_path):
    code, line = refused(call, statistics, sides[0], tmp_path / "nowhere" / "out.npz")
    assert code == 1 and "there is no folder" in line
    (tmp_path / "folder.npz").mkdir()
    code, line = refused(call, statistics, sides[0], tmp_path / "folder.npz", "--overwrite")
    assert code == 1 and "is a folder" in line
    code, line = refused(call, statistics, sides[0], tmp_path / "out.pt")
    assert code == 2 and "ends in .npz" in line
    code, line = refused(call, statistics, sides[0] + "-nowhere", tmp_path / "out.npz")
    assert code == 1 and "-nowhere" in line


def test_a_read_only_folder_is_known_before_the_work(
    call, sides, statistics, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root's own answer is always yes
    code, line = refused(call, statistics, sides[0], tmp_path / "out.npz")
    assert code == 1 and "can't write" in line


def test_flags_of_a_comparison_are_not_its_own(call, sides, statistics, tmp_path):
    code, line = refused(call, statistics, sides[0], tmp_path / "out.npz", "--kid")
    assert code == 2 and "--kid" in line
