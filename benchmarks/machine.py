"""The facts of a machine that a figure means nothing without; none that tell whose it is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
from pathlib import Path
from typing import Any

import torch

NOT_INSTALLED = "not installed"


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for key in ("model name", "Hardware", "CPU part"):
            found = re.search(rf"^{key}\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
            if found:
                return found[1].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ram_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (AttributeError, KeyError, OSError):
        return f"{platform.system()} {platform.release()}"


def caches() -> dict[str, str]:
    """Level and size of the first core's data caches, such as {"L2": "2048K"}."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if (folder / "type").read_text().strip() != "Instruction":
                level = (folder / "level").read_text().strip()
                found[f"L{level}"] = (folder / "size").read_text().strip()
        except OSError:
            continue
    return found


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        return NOT_INSTALLED


def isa() -> str:
    """The instruction set that the C++ kernels run on."""
    try:
        from ganfast import _cpu
    except ImportError:
        return "none (not built)"
    return _cpu.isa() or "none (unsupported processor)"


def load() -> float | None:
    """Mean number of runnable processes of the last minute: before a run they are noise."""
    try:
        return round(os.getloadavg()[0], 1)
    except (AttributeError, OSError):
        return None


def peak_kib() -> int:
    """Of this program. getrusage counts also what its parent held when it was started."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def gpu(device: torch.device) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "processors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "l2_mib": round(getattr(properties, "L2_cache_size", 0) / 2**20, 1),
        "cuda": torch.version.cuda,
        "driver": driver(),
        "cudnn": cudnn(),
        "triton": version("triton"),
        "cupy": cupy(),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
    }


def cudnn() -> str | None:
    """cuDNN's version, such as 9.10.2; None where torch has none."""
    number = torch.backends.cudnn.version()
    if number is None:
        return None
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def cupy() -> str:
    """Its version, whichever of its wheels is there."""
    names = ("cupy-cuda13x", "cupy-cuda12x", "cupy")
    found = (version(name) for name in names)
    return next((each for each in found if each != NOT_INSTALLED), NOT_INSTALLED)


def driver() -> str | None:
    """The GPU driver's version, if nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.splitlines()[0].strip() if told.stdout.strip() else None


def facts(threads: int, device: str = "cpu") -> dict[str, Any]:
    where = torch.device(device)
    return {
        **(gpu(where) if where.type == "cuda" else {}),
        "cpu": cpu_model(),
        "architecture": platform.machine(),
        "cores": cores(),
        "threads": threads,
        "caches": caches(),
        "ram_gib": ram_gib(),
        "os": system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ganfast": version("ganfast"),
        "isa": isa(),
    }


def slug(facts: dict[str, Any]) -> str:
    """The machine in a file's name: the GPU, or the CPU and the threads."""
    name = facts.get("gpu") or f"{facts['cpu']} {facts['threads']}threads"
    words = re.sub(r"\((r|tm)\)", "", name, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "unknown"
