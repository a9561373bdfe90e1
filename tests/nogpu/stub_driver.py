"""A Triton driver without a GPU: kernels are really compiled, launches are only written down."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase


class Launch(NamedTuple):
    """One launch: the kernel's name, its grid, the type of each argument and its value."""

    kernel: str
    grid: int
    types: dict[str, str]
    values: dict[str, Any]


class StubDriver(DriverBase):
    def __init__(self) -> None:
        super().__init__()
        self.launches: list[Launch] = []
        self.utils = SimpleNamespace(
            load_binary=lambda *_: (object(), 0, 32, 0, 1024),
            unload_module=lambda _: None,
            get_device_properties=lambda _: {"max_shared_mem": 2**17},
        )

    def launcher_cls(self, source, metadata):
        names = source.fn.arg_names
        types = {n if isinstance(n, str) else names[n[0]]: t for n, t in source.signature.items()}

        def launch(grid, _y, _z, _stream, _function, _packed, _metadata, _enter, _exit, *values):
            values = dict(zip(names, values, strict=True))
            self.launches.append(Launch(source.fn.__name__, grid, types, values))

        return launch

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, _device):
        return 0

    @classmethod
    def is_active(cls):
        return False

    def map_python_to_cpp_type(self, ty):
        raise NotImplementedError

    def get_active_torch_device(self):
        raise NotImplementedError

    def get_benchmarker(self):
        raise NotImplementedError
