"""The table of ops and the one way to have one served. Only this file reads GANFAST_*.

Automatic choice goes down :data:`BACKENDS` to the first that can serve; the reference always can.
``with backend(name)`` or ``GANFAST_BACKEND=name`` forces one (or several, tried in order), and an
op that none of them can serve raises with the reason of each.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.nn import Parameter

from ganfast import reference
from ganfast.errors import InputError, NoState, Refusal

Dtypes = tuple[torch.dtype, ...]

FLOATING: Dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_PIXELS: Dtypes = (torch.uint8,)
_REAL: Dtypes = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Op:
    """One row of :data:`OPS`.

    ``module`` is the file that holds the op's ``functions`` in the reference and, with the same
    names and signatures, in each backend that has kernels for it. ``cpu``, ``triton`` and ``cuda``
    are the dtypes that those kernels read; an empty tuple means that there are none. ``step`` is
    True for a part of other ops: a forced backend that lacks it leaves it to the reference.
    """

    module: str
    functions: tuple[str, ...]
    cpu: Dtypes = ()
    triton: Dtypes = ()
    cuda: Dtypes = ()
    step: bool = False


_LOSS = ("adversarial_loss", "adversarial_loss_gradient")
_PENALTY = ("penalty", "penalty_gradient", "penalty_second_order")
_WIDE: Dtypes = (torch.float64,)  # ganfast.linalg computes in it, whatever it is given

OPS = {
    "discriminator_loss": Op("losses", _LOSS, cpu=FLOATING, triton=FLOATING),
    "generator_loss": Op("losses", _LOSS, cpu=FLOATING, triton=FLOATING),
    "feature_matching_loss": Op(
        "features",
        ("feature_distance", "feature_distance_gradient"),
        cpu=FLOATING,
        triton=FLOATING,
    ),
    "clip_weights_": Op("optim", ("clip_weights_",), cpu=FLOATING, cuda=FLOATING),
    "rmsprop": Op("optim", ("rmsprop", "rmsprop_refused"), cpu=FLOATING, cuda=FLOATING),
    "adam": Op("optim", ("adam", "adam_refused"), cpu=FLOATING, cuda=FLOATING),
    "interpolate": Op(
        "penalty", ("interpolate", "interpolate_gradient"), cpu=FLOATING, triton=FLOATING
    ),
    "penalty_from_gradient": Op("penalty", _PENALTY, cpu=FLOATING, triton=FLOATING),
    "sqrtm": Op(
        "linalg", ("batch_sqrtm", "BATCH_LIMIT"), cpu=_WIDE, cuda=(torch.float32, torch.float64)
    ),
    "trace_sqrtm": Op(
        "linalg",
        ("batch_trace_sqrtm", "BATCH_LIMIT"),
        cpu=_WIDE,
        cuda=(torch.float32, torch.float64),
    ),
    "pivoted_panel": Op("linalg", ("pivoted_panel",), cpu=_WIDE, step=True),
    "symmetry": Op("linalg", ("symmetry",), cpu=_WIDE, step=True),
    "neighbours": Op(
        "neighbours",
        ("nearest_distances", "ball_counts"),
        cpu=(*_REAL, torch.float16),
        triton=_REAL,
    ),
    "moments": Op("row_buffer", ("RowBuffer",), cpu=(*FLOATING, *_PIXELS)),
    "preprocess": Op("preprocess", ("preprocess",), cpu=_PIXELS, triton=_PIXELS),
}
"""What kernels can serve, by name: public functions, and steps that several of them share."""

_PACKAGES = {
    "cpu": "ganfast.backends.cpu",
    "triton": "ganfast.backends.triton",
    "cuda": "ganfast.backends.cuda",
    "reference": "ganfast.reference",
}

BACKENDS = tuple(_PACKAGES)
"""Every backend, in the order in which automatic choice tries them."""


class Verdict(NamedTuple):
    """Whether ``backend`` can serve, and why (not)."""

    backend: str
    ok: bool
    reason: str


# ---- which backends may serve --------------------------------------------------------


def _check_names(names: Sequence[str], origin: str) -> tuple[str, ...]:
    for name in names:
        if name not in BACKENDS:
            raise InputError(f"{origin}: got {name!r}; the backends are {', '.join(BACKENDS)}")
    return tuple(names)


@cache
def _from_environment() -> tuple[str, ...]:
    # Read at the first call, not at import: a typing error there would take the whole package down.
    text = os.environ.get("GANFAST_BACKEND", "")
    names = [] if text in ("", "auto") else [name.strip() for name in text.split(",")]
    return _check_names(names, "GANFAST_BACKEND")


_forced: ContextVar[tuple[str, ...]] = ContextVar("ganfast_backend", default=())


def forced() -> tuple[str, ...]:
    """The backends that the caller or the environment forced; none if the choice is ours."""
    return _forced.get() or _from_environment()


@contextmanager
def backend(*names: str) -> Iterator[None]:
    """Force one backend, or the first of several that can, inside a ``with`` block.

    It holds for this thread and task only. ``backend("triton", "cuda")`` demands GPU kernels
    whatever the op.

    Args:
        names: "cpu", "triton", "cuda" or "reference".

    Raises:
        ValueError: no backend has that name, or none is named. An op called inside the block
            raises RuntimeError, with the reasons, if none of the named backends can serve it.
    """
    if not names:
        raise InputError(f"backend: got no name; the backends are {', '.join(BACKENDS)}")
    token = _forced.set(_check_names(names, "backend"))
    try:
        yield
    finally:
        _forced.reset(token)


# ---- which of them can ---------------------------------------------------------------


def explain(op: str, x: Tensor) -> list[Verdict]:
    """Which backends could serve ``op`` on a tensor like ``x``, best first, and why the others
    cannot.

    Args:
        op: the name of a row of OPS, for example "discriminator_loss".
        x: a tensor of the device and dtype in question.

    Returns:
        a list of (backend, ok, reason); the first with ok is the one that serves, unless another
        is forced.

    Raises:
        ValueError: ``op`` is not the name of an op.
    """
    if op not in OPS:
        raise InputError(f"op: got {op!r}; the ops are {', '.join(OPS)}")
    return [_verdict(name, op, x.device.type, x.dtype) for name in BACKENDS]


def _verdict(name: str, op: str, device: str, dtype: torch.dtype) -> Verdict:
    if name == "reference":
        return Verdict(name, True, "eager PyTorch serves every device and dtype")
    dtypes: Dtypes = getattr(OPS[op], name)
    if not dtypes:
        return Verdict(name, False, "it has no kernel for this op")
    try:
        package: Any = importlib.import_module(_PACKAGES[name])
    except ImportError as error:  # a missing package, or an extension that was not built
        return Verdict(name, False, str(error))
    reason = package.why_not(device)
    if reason is not None:
        return Verdict(name, False, reason)
    if dtype not in dtypes:
        names = ", ".join(str(each).removeprefix("torch.") for each in dtypes)
        return Verdict(name, False, f"its kernels take {names}, not {dtype}")
    return Verdict(name, True, package.describe())


# ---- the one way to have an op served ------------------------------------------------

_transforms_active = torch._C._are_functorch_transforms_active
_dispatch_modes = torch._C._len_torch_dispatch_stack
_chosen: dict[tuple[tuple[str, ...], str, torch.device, torch.dtype], ModuleType] = {}


def serve(op: str, tensors: Sequence[Tensor]) -> ModuleType:
    """The module whose functions serve ``op`` on these tensors, the first of which decides.

    That of the reference where they must be traced. RuntimeError, with every reason, if backends
    are forced of which none can serve. A function of a kernel's module may still refuse this very
    call, having done nothing: it raises Refusal, and :func:`refused` says what then.
    """
    why = must_trace(tensors)
    if why is not None:
        return reference_instead(op, why)
    first = tensors[0]
    key = (_forced.get(), op, first.device, first.dtype)
    try:
        return _chosen[key]
    except KeyError:
        module = _chosen[key] = _choose(op, first.device.type, first.dtype)
        return module


def _choose(op: str, device: str, dtype: torch.dtype) -> ModuleType:
    names = forced() or BACKENDS
    verdicts = [_verdict(name, op, device, dtype) for name in names]
    for verdict in verdicts:
        if verdict.ok:
            return importlib.import_module(f"{_PACKAGES[verdict.backend]}.{OPS[op].module}")
    if OPS[op].step:
        return _reference(op)
    reasons = "; ".join(f"{verdict.backend}: {verdict.reason}" for verdict in verdicts)
    raise _cannot_serve(f"{op} on {device} {dtype}", reasons)


def refused(op: str, refusal: Refusal) -> ModuleType:
    """Who serves a call that a kernel's function refused: the reference.

    RuntimeError, with the kernel's reason, if backends are forced and it is none of them.
    """
    return reference_instead(op, str(refusal))


def call(op: str, module: ModuleType, function: str, *arguments: Any) -> Any:
    """``module.function(*arguments)``, or the reference's where the kernel refuses these."""
    try:
        return getattr(module, function)(*arguments)
    except NoState:  # whoever steps can mend it
        raise
    except Refusal as refusal:
        return getattr(refused(op, refusal), function)(*arguments)


def reference_instead(op: str, why: str) -> ModuleType:
    """The reference's module of ``op``, or RuntimeError if it is not among the forced ones."""
    # While torch.compile traces, the reference is what it compiles, whatever is forced.
    if not (is_compiling() or OPS[op].step) and forced() and "reference" not in forced():
        raise _cannot_serve(op, why)
    return _reference(op)


def _reference(op: str) -> ModuleType:
    module: ModuleType = getattr(reference, OPS[op].module)
    return module


def _cannot_serve(what: str, reasons: str) -> RuntimeError:
    names = " or ".join(repr(name) for name in forced())
    return RuntimeError(f"backend {names} was forced but cannot serve {what}: {reasons}")


def must_trace(tensors: Sequence[Tensor]) -> str | None:
    """Why these tensors need the reference's plain torch operations; None if a kernel serves.

    torch.compile fuses the reference by itself. Functorch transforms, forward-mode AD and tensor
    subclasses (FakeTensor, DTensor, ...) have no addresses that a kernel could read. A dispatch
    mode (make_fx's, FakeTensorMode) sees only the empty result that a kernel then writes to. Every
    backward asks it about its grad_outputs, too. What has no memory (the batched gradients of
    is_grads_batched, the efficient zero tensors of torch's own derivatives) the kernels refuse.
    """
    if is_dynamo_compiling():  # export's tensors are fake
        return "torch.compile is tracing"
    if _transforms_active():
        return "a torch.func transform is active"
    if forward_ad._current_level >= 0:
        return "forward-mode AD is active"
    if _dispatch_modes():
        return "a TorchDispatchMode is active, which would not see what a kernel does"
    for x in tensors:
        kind = type(x)
        if kind is not Tensor and kind is not Parameter:
            return f"{kind.__name__} is a tensor subclass"
    return None
