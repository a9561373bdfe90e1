"""What training needs around it: the packages of the `demo` extra, a number of CPU threads, a
folder to write to."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ganfast import _checks
from ganfast.errors import InputError

# import name -> the name to install it by, where they differ
_INSTALLED_AS = {"sklearn": "scikit-learn", "PIL": "pillow"}
_BY_ITSELF = ("tensorboard",)  # in no extra that one needs for anything else


def need(module: str) -> Any:
    """Import ``module`` (dotted names too), or raise InputError that says how to install it."""
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there, and something that it imports is not
        raise _missing(package) from None


def _missing(package: str) -> InputError:
    name = _INSTALLED_AS.get(package, package)
    by = name if package in _BY_ITSELF else "'ganfast[demo]'"
    return InputError(f"needs {name}: pip install {by}")


def file_inside(package: str, path: str) -> Path | None:
    """A file that an installed package carries. The package is found and not imported: that takes
    a second where it is large."""
    spec = importlib.util.find_spec(package)
    places = (spec.submodule_search_locations or ()) if spec is not None else ()
    files = [Path(place) / path for place in places]
    return next((file for file in files if file.is_file()), None)


def need_file(package: str, path: str) -> Path:
    """``file_inside``, or InputError that says how to install the package."""
    file = file_inside(package, path)
    if file is None:
        raise _missing(package)
    return file


@contextmanager
def cpu_threads(n: int | None) -> Iterator[None]:
    """Run on ``n`` CPU threads (None: as it is), and put the caller's number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def writable_folder(path: str | Path) -> Path:
    """``path``, made if need be, and tried by a file: better now than after an hour."""
    out = _checks.path("out", path)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return out
    except OSError as error:
        raise InputError(
            f"out: got {str(out)!r}, which can't be written to ({error.strerror or error}); "
            "give another folder"
        ) from None
