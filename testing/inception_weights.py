"""Random weights of the FID Inception network under which it behaves as a trained one does."""

from __future__ import annotations

import os
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ganfast.metrics.inception.network import ConvNorm, InceptionNetwork, expected_state


def random_state_dict(seed: int = 0) -> dict[str, Tensor]:
    """Weights by the published names, new tensors each time, the same for the same seed.

    He-initialised convolutions and random batch normalisation, whose statistics are those that a
    few smooth random pictures really have at that layer, moved a little: no layer dies or explodes,
    round-off does not grow as in chaos, and photographs get features that are spread over all
    dimensions and differ from picture to picture.
    """
    return {name: value.clone() for name, value in _state(seed).items()}


def save_random_weights(path: str | os.PathLike[str], seed: int = 0) -> None:
    """``random_state_dict(seed)`` as a file such as ``load_weights`` reads."""
    torch.save(random_state_dict(seed), path)


def smooth_pictures(n: int, seed: int) -> Tensor:
    """(n, 3, 299, 299) in [-1, 1]: coarse structure with finer and finer on top, as photos have."""
    random = torch.Generator().manual_seed(seed)
    total = torch.zeros(n, 3, 299, 299)
    contrast = torch.empty(n, 1, 1, 1).uniform_(0.3, 1.0, generator=random)
    for size, weight in ((2, 1.0), (5, 0.7), (12, 0.5), (40, 0.35), (150, 0.25), (299, 0.15)):
        coarse = torch.randn(n, 3, size, size, generator=random)
        total += weight * F.interpolate(coarse, size=(299, 299), mode="bilinear")
    return total.mul_(contrast).tanh_()


@cache
def _state(seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    network = InceptionNetwork()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ConvNorm):
                _draw(module, random)
        network.fc.weight.normal_(0, 0.05, generator=random)
        network.fc.bias.normal_(0, 0.5, generator=random)
        _calibrate(network, smooth_pictures(5, seed), random)
    state = network.state_dict()
    # Into new tensors: a 1 x 1 convolution's would keep the strides of channels_last.
    return {name: torch.empty(shape).copy_(state[name]) for name, shape in expected_state().items()}


def _draw(module: ConvNorm, random: torch.Generator) -> None:
    weight = module.conv.weight
    weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=random)
    # What all inputs have in common would grow from layer to layer until pictures look alike.
    weight -= 0.5 * weight.mean((1, 2, 3), keepdim=True)
    module.bn.weight.uniform_(0.7, 1.3, generator=random)
    # With most pixels past the ReLU round-off grows little, as in trained networks.
    module.bn.bias.normal_(1, 0.3, generator=random)


def _calibrate(network: InceptionNetwork, images: Tensor, random: torch.Generator) -> None:
    """Give every batch normalisation nearly the statistics of what it gets."""

    def before(module: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(module, torch.nn.BatchNorm2d)
        x = inputs[0]
        channels = x.shape[1]
        around = 1 + 0.1 * torch.randn(2, channels, generator=random)
        variance = x.var((0, 2, 3))
        # A channel that hardly varies would be blown up by its own small variance.
        floor = 0.1 * variance.mean()
        module.running_mean = x.mean((0, 2, 3)) * around[0]
        module.running_var = torch.maximum(variance, floor) * around[1].abs()

    hooks = [
        module.bn.register_forward_pre_hook(before)
        for module in network.modules()
        if isinstance(module, ConvNorm)
    ]
    network.to(memory_format=torch.channels_last)  # for speed alone
    network(images.contiguous(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()
