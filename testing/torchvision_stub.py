"""Makes torchvision importable beside a torch for which its wheel has no compiled operators.

All four projects import torchvision, for images alone; the distance needs none of its operators.
A build of torchvision for another torch does not register them, and then fails to import.
"""

from __future__ import annotations

import importlib
import re
import sys

import torch

_libraries: list[torch.library.Library] = []  # an operator lives as long as its library


def import_torchvision() -> None:
    """Import torchvision, with an empty operator defined for each that it misses."""
    for _ in range(20):  # it needs two of them today
        try:
            importlib.import_module("torchvision")
            return
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if not missing:
                raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # half of it is there: start again
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(f"{missing[1]}(Tensor x) -> Tensor")
        _libraries.append(library)
    raise ImportError("torchvision misses too many of its operators")
