"""What a piece of host code asks of a GPU: operations, copies, and the times that it waits.

Also where the GPU is simulated, or none at all: counted is what is asked for, not what happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_READS = {"cpu", "numpy", "tolist", "__array__"}
"""Methods of tensors that bring values to the host."""
_WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"}
_NOTHING = {"empty", "empty_strided", "empty_like", "new_empty", "detach", "alias", "is_pinned"}


class HostCalls:
    """Counts, inside of a ``with`` block: ``operations`` of torch by name, ``waits`` for the device
    by what waits, and ``copies`` from the host, "pinned" or "pageable"."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()

    def __enter__(self) -> HostCalls:
        self._modes: tuple[Any, ...] = (_Methods(self), _Operations(self))
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*failure)


class _Methods(TorchFunctionMode):
    def __init__(self, calls: HostCalls) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _READS or (name == "to" and _names("cpu", (*args[1:], *kwargs.values()))):
            self.calls.waits[name] += 1
        elif (name == "to" and _names("cuda", (*args[1:], *kwargs.values()))) or name == "cuda":
            self.calls.copies["pinned" if kwargs.get("non_blocking") else "pageable"] += 1
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __init__(self, calls: HostCalls) -> None:
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        masked = name in ("aten::index", "aten::index_put_") and any(
            isinstance(x, torch.Tensor) and x.dtype in (torch.bool, torch.uint8)
            for x in tree_leaves(args[1])
        )
        if name in _WAITING or masked:
            self.calls.waits[name] += 1
        elif not func.is_view and name.removeprefix("aten::") not in _NOTHING:
            self.calls.operations[name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))


def _names(kind: str, given: Iterable[Any]) -> bool:
    """Whether a device of this kind is among the arguments."""
    devices = (x for x in given if isinstance(x, (str, torch.device)))
    return any(torch.device(x).type == kind for x in devices)
