"""The ops of ganfast by name, so that a suite of one that is not there is skipped with a reason."""

from __future__ import annotations

import importlib
from typing import Any


class NotThere(Exception):
    """This version of ganfast has no such op."""


def op(path: str) -> Any:
    """``op("functional.interpolate")`` is ganfast.functional.interpolate, or raises NotThere."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(f"ganfast.{module}"), name)
    except (ImportError, AttributeError):
        raise NotThere(f"this ganfast has no ganfast.{path}") from None
