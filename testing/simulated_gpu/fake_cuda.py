"""What the package and its tests ask of ``torch.cuda``, on tensors of the CPU's memory.

Streams are numbers: everything runs at once, in the order in which it was asked for. A captured
graph is a list of the operations and launches, replayed into the memory of the first run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch.utils._device
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from triton.runtime.jit import JITFunction
from ttsem import sanitize

from ganfast import _dispatch, _philox

state: sanitize.Session | None = None
"""What ttsem says of the launches so far."""


class Stream:
    """A number, which is what counters of running sums are kept by."""

    _made = 0

    def __init__(self, device: object = None, priority: int = 0) -> None:
        Stream._made += 1
        self.cuda_stream = Stream._made

    def wait_stream(self, other: Stream) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def record_event(self, event: object = None) -> object:
        return event

    def wait_event(self, event: object) -> None:
        pass


class Event:
    """What has been asked for has happened."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        self.time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.time - self.time)


class _Streams:
    def __init__(self) -> None:
        self.current = Stream()
        self.current.cuda_stream = 0

    @contextlib.contextmanager
    def use(self, stream: Stream | None) -> Iterator[None]:
        before, self.current = self.current, stream or self.current
        try:
            yield
        finally:
            self.current = before


class CUDAGraph:
    """Operations and launches in order, with the tensors that they read and write."""

    def __init__(self, keep_graph: bool = False) -> None:
        self.steps: list[Callable[[], object]] = []
        self.generators: set[int] = set()

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.add(generator._cdata)

    def replay(self) -> None:
        with torch.inference_mode():  # as below autograd, into tensors of either kind
            for step in self.steps:
                step()


class _Recorder(TorchDispatchMode):
    """Adds each operation of torch to a graph, below autograd.

    An operation has to run for its result's shape to be known, so what it writes is put back.
    """

    waits = ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal")
    empties = ("aten::empty", "aten::empty_strided", "aten::empty_like", "aten::new_empty")

    def __init__(self, graph: CUDAGraph) -> None:
        super().__init__()
        self.graph = graph
        self.written: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if name in self.waits:
            raise RuntimeError(f"{name}: not permitted when a stream is capturing")
        drawn_from = {x._cdata for x in kwargs.values() if isinstance(x, torch._C.Generator)}
        if not drawn_from <= self.graph.generators:
            raise RuntimeError("a generator that is not registered with the graph")
        for declared, given in zip(func._schema.arguments, args, strict=False):
            if declared.alias_info and declared.alias_info.is_write:
                self.written += [(x, x.clone()) for x in tree_leaves(given)]
        made = func(*args, **kwargs)
        if name not in self.empties and not func.is_view:
            self.graph.steps.append(lambda: _again(func, args, kwargs, made))
        return made

    def put_back(self) -> None:
        for x, before in reversed(self.written):
            x.copy_(before)


def _again(func: Any, args: Any, kwargs: Any, made: Any) -> None:
    """The operation once more, its results where they were the first time."""
    found = func(*args, **kwargs)
    for old, new in zip(tree_leaves(made), tree_leaves(found), strict=True):
        if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
            old.copy_(new)


class _Capture:
    """torch.cuda.graph: what is asked for inside is recorded, and not done."""

    recorder: _Recorder | None = None

    def __init__(self, cuda_graph: CUDAGraph, **ignored: object) -> None:
        self.graph = cuda_graph

    def __enter__(self) -> None:
        _Capture.recorder = _Recorder(self.graph)
        _Capture.recorder.__enter__()

    def __exit__(self, *failure: Any) -> None:
        recorder, _Capture.recorder = _Capture.recorder, None
        assert recorder is not None
        recorder.__exit__(*failure)
        with torch.inference_mode():
            recorder.put_back()


def recorded(launch: Callable[..., Any]) -> Callable[..., Any]:
    """``launch``, left to the graph that is being captured if there is one."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if _Capture.recorder is None:
            return launch(*args, **kwargs)
        _Capture.recorder.graph.steps.append(lambda: launch(*args, **kwargs))
        return None

    return run


class _Pinned(TorchFunctionMode):
    """Pinned memory is memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        kwargs.pop("pin_memory", None)
        if func is torch.Tensor.pin_memory:
            return args[0].clone()
        return func(*args, **kwargs)


class _Generator(torch._C.Generator):
    def __new__(cls, device: object = "cpu") -> _Generator:
        made = super().__new__(cls, "cpu")
        made._device = torch.device(device)  # type: ignore[arg-type]
        return made

    device = property(lambda self: self._device)


def _answers(capability: int) -> dict[str, Any]:
    streams = _Streams()
    facts = SimpleNamespace(
        name=f"simulated sm_{capability}",
        major=capability // 10,
        minor=capability % 10,
        multi_processor_count=132,
        shared_memory_per_block_optin=227 * 1024,
        L2_cache_size=50 << 20,
        total_memory=1 << 37,
    )
    return {
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": CUDAGraph,
        "graph": _Capture,
        "stream": streams.use,
        "current_stream": lambda device=None: streams.current,
        "default_stream": lambda device=None: streams.current,
        "is_current_stream_capturing": lambda: _Capture.recorder is not None,
        "set_sync_debug_mode": lambda mode: None,
        "get_sync_debug_mode": lambda: 0,
        "_sleep": lambda cycles: None,
        "get_device_properties": lambda device=None: facts,
        "mem_get_info": lambda device=None: (0, 0),
    }


def _modes_of_others() -> int:
    """The recorder is the simulated device's own business: a kernel need not mind it."""
    return torch._C._len_torch_dispatch_stack() - (_Capture.recorder is not None)


@contextlib.contextmanager
def installed(capability: int) -> Iterator[None]:
    """``device="cuda"`` works inside, and every tensor is there."""
    global state
    with contextlib.ExitStack() as stack:
        # Remembers the functions that make tensors, before they are replaced.
        torch.utils._device._device_constructors()
        state = stack.enter_context(sanitize.session(capability, "<pytest>"))
        for name, answer in _answers(capability).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer))
        pretended, true = vars(torch.Tensor)["device"].fget, torch._C.TensorBase.device.__get__
        patches = (
            (torch, "Generator", _Generator),
            # ttsem's tensors are all on "cuda", those of "meta" too, which have no memory.
            (
                torch.Tensor,
                "device",
                property(lambda x: (pretended if true(x).type == "cpu" else true)(x)),
            ),
            (torch.Tensor, "is_cuda", property(lambda x: x.device.type == "cuda")),
            (torch.Tensor, "is_cpu", property(lambda x: x.device.type == "cpu")),
            (torch.Tensor, "record_stream", lambda x, stream: None),
            (JITFunction, "run", recorded(JITFunction.run)),
            (_dispatch, "_dispatch_modes", _modes_of_others),
            (_philox, "_dispatch_modes", _modes_of_others),
        )
        for owner, name, value in patches:
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(_Pinned())
        yield
