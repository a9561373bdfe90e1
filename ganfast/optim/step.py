"""What ganfast's optimizers add to torch's: the clip, and a step that is one pass over memory."""

from __future__ import annotations

import functools
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from ganfast._dispatch import refused, serve
from ganfast.errors import NoState, Refusal
from ganfast.optim import capturing
from ganfast.reference.optim import check_clip


class StepAndClip(Optimizer):
    """A mixin before an optimizer of torch, whose options, state and fallback it uses."""

    _op: ClassVar[str]
    """Its row in _dispatch.OPS, and the name of the function that does the step."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the weights from their gradients, then clip what ``weight_clip`` says.

        Args:
            closure: recomputes the loss, with gradients, and returns it.

        Returns:
            what the closure returned, or None.
        """
        # torch wraps every step in a range for the profiler and in its hooks, which takes as long
        # as the step of a small network: only if somebody listens.
        step = self._step if is_compiling() or not self._is_watched() else self._watched_step
        return step() if closure is None else step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # torch need not wrap it

    def _is_watched(self) -> bool:
        return bool(
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or torch_optimizer._global_optimizer_pre_hooks
            or torch_optimizer._global_optimizer_post_hooks
            or torch.autograd._profiler_enabled()
        )

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        first = None
        for group in self.param_groups:
            if group["params"]:
                first = group["params"][0]
                break
        if first is None:
            return loss
        if not first.is_floating_point():
            params = (p for group in self.param_groups for p in group["params"])
            first = next((p for p in params if p.is_floating_point()), first)
        compiling = is_compiling()
        if first.is_cuda and not compiling and torch.cuda.is_current_stream_capturing():
            capturing.check(self)
        if not self.state and not compiling and self._makes_state_alone():
            return self._without_clip(loss)
        kernels = serve(self._op, (first,))
        try:
            try:
                getattr(kernels, self._op)(self)
            except NoState:
                self._create_state()
                getattr(kernels, self._op)(self)
        except Refusal as refusal:
            self._step_apart(kernels, refusal)
        return loss

    def _makes_state_alone(self) -> bool:
        """Whether this is torch.distributed.checkpoint's way to ask for a state that is not there
        yet: a first step at a learning rate of 0 by gradients of 0, which must change no weight."""
        if all(group["weight_clip"] is None for group in self.param_groups):
            return False
        for group in self.param_groups:
            lr = group["lr"]
            if (isinstance(lr, Tensor) and not lr.is_cpu) or float(lr) != 0:
                return False
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        given = [grad for grad in grads if grad is not None and not grad.is_meta]
        return bool(given) and not any(bool((grad != 0).any()) for grad in given)

    def _without_clip(self, loss: Any) -> Any:
        groups = self.param_groups
        clips = [group["weight_clip"] for group in groups]
        try:
            for group in groups:
                group["weight_clip"] = None
            self._step()
        finally:
            for group, clip in zip(groups, clips, strict=True):
                group["weight_clip"] = clip
        return loss

    _watched_step = Optimizer.profile_hook_step(_step)

    def _step_apart(self, kernels: Any, refusal: Refusal) -> None:
        """The reference's step for those weights alone that the kernels refuse."""
        of_torch = getattr(refused(self._op, refusal), self._op)
        step, find = (getattr(kernels, name) for name in (self._op, f"{self._op}_refused"))
        rest: list[list[Tensor]] = find(self)
        if self._lay_out_state(rest):
            rest = find(self)
        groups = self.param_groups
        ids = {id(p) for params in rest for p in params}
        try:
            # torch first: what it refuses in its turn, it refuses before anything is done.
            apart = zip(groups, rest, strict=True)
            self.param_groups = [{**group, "params": params} for group, params in apart if params]
            of_torch(self)
            self.param_groups = [
                {**group, "params": [p for p in group["params"] if id(p) not in ids]}
                for group in groups
            ]
            if any(group["params"] for group in self.param_groups):
                self._create_state()
                try:
                    step(self)
                except Refusal:
                    of_torch(self)
        finally:
            self.param_groups = groups

    def _lay_out_state(self, rest: list[list[Tensor]]) -> bool:
        """Whether state was brought into its weight's layout, which may have changed to
        channels_last since. Its values stay."""
        moved = False
        for p in (p for params in rest for p in params if p.layout is torch.strided):
            state = self.state.get(p) or {}
            for name, x in state.items():
                alike = isinstance(x, Tensor) and x.shape == p.shape and x.layout is p.layout
                if alike and x.stride() != p.stride():
                    there = torch.empty_like(p, dtype=x.dtype, device=x.device)
                    if there.stride() == p.stride():
                        state[name] = there.copy_(x)
                        moved = True
        return moved

    def _create_state(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and not self.state[p]:
                    self.state[p].update(self._new_state(p, group))

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """The state of one parameter before its first step, as torch's optimizer makes it."""
        raise NotImplementedError

    # ---- weight_clip: an option of every group, which torch's own state_dict does not have -------

    def _set_clip(self, weight_clip: float | None) -> None:
        """To be called at the end of ``__init__``."""
        self.defaults["weight_clip"] = weight_clip
        for group in self.param_groups:
            group.setdefault("weight_clip", weight_clip)
            check_clip(group)
            _warn_of_recomputed(group, 4)
        # A GradScaler then hands over its scale and what it found as tensors (self.grad_scale,
        # self.found_inf), to be read on the device. Not always: torch sets it for its fused steps
        # alone, and Lightning clips no gradients where it is set.
        if any(group.get("fused") or group["capturable"] for group in self.param_groups):
            self._step_supports_amp_scaling = True

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _untraced(super().add_param_group)(param_group)
        check_clip(self.param_groups[-1])
        if "weight_clip" in self.defaults:  # else __init__ is at work, and will ask of all groups
            _warn_of_recomputed(self.param_groups[-1], 3)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for group in state.get("param_groups", ()):
            check_clip(group)
        before = [group.get("weight_clip") for group in vars(self).get("param_groups", ())]
        super().__setstate__(state)
        self.defaults.setdefault("weight_clip", None)
        for index, group in enumerate(self.param_groups):
            group.setdefault("weight_clip", before[index] if index < len(before) else None)

    def zero_grad(self, set_to_none: bool = True) -> None:
        _untraced(super().zero_grad)(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        saved: dict[str, Any] = _untraced(super().state_dict)()
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _untraced(super().load_state_dict)(state_dict)


def _untraced(method: Any) -> Any:
    """``method`` of torch's optimizer without what keeps torch's compiler out of it: that imports
    the compiler, which takes as long as torch itself, and before that nothing is compiled."""
    if is_compiling() or "torch._dynamo" in sys.modules:
        return method
    torchs: Any = getattr(Optimizer, method.__name__)
    if method.__func__ is not torchs or not hasattr(torchs, "__wrapped__"):
        return method  # somebody's own
    return functools.partial(torchs.__wrapped__, method.__self__)


_RECOMPUTED = re.compile(r"parametrizations\.(\w+)\.original\d*$|(\w+)_orig$")


def _warn_of_recomputed(group: dict[str, Any], depth: int) -> None:
    """Says which weight is made at each forward from what the clip bounds, as clip_weights_ does
    for a module. Only names tell: those of ``module.named_parameters()``."""
    if group.get("weight_clip") is None:
        return
    for name in group.get("param_names", ()):
        if _RECOMPUTED.search(name):
            weight = _RECOMPUTED.sub(lambda found: found[1] or found[2], name)
            warnings.warn(
                f"weight_clip: {weight} is parametrised (spectral_norm, weight_norm, ...): it is "
                "made anew from what is clipped, and need not lie within the bound; clip a critic "
                "without parametrisations",
                stacklevel=depth,
            )
            return


def counter(p: Tensor, *, on_device: bool, single: bool = False) -> Tensor:
    """The number of steps as torch keeps it: a 0-d float tensor, on the CPU unless it must not."""
    double = torch.get_default_dtype() is torch.float64 and not single
    dtype = torch.float64 if double else torch.float32
    return torch.zeros((), dtype=dtype, device=p.device if on_device else "cpu")


def zeros(p: Tensor) -> Tensor:
    return torch.zeros_like(p, memory_format=torch.preserve_format)
