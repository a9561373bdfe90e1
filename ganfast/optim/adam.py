"""Adam, the optimizer of most GANs; WGAN-GP takes betas (0, 0.9), arXiv:1704.00028."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import adam as torch_adam  # torch.optim.Adam may be ours by now
from torch.optim.optimizer import ParamsT

from ganfast.optim.step import StepAndClip, counter, zeros


class Adam(StepAndClip, torch_adam.Adam):
    """torch.optim.Adam with update and clip in one pass over memory.

        m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2
        p <- clip(p - lr/(1 - beta1^t) m / (sqrt(v/(1 - beta2^t)) + eps), -c, c)

    Args:
        params, lr, betas, eps, weight_decay, amsgrad, foreach, maximize, capturable,
            differentiable, fused, decoupled_weight_decay: as of ``torch.optim.Adam``, whose
            updates these are to round-off. ``foreach`` and ``fused`` choose torch's way where no
            kernel serves.
        weight_clip: c: after its update every weight is brought into [-c, c], those without a
            gradient too; NaN stays NaN. None: no clip. An option of each param group.

    State, schedulers, GradScaler and fallback: as :class:`ganfast.optim.RMSprop`.

    Warns:
        UserWarning: with a weight_clip, ``module.named_parameters()`` has a parametrised weight,
            which the clip does not bound. Parameters without their names don't tell.

    Raises:
        ValueError: as torch; a weight_clip that is neither None nor a finite number above 0, or
            one together with differentiable.

    Example:
        >>> generator = torch.nn.Linear(2, 2)
        >>> optimizer = Adam(generator.parameters(), lr=1e-4, betas=(0.0, 0.9))
        >>> generator(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()
    """

    _op = "adam"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        weight_clip: float | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )
        self._set_clip(weight_clip)

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        fused = bool(group["fused"])
        step = counter(p, on_device=group["capturable"] or fused, single=fused)
        state = {"step": step, "exp_avg": zeros(p), "exp_avg_sq": zeros(p)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros(p)
        return state
