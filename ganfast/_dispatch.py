"""Which backend serves an op on a tensor: the only place that decides, and the only one that reads
GANFAST_*.

Automatic choice goes down :data:`ORDER` to the first backend that can serve; the reference always
can. ``with backend(name)`` or ``GANFAST_BACKEND=name`` forces one, and one that cannot serve raises
and says why.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from ganfast.errors import InputError

BACKENDS = ("cpu", "triton", "cuda", "reference")
"""Every backend, in the order in which automatic choice tries them."""

OPS = (
    "discriminator_loss",
    "generator_loss",
    "clip_weights_",
    "rmsprop",
    "adam",
    "interpolate",
    "penalty_from_gradient",
    "sqrtm",
    "trace_sqrtm",
    "moments",
    "preprocess",
)
"""The public functions that a backend can serve."""

_MODULES = {
    "cpu": "ganfast.backends.cpu",
    "triton": "ganfast.backends.triton",
    "cuda": "ganfast.backends.cuda",
    "reference": "ganfast.reference",
}


class Verdict(NamedTuple):
    """Whether ``backend`` can serve, and why (not)."""

    backend: str
    ok: bool
    reason: str


def _check_name(name: str, origin: str) -> str:
    if name not in BACKENDS:
        raise InputError(f"{origin}: got {name!r}; the backends are {', '.join(BACKENDS)}")
    return name


@cache
def _from_environment() -> str | None:
    # Read at the first call, not at import: a typing error there would take the whole package down.
    name = os.environ.get("GANFAST_BACKEND", "")
    return _check_name(name, "GANFAST_BACKEND") if name not in ("", "auto") else None


_forced: ContextVar[str | None] = ContextVar("ganfast_backend", default=None)
_chosen: dict[tuple[str | None, str, torch.device, torch.dtype], ModuleType] = {}


def forced() -> str | None:
    """The backend that the caller or the environment forced, None if the choice is ours."""
    return _forced.get() or _from_environment()


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Force one backend inside a ``with`` block (this thread and task only).

    Args:
        name: "cpu", "triton", "cuda" or "reference".

    Raises:
        ValueError: no backend has that name. An op called inside the block raises RuntimeError,
            with the reason, if the backend cannot serve it.
    """
    token = _forced.set(_check_name(name, "backend"))
    try:
        yield
    finally:
        _forced.reset(token)


def _verdict(
    name: str, op: str, device: str, dtype: torch.dtype
) -> tuple[ModuleType | None, Verdict]:
    if name == "reference":
        module = importlib.import_module(_MODULES[name])
        return module, Verdict(name, True, "eager PyTorch serves every device and dtype")
    try:
        module = importlib.import_module(_MODULES[name])
    except ImportError as error:  # a missing package, or an extension that was not built
        return None, Verdict(name, False, str(error))
    reason = module.why_not(op, device, dtype)
    if reason is not None:
        return None, Verdict(name, False, reason)
    return module, Verdict(name, True, module.describe())


def explain(op: str, x: Tensor) -> list[Verdict]:
    """Which backends could serve ``op`` on a tensor like ``x``, best first, and why the others
    cannot.

    Args:
        op: the name of a public function, for example "discriminator_loss".
        x: a tensor of the device and dtype in question.

    Returns:
        a list of (backend, ok, reason); the first with ok is the one that serves, unless one is
        forced.

    Raises:
        ValueError: ``op`` is not the name of an op.
    """
    if op not in OPS:
        raise ValueError(f"op: got {op!r}; the ops are {', '.join(OPS)}")
    return [_verdict(name, op, x.device.type, x.dtype)[1] for name in BACKENDS]


def pick(op: str, x: Tensor) -> ModuleType:
    """The backend module that serves ``op`` on ``x``. RuntimeError if the forced one cannot."""
    name = _forced.get()
    key = (name, op, x.device, x.dtype)
    module = _chosen.get(key)
    if module is None:
        module = _chosen[key] = _choose(forced(), op, x.device.type, x.dtype)
    return module


def _choose(name: str | None, op: str, device: str, dtype: torch.dtype) -> ModuleType:
    for candidate in BACKENDS if name is None else (name,):
        module, verdict = _verdict(candidate, op, device, dtype)
        if module is not None:
            return module
    raise RuntimeError(
        f"backend {name!r} was forced but cannot serve {op} on {device} {dtype}: {verdict.reason}"
    )
