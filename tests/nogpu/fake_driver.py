"""fake_driver.c as a library, and what its launches were given."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
import triton

SOURCE = Path(__file__).with_name("fake_driver.c")
_OF_TRITON = Path(triton.__file__).parent / "backends" / "nvidia" / "driver.c"


class Given(NamedTuple):
    function: int
    dimensions: tuple[int, ...]
    """Of the grid, of a block, and bytes of shared memory."""
    stream: int
    attributes: int
    parameters: tuple[bytes, ...]


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="fake_driver_")


@cache
def build() -> Path:
    """The path of the library."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build a stand-in for the driver")
    text = SOURCE.read_text()
    wanted = set(re.findall(r"\bcu[A-Z]\w+(?=\()", _OF_TRITON.read_text()))
    text += "".join(
        f"int {name}() {{ return 0; }}\n" for name in sorted(wanted) if name not in text
    )
    source, library = (Path(_folder().name, name) for name in ("driver.c", "libcuda.so.1"))
    source.write_text(text)
    name = "-Wl,-soname,libcuda.so.1"  # what links to the driver takes this one, once it is loaded
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", name, source, "-o", library], check=True)
    return library


class Driver:
    """The library, loaded."""

    def __init__(self) -> None:
        self.path = build()
        self.library = ctypes.CDLL(str(self.path))

    def expect(self, *sizes: int) -> None:
        """Of the parameters of the launches that come."""
        (ctypes.c_int * 64).in_dll(self.library, "sizes")[: len(sizes)] = sizes
        ctypes.c_int.in_dll(self.library, "size_count").value = len(sizes)

    @property
    def launches(self) -> int:
        return ctypes.c_int.in_dll(self.library, "launches").value

    def set_device(self, number: int) -> None:
        """The current one; -1: none yet."""
        ctypes.c_int.in_dll(self.library, "device").value = number

    def fail(self, error: int) -> None:
        """What launches return; 0: they are done."""
        ctypes.c_int.in_dll(self.library, "failure").value = error

    def last(self) -> Given:
        def address(name: str) -> int:
            return ctypes.c_void_p.in_dll(self.library, name).value or 0

        count = ctypes.c_int.in_dll(self.library, "size_count").value
        values = ((ctypes.c_ubyte * 8) * 64).in_dll(self.library, "parameters")
        return Given(
            address("function"),
            tuple((ctypes.c_uint * 7).in_dll(self.library, "dimensions")),
            address("stream"),
            ctypes.c_uint.in_dll(self.library, "attribute_count").value,
            tuple(bytes(values[i]) for i in range(count)),
        )
