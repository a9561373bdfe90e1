"""Room in memory and on the disk: asked for before hours of work, not missed after them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ganfast.errors import InputError


def require_memory(argument: str, what: str, needed: int) -> None:
    """InputError if ``what`` takes more bytes than this machine can give, swap included. Where it
    does not say how many these are, nothing is asked."""
    there = _memory()
    if there is not None and needed > there:
        raise InputError(
            f"{argument}: {what} would take {size(needed)} of memory, and this machine has "
            f"{size(there)} left; give fewer"
        )


def require_disk(argument: str, what: str, needed: int, folder: Path) -> None:
    """InputError if ``what`` takes more bytes than are free where ``folder`` is."""
    there = shutil.disk_usage(folder).free
    if needed > there:
        raise InputError(
            f"{argument}: {what} would take about {size(needed)}, and {str(folder)!r} has "
            f"{size(there)} free; give fewer, or another place"
        )


def size(count: float) -> str:
    """So many bytes, in a unit that suits."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def _memory() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            facts = dict(line.split(":", 1) for line in file)
        return 1024 * sum(int(facts[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):  # not Linux
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not POSIX
        return None
