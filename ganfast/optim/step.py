"""What ganfast's optimizers add to torch's: the clip, and a step that is one pass over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from ganfast import _checks
from ganfast._dispatch import call, refused, serve
from ganfast.errors import InputError, NoState, Refusal


class StepAndClip(Optimizer):
    """A mixin before an optimizer of torch, whose options, state and fallback it uses."""

    _op: ClassVar[str]
    """Its row in _dispatch.OPS, and the name of the function that does the step."""

    # A GradScaler then hands over its scale and what it found as tensors (self.grad_scale,
    # self.found_inf), to be read on the device, and does not wait for them itself.
    _step_supports_amp_scaling = True

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the weights from their gradients, then clip what ``weight_clip`` says.

        Args:
            closure: recomputes the loss, with gradients, and returns it.

        Returns:
            what the closure returned, or None.
        """
        # torch wraps every step in a range for the profiler and in its hooks, which takes as long
        # as the step of a small network: only if somebody listens.
        arguments = () if closure is None else (closure,)
        if torch.compiler.is_compiling() or not self._is_watched():
            return self._step(*arguments)
        return self._watched_step(*arguments)

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
        first = next((p for group in self.param_groups for p in group["params"]), None)
        if first is None:
            return loss
        kernels = serve(self._op, (first,))
        try:
            getattr(kernels, self._op)(self)
        except NoState:
            self._create_state()
            call(self._op, kernels, self._op, self)
        except Refusal as refusal:
            getattr(refused(self._op, refusal), self._op)(self)
        return loss

    _watched_step = Optimizer.profile_hook_step(_step)

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

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        check_clip(self.param_groups[-1])

    def __setstate__(self, state: dict[str, Any]) -> None:
        before = [group.get("weight_clip") for group in vars(self).get("param_groups", ())]
        super().__setstate__(state)
        self.defaults.setdefault("weight_clip", None)
        for index, group in enumerate(self.param_groups):
            group.setdefault("weight_clip", before[index] if index < len(before) else None)


def check_clip(group: dict[str, Any]) -> None:
    """ValueError if the group's ``weight_clip`` is neither None nor a bound."""
    clip = group.get("weight_clip")
    if clip is None:
        return
    _checks.number("weight_clip", clip, above=0, hint="as WGAN's 0.01, or None")
    if group["differentiable"]:
        raise InputError("weight_clip: the clip is not differentiable; leave one of them out")


def counter(p: Tensor, *, on_device: bool, single: bool = False) -> Tensor:
    """The number of steps as torch keeps it: a 0-d float tensor, on the CPU unless it must not."""
    double = torch.get_default_dtype() is torch.float64 and not single
    dtype = torch.float64 if double else torch.float32
    return torch.zeros((), dtype=dtype, device=p.device if on_device else "cpu")


def zeros(p: Tensor) -> Tensor:
    return torch.zeros_like(p, memory_format=torch.preserve_format)
