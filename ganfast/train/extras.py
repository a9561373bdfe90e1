"""The packages of the `demo` extra, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from ganfast.errors import InputError

# import name -> the name to show, where they differ
_SHOWN = {"sklearn": "scikit-learn", "PIL": "pillow"}


def need(module: str) -> Any:
    """Import ``module`` (dotted names too), or raise InputError that says how to install it."""
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there, and something that it imports is not
        shown = _SHOWN.get(package, package)
        raise InputError(f"needs {shown}: pip install 'ganfast[demo]'") from None
