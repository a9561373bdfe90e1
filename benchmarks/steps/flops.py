"""The multiplications of a critic step, counted on the network itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from benchmarks import networks


def of_forward(network: str, batch: int) -> float:
    """Twice the multiply-adds of all convolutions and linear layers for one batch."""
    total = 0.0

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        weight: Any = layer.weight
        total += 2.0 * out.numel() * weight[0].numel()

    critic = networks.critic(network)
    for layer in critic.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    critic(networks.samples(network, batch)[0])
    return total


def of_step(network: str, batch: int, *, penalty: bool) -> float:
    """Real and fake: forward, and a backward of two products for each one forward: 3 each.

    The penalty: forward, the gradient with respect to its points, and the two derivatives of that
    gradient's products: 4. Forward itself has no second derivative where activations are straight.
    """
    return of_forward(network, batch) * (10.0 if penalty else 6.0)
