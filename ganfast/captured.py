"""A whole training step as one CUDA graph."""

from __future__ import annotations

import contextlib
import inspect
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._pytree import tree_map

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError, one_line
from ganfast.optim import capturing

Keeper = nn.Module | torch.optim.Optimizer

_LIBRARIES = tuple(str(Path(each.__file__ or "").parent) for each in (_checks, torch))


def capture(
    step: Callable[..., Any],
    *example_inputs: Tensor,
    restore: Iterable[Keeper] = (),
    warm_up: int = 3,
    generators: Iterable[torch.Generator] = (),
) -> CapturedStep:
    """Captures a whole step of training in a CUDA graph: one launch replays all of it.

    A small network's step is bound by the host, which launches hundreds of kernels one by one. A
    graph launches them together: networks, losses, a gradient penalty with its second backward
    pass, clipping and optimizer::

        def critic_step(real, z):
            optimizer.zero_grad(set_to_none=True)
            fake = generator(z).detach()
            loss = GF.discriminator_loss(critic(real), critic(fake), game="wasserstein")
            loss = loss + GF.gradient_penalty(critic, real, fake)
            loss.backward()
            optimizer.step()
            return loss

        fast = ganfast.capture(critic_step, real, z, restore=(critic, optimizer))
        for real, z in batches:
            loss = fast(real, z)

    What Python does inside ``step`` happens once, at the capture: branches, printing, and numbers
    such as a learning rate keep the values of that time. A learning rate that changes must be a
    tensor on the device; a call refuses to replay where an optimizer's options are no longer those
    of the capture. Optimizers need ``capturable=True``. Random numbers of the device's default
    generator and of ``generators`` are new at each replay, those that the step itself would draw; a
    generator on the CPU is refused. The running means of
    :class:`ganfast.LeCAM` and :class:`ganfast.LossBalancer` go on in the replays. What is done in
    some steps only, as a penalty with ``every=16``, takes a captured step with it and one without.

    Args:
        step: takes tensors; returns a tensor, a nest of tensors, or None. It sets the gradients to
            None before its backward pass, so that they lie in the graph's own memory.
        example_inputs: any shape and dtype, on one CUDA device; every call has to have the same.
        restore: modules and optimizers that ``step`` changes. Warming up takes real steps; these
            are then put back to where they were. Optimizer state that was not there yet is zeroed.
        warm_up: steps before the capture, at least 2. The last of them is watched for anything that
            waits for the device, which a graph cannot hold.
        generators: on the device, those of your own that ``step`` draws from. They end where the
            warm-up leaves them.

    Returns:
        The captured step.

    Raises:
        InputError: there is no CUDA device, the inputs are not on it, or ``step`` does something
            that cannot be captured, such as ``.item()``, printing a tensor, a mask as an
            index, or the roots of a batch of matrices: the message names the line. Also what a
            replay would do wrongly: an optimizer that counts its steps on the host, a number as the
            learning rate where a scheduler changes it, random numbers from the CPU.

    See Nguyen et al., "Accelerating PyTorch with CUDA Graphs" (2021).
    """
    if not callable(step):
        raise InputTypeError(f"step: got {step!r}; give a function that takes tensors")
    warm_up = _checks.integer("warm_up", warm_up, least=2)
    device = _device(example_inputs)
    with torch.cuda.device(device):
        return CapturedStep(step, example_inputs, list(restore), warm_up, generators)


class CapturedStep:
    """What ``ganfast.capture`` returns: called as the step was, it replays it.

    Not thread-safe: inputs, results and gradients are always in the same memory.
    """

    inputs: tuple[Tensor, ...]
    """Where a call's inputs are copied to. Whoever fills them in place can call ``replay``."""
    outputs: Any
    """What the step returned, detached: overwritten by each replay."""

    def __init__(
        self,
        step: Callable[..., Any],
        example_inputs: Sequence[Tensor],
        restore: Sequence[Keeper],
        warm_up: int,
        generators: Iterable[torch.Generator] = (),
    ) -> None:
        self.inputs = tuple(
            x.detach().clone().requires_grad_(x.requires_grad) for x in example_inputs
        )
        self.step = step  # what it works on has to stay
        self.graph = torch.cuda.CUDAGraph()
        for index, generator in enumerate(generators):
            _check_generator(f"generators[{index}]", generator)
            self.graph.register_generator_state(generator)
        side = torch.cuda.Stream()
        with _put_back(restore):
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(warm_up - 1):
                    step(*self.inputs)
                with _explained(step), _no_waiting(), _checked_optimizers():
                    step(*self.inputs)
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            with _explained(step), _checked_optimizers() as seen, torch.cuda.graph(self.graph):
                found = step(*self.inputs)
        self._kept = capturing.Kept(seen)
        self.outputs = tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, found)

    def __call__(self, *inputs: Tensor) -> Any:
        """The step on other inputs.

        Args:
            inputs: as many as the example had, of the same shapes and dtypes; they may be on the
                CPU, in pinned memory best.

        Returns:
            What the step returned, detached, in memory that the next call overwrites.

        Raises:
            InputError: an input differs from the example's in shape or dtype, or an optimizer's
                options or state are no longer those of the capture.
        """
        if len(inputs) != len(self.inputs):
            wanted = len(self.inputs)
            raise InputError(f"inputs: got {len(inputs)}; give {wanted}, as at the capture")
        for index, (x, mine) in enumerate(zip(inputs, self.inputs, strict=True)):
            if not isinstance(x, Tensor):
                raise InputTypeError(f"inputs[{index}]: got {x!r}; give a tensor")
            if x.shape != mine.shape or x.dtype != mine.dtype:
                raise InputError(
                    f"inputs[{index}]: got {_form(x)}; give {_form(mine)}, as captured"
                )
        with torch.no_grad():
            for x, mine in zip(inputs, self.inputs, strict=True):
                if x is not mine:
                    mine.copy_(x, non_blocking=True)
        return self.replay()

    def replay(self) -> Any:
        """The step on what ``inputs`` holds; returns ``outputs``. InputError as for a call."""
        self._kept.check()
        self.graph.replay()
        return self.outputs


def _device(inputs: Sequence[Any]) -> torch.device:
    for index, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise InputTypeError(f"example_inputs[{index}]: got {x!r}; give a tensor")
    if not torch.cuda.is_available():
        where = inputs[0].device if inputs else "no CUDA device"
        raise InputError(
            f"capture: got {where}; a CUDA graph needs a CUDA device: call the step itself here"
        )
    device = inputs[0].device if inputs else torch.device("cuda", torch.cuda.current_device())
    for index, x in enumerate(inputs):
        if x.device.type != "cuda" or x.device != device:
            wanted = device if device.type == "cuda" else "a CUDA device"
            raise InputError(f"example_inputs[{index}]: got a tensor on {x.device}; give {wanted}")
    return device


def _check_generator(name: str, generator: Any) -> None:
    if not isinstance(generator, torch.Generator):
        raise InputTypeError(f"{name}: got {generator!r}; give a torch.Generator on the device")
    if generator.device.type != "cuda":
        raise InputError(f"{name}: got one on {generator.device}; give one on the device")


def _form(x: Tensor) -> str:
    return f"{tuple(x.shape)}, {str(x.dtype).removeprefix('torch.')}"


@contextlib.contextmanager
def _no_waiting() -> Iterator[None]:
    """torch raises at what waits for the device: a failed capture would say less, and later."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextlib.contextmanager
def _checked_optimizers() -> Iterator[list[torch.optim.Optimizer]]:
    """The optimizers whose step is called inside, each checked before it."""
    seen, thread = [], threading.get_ident()

    def look(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if threading.get_ident() == thread:
            capturing.check(optimizer)
            seen.append(optimizer)

    hook = register_optimizer_step_pre_hook(look)
    try:
        yield seen
    finally:
        hook.remove()


@contextlib.contextmanager
def _explained(step: Callable[..., Any]) -> Iterator[None]:
    """An InputError in place of what torch says of something that cannot be captured."""
    try:
        yield
    except InputError:
        raise
    except (RuntimeError, AssertionError) as error:
        name = getattr(step, "__name__", type(step).__name__)
        raise InputError(
            f"step: got {name}, which cannot be captured{_line(step, error)}: {one_line(error)}; "
            "leave out of it what reads a result on the host: .item(), print, masks, batched roots"
        ) from error


def _line(step: Callable[..., Any], error: BaseException) -> str:
    """The innermost line of the step's own file, or of another that is neither torch's nor ours."""
    own = getattr(getattr(inspect.unwrap(step), "__code__", None), "co_filename", None)
    frames = list(traceback.extract_tb(error.__traceback__))
    others = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    found = [frame for frame in others if frame.filename == own] or others
    if not found:
        return ""
    return f" at {Path(found[-1].filename).name}:{found[-1].lineno} ({found[-1].line})"


@contextlib.contextmanager
def _put_back(keepers: Sequence[Keeper]) -> Iterator[None]:
    """The tensors of modules and optimizers afterwards as before, in the memory they have."""
    weights: list[tuple[Tensor, Tensor]] = []
    modules: list[tuple[nn.Module, dict[str, Any]]] = []
    states: list[tuple[torch.optim.Optimizer, dict[Any, dict[str, Any]]]] = []
    for index, keeper in enumerate(keepers):
        if isinstance(keeper, nn.Module):
            # By name: a module may have put another tensor in a buffer's place.
            modules.append((keeper, {name: _copy(x) for name, x in _named(keeper)}))
        elif isinstance(keeper, torch.optim.Optimizer):
            _check_optimizer(f"restore[{index}]", keeper)
            weights += [(p, _copy(p)) for group in keeper.param_groups for p in group["params"]]
            copies = {p: tree_map(_copy, dict(state)) for p, state in keeper.state.items()}
            states.append((keeper, copies))
        else:
            raise InputTypeError(f"restore[{index}]: got {keeper!r}; give a module or an optimizer")
    try:
        yield
    finally:
        with torch.no_grad():
            for x, before in weights:
                x.copy_(before)
            for module, kept in modules:
                for name, x in _named(module):
                    if name in kept:
                        x.copy_(kept[name])
            for optimizer, copies in states:
                for p, state in optimizer.state.items():
                    _reset(state, copies.get(p, {}))


def _check_optimizer(name: str, optimizer: torch.optim.Optimizer) -> None:
    """A count of steps on the host would be the same number in every replay."""
    for group in optimizer.param_groups:
        if not group.get("capturable", True):
            kind = type(optimizer).__name__
            raise InputError(f"{name}: got {kind} with capturable=False; give capturable=True")


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _copy(x: Any) -> Any:
    return x.detach().clone() if isinstance(x, Tensor) else x


def _reset(state: dict[str, Any], before: dict[str, Any]) -> None:
    """In place, since the graph knows the addresses. Adam's and RMSprop's states begin at zero."""
    for name, x in state.items():
        if isinstance(x, Tensor):
            x.copy_(before[name]) if name in before else x.zero_()
        elif name in before:
            state[name] = before[name]
