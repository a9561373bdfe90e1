"""What training needs around it: the packages of the `demo` extra, a number of CPU threads."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ganfast.errors import InputError

# import name -> the name to install it by, where they differ
_INSTALLED_AS = {"sklearn": "scikit-learn", "PIL": "pillow"}


def need(module: str) -> Any:
    """Import ``module`` (dotted names too), or raise InputError that says how to install it."""
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there, and something that it imports is not
        name = _INSTALLED_AS.get(package, package)
        raise InputError(f"needs {name}: pip install 'ganfast[demo]'") from None


@contextmanager
def cpu_threads(n: int | None) -> Iterator[None]:
    """Run on ``n`` CPU threads (None: as it is), and put the caller's number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
