"""RMSprop, WGAN's optimizer: arXiv:1701.07875 found momentum to harm its critic."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import rmsprop as torch_rmsprop  # torch.optim.RMSprop may be ours by now
from torch.optim.optimizer import ParamsT

from ganfast.optim.step import StepAndClip, counter, zeros


class RMSprop(StepAndClip, torch_rmsprop.RMSprop):
    """torch.optim.RMSprop with update and clip in one pass over memory.

        v <- alpha v + (1 - alpha) g^2,  p <- clip(p - lr g / (sqrt(v) + eps), -c, c)

    Args:
        params, lr, alpha, eps, weight_decay, momentum, centered, capturable, foreach, maximize,
            differentiable: as of ``torch.optim.RMSprop``, whose updates these are to round-off.
            ``foreach`` chooses torch's way where no kernel serves.
        weight_clip: c: after its update every weight is brought into [-c, c], those without a
            gradient too; NaN stays NaN. None: no clip. An option of each param group.

    ``state_dict`` is torch's: what either has saved the other loads. A group that torch saved has
    no ``weight_clip``: it keeps the one that it has. LR schedulers and GradScaler work; with
    ``capturable`` (or Adam's ``fused``) the scaler's scale is read on the device, and nothing waits
    for it.

    Each weight is served by itself: one that the kernels do not take (complex, with holes in
    memory; on CUDA also one whose gradient has another layout) has torch's own step, followed by
    the clip, and the others stay with the kernels. State that lies in memory otherwise than its
    weight, as after a change to channels_last, is brought into the weight's layout once.

    With ``centered`` the variance v - mean^2 is held at 0 where rounding would make it negative;
    torch gives NaN there.

    Warns:
        UserWarning: with a weight_clip, ``module.named_parameters()`` has a parametrised weight,
            which the clip does not bound. Parameters without their names don't tell.

    Raises:
        ValueError: as torch; a weight_clip that is neither None nor a finite number above 0, or
            one together with differentiable.

    Example:
        >>> critic = torch.nn.Linear(2, 1)
        >>> optimizer = RMSprop(critic.parameters(), lr=5e-5, weight_clip=0.01)
        >>> critic(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()
        >>> bool(critic.weight.abs().max() <= 0.01)
        True
    """

    _op = "rmsprop"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        weight_clip: float | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
        )
        self._set_clip(weight_clip)

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        state = {"step": counter(p, on_device=group["capturable"]), "square_avg": zeros(p)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros(p)
        if group["centered"]:
            state["grad_avg"] = zeros(p)
        return state
