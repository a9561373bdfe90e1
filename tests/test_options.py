"""Settings written once: what the checks, the flags and the documentation make of a dataclass."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ganfast._options import add_flags, check, given, option, with_options
from ganfast.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    size: int = option(50, "images at once", least=1)
    rate: float | None = option(None, "learning rate, 5% of it", above=0, unset="the game's own")
    layer: int | None = option(None, "one of {choices}", choices=(64, 192), unset="all")
    game: str = option("hinge", "what is played: {choices}", choices=("hinge", "minimax"))
    data: str = option(
        "ring",
        "one of {choices}",
        choices=("ring", "grid"),
        form="folder:PATH",
        pattern="folder:.+",
    )
    device: str | object = option("cpu", "where", choices=("cpu", "cuda"))
    exif: bool = option(False, "turn the images")
    score: bool = option(True, "also the score")
    out: str | Path | None = option(None, "where it goes", metavar="DIR")
    only: str | Sequence[str] = option((), "patterns of names", metavar="PATTERN")
    hidden: bool = option(False, "has no flag", flag=False)

    def __post_init__(self) -> None:
        check(self)


@with_options(Options)
def measure(real: str, fake: str, options: Options) -> tuple[str, str, Options]:
    """Measure.

    Args:
        real, fake: two folders.
        {options}

    Returns:
        what it got.
    """
    return real, fake, options


def parsed(*argv: str) -> dict[str, object]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, Options)
    return given(parser.parse_args(argv), Options)


def test_values_become_plain_python():
    made = Options(size=np.int64(3), rate=np.float32(0.5), out=Path("~/here"))
    assert type(made.size) is int and type(made.rate) is float
    assert made.out == str(Path.home() / "here")
    assert Options(only="a*").only == Options(only=["a*"]).only == ("a*",)
    assert Options(device=3).device == 3  # of such a union the class itself knows more


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size: got 0; give a whole number of at least 1"),
        ({"size": True}, "size: got True; give a whole number of at least 1"),
        ({"size": None}, "size: got None; give a whole number of at least 1"),
        ({"layer": 65}, "layer: got 65; give one of 64, 192"),
        ({"layer": "64"}, "layer: got '64'; give a whole number"),
        ({"rate": 0}, "rate: got 0; give a finite number above 0"),
        ({"game": "hing"}, "game: got 'hing'; give one of hinge, minimax; did you mean 'hinge'?"),
        ({"data": "folder:"}, "data: got 'folder:'; give one of ring, grid, folder:PATH"),
        ({"exif": 1}, "exif: got 1; give True or False"),
        ({"out": 3}, "out: got 3; give a path"),
        ({"out": list(range(1000))}, "out: got [0, 1, 2, 3, 4, 5, ...]; give a path"),
        ({"only": 3}, "only: got 3; give a text, or a list of texts"),
        ({"only": ["a", 3]}, "only: got ['a', 3]; give a text, or a list of texts"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(wrong, message):
    with pytest.raises(InputError) as error:
        Options(**wrong)
    assert str(error.value).startswith(message)


def test_a_flag_for_each_and_what_is_left_out_is_left_to_the_class():
    assert parsed() == {}
    argv = [
        "--size",
        "7",
        "--layer",
        "64",
        "--rate",
        "0.5",
        "--game",
        "minimax",
        "--data",
        "folder:x",
        "--exif",
    ]
    assert parsed(
        *argv, "--device", "cuda", "--no-score", "--out", "there", "--only=a", "--only=b"
    ) == {
        "size": 7,
        "layer": 64,
        "rate": 0.5,
        "game": "minimax",
        "data": "folder:x",
        "exif": True,
        "device": "cuda",
        "score": False,
        "out": "there",
        "only": ["a", "b"],
    }
    with pytest.raises(SystemExit):
        parsed("--hidden")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--size", "1.5"], "--size: got '1.5'; give a whole number of at least 1"),
        (["--size", "0"], "--size: got 0; give a whole number of at least 1"),
        (["--layer", "65"], "--layer: got 65; give one of 64, 192"),
        (["--rate", "fast"], "--rate: got 'fast'; give a finite number above 0"),
        (["--device", "tpu"], "--device: got 'tpu'; give one of cpu, cuda; did you mean 'cpu'?"),
    ],
    ids=" ".join,
)
def test_a_wrong_flag_is_told_in_the_same_words(argv, message):
    with pytest.raises(argparse.ArgumentError) as error:
        parsed(*argv)
    assert str(error.value) == message


def test_help_says_what_is_known(capsys):
    with pytest.raises(SystemExit):
        parsed("--help")
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "--size N images at once (default: 50)",
        "--rate X learning rate, 5% of it (default: the game's own)",
        "--layer N one of 64 or 192 (default: all)",
        "--game GAME what is played: hinge or minimax (default: hinge)",
        "--data DATA one of ring, grid or folder:PATH (default: ring)",
        "--exif turn the images",
        "--score, --no-score also the score (default: on)",
        "--out DIR where it goes",
        "--only PATTERN patterns of names",
    ):
        assert words in text


def test_a_function_takes_the_options_as_keywords():
    assert measure("a", fake="b", size=3) == ("a", "b", Options(size=3))
    parameters = inspect.signature(measure).parameters
    assert list(parameters)[:3] == ["real", "fake", "size"] and "options" not in parameters
    assert parameters["size"].default == 50 and parameters["size"].kind.name == "KEYWORD_ONLY"
    text = inspect.getdoc(measure)
    assert "    size: images at once (default: 50).\n    rate: learning rate" in text


def test_an_unknown_keyword_is_a_type_error_that_helps():
    with pytest.raises(TypeError, match=r"measure\(\) got .* 'sizes'; did you mean 'size'\?"):
        measure("a", "b", sizes=3)
    with pytest.raises(TypeError, match="options"):
        measure("a", "b", options=Options())
    with pytest.raises(TypeError, match="fake"):
        measure("a")
