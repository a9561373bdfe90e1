"""What `ganfast fid` and `ganfast stats` share: the flags that say how images become features."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganfast.commands.arguments import one_of, whole
from ganfast.commands.failure import note
from ganfast.errors import InputError

EXTRACTORS = ("inception", "digits")
PROTOCOLS = ("pytorch-fid", "torch-fidelity", "clean")
PRECISIONS = ("fp32", "tf32", "bf16")

NAMED_BY_FLAG = (
    *("extractor", "weights", "protocol", "precision", "device", "batch_size", "workers"),
    *("compile", "background", "exif", "on_error", "state"),
)
"""The arguments of ganfast.metrics.image_statistics that have a flag of the same name here."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag left out is left to ganfast.metrics: it is not in the namespace."""

    def add(flag: str, text: str, **facts: Any) -> None:
        parser.add_argument(flag, default=argparse.SUPPRESS, help=text, **facts)

    add(
        "--extractor",
        "whose features: inception (the published FID network), digits (the demo's classifier) "
        "or module:factory of your own (default: inception)",
        metavar="NAME",
        type=one_of(EXTRACTORS, "module:factory", r"[^\W\d][\w.]*:[^\W\d][\w.]*"),
    )
    add(
        "--weights",
        "file of the Inception weights (default: from torch.hub's folder, or downloaded)",
        metavar="FILE",
    )
    add(
        "--protocol",
        f"whose resizing and scaling: {', '.join(PROTOCOLS)} (default: pytorch-fid)",
        metavar="NAME",
        type=one_of(PROTOCOLS),
    )
    add(
        "--precision",
        "of the network: fp32, tf32 (CUDA only) or bf16 (default: fp32)",
        metavar="NAME",
        type=one_of(PRECISIONS),
    )
    add(
        "--device",
        "cpu, cuda or cuda:N (default: cuda if there is one)",
        metavar="DEVICE",
        type=one_of(["cpu", "cuda"], "cuda:N", r"cuda:\d+"),
    )
    add(
        "--batch-size",
        "images that go through the network at once (default: 50)",
        metavar="N",
        type=whole(1),
    )
    add(
        "--workers",
        "processes that decode images; 0 decodes in this one (default: by the device)",
        metavar="N",
        type=whole(0),
    )
    add("--compile", "torch.compile the network: minutes, for some speed", action="store_true")
    add(
        "--background",
        "what shows through transparent pixels: white or black (default: white)",
        metavar="COLOUR",
        type=one_of(["white", "black"]),
    )
    add("--exif", "turn photographs as their EXIF orientation says", action="store_true")
    add(
        "--on-error",
        "what a file that can't be read does: raise or skip; skipped ones are named, and the exit "
        "code is 3 (default: raise)",
        metavar="WHAT",
        type=one_of(["raise", "skip"]),
    )
    add(
        "--state",
        "keep the run in FILE: after an interruption the same command goes on from there",
        metavar="FILE",
    )
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no progress bar and no notes on stderr"
    )


def settings(arguments: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """The given ones of the arguments called ``names``, by name."""
    return {name: value for name, value in vars(arguments).items() if name in names}


def wants_progress(arguments: argparse.Namespace) -> bool:
    """A bar is for a person: where stderr is a file it would be a page of noise."""
    silent = arguments.no_progress or arguments.quiet
    return not silent and sys.stderr is not None and sys.stderr.isatty()


def check_paths(arguments: argparse.Namespace, *sources: str) -> None:
    """InputError for what can be seen at a glance, before a second is spent on imports, let alone
    hours on images."""
    for path in sources:
        if not os.path.exists(path):
            raise InputError(f"no such file or folder: {path!r}")
    weights = getattr(arguments, "weights", None)
    if weights is not None and not os.path.isfile(os.path.expanduser(weights)):
        raise InputError(f"--weights: no such file: {weights!r}")
    state = getattr(arguments, "state", None)
    if state is not None:
        check_writable(state, "--state")


def check_writable(path: str, name: str) -> None:
    """InputError if no file can be made at ``path``."""
    folder = Path(path).parent
    if os.path.isdir(path):
        raise InputError(f"{name}: {path!r} is a folder; give a file in it")
    if not folder.is_dir():
        raise InputError(f"{name}: there is no folder {str(folder)!r}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{name}: can't write to the folder {str(folder)!r}; choose another")


@contextmanager
def told_what_helps(arguments: argparse.Namespace) -> Iterator[None]:
    """Too little memory, and Ctrl-C, with what to do about them."""
    try:
        yield
    except KeyboardInterrupt:
        state = getattr(arguments, "state", None)
        if state is None or not os.path.exists(state):
            raise
        kept = f"; {state} keeps what is done, and the same command goes on with it"
        raise KeyboardInterrupt(kept) from None
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise InputError("out of memory: give a smaller --batch-size or fewer --workers") from error


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a type for the GPU's memory alone, and it is not imported here."""
    words = "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or words


def tell_on_stderr(notes: list[str], skipped: list[str]) -> None:
    """What a reader of the result alone would miss."""
    for sentence in notes:
        note(sentence)
    for name in skipped:
        note(f"skipped {name}")
