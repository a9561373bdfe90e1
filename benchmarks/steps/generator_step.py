"""The generator's step where several losses meet: an autoencoder's with the adaptive weight, and
feature matching over the layers of many heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganfast.functional as GF
from benchmarks.steps.critic_step import BACKWARD, FORWARD, Parts, shares_of
from ganfast.bench.case import (
    COMPILED,
    GANFAST,
    Case,
    ErrorOf,
    Limit,
    Provider,
    compiled,
    copying,
    largest,
    normal,
)
from ganfast.bench.losses import step

RECIPE, PLAIN = "the recipe", "no adaptive weight"
NETWORKS, WEIGHT = "perceptual network and critic", "adaptive weight"
FACTOR = 0.8
"""What the adversarial loss counts beside its weight."""


def conv(channels: int, wide: int, stride: int = 1, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels, wide, kernel, stride, (kernel - 1) // 2)


class Decoder(nn.Module):
    """Latents (n, 16, s, s) -> images (n, 3, 4 s, 4 s)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(16, width), nn.SiLU()]
        for wide, narrow in ((width, width), (width, width // 2)):
            layers.append(nn.Upsample(scale_factor=2))
            for channels in (wide, narrow):
                layers += [conv(channels, narrow), nn.GroupNorm(8, narrow), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.last = conv(width // 2, 3)

    def forward(self, z: Tensor) -> Any:
        return self.last(self.body(z))


def perceptual(width: int) -> nn.Sequential:
    """The convolutions of VGG-16, for a width of 64, as LPIPS has them."""
    layers: list[nn.Module] = []
    channels = 3
    for repeats, factor in ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8)):
        for _ in range(repeats):
            layers += [conv(channels, width * factor), nn.ReLU()]
            channels = width * factor
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[:-1])


def patch_critic(width: int) -> nn.Sequential:
    """PatchGAN's, of three layers (pix2pix)."""
    layers: list[nn.Module] = [conv(3, width, 2, 4), nn.LeakyReLU(0.2)]
    for factor, stride in ((2, 2), (4, 2), (8, 1)):
        narrow, wide = width * factor // 2, width * factor
        layers += [conv(narrow, wide, stride, 4), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, conv(width * 8, 1, 1, 4))


class GeneratorStep:
    """Forward, losses and backward; the optimizer is the same for everybody. The critic and the
    perceptual network are frozen."""

    def __init__(self, kind: str, width: int, size: int, batch: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.decoder = Decoder(2 * width)
            self.vgg = perceptual(width).requires_grad_(False)
            self.critic = patch_critic(width).requires_grad_(False)
        self.z = normal(batch, 16, size // 4, size // 4, seed=1)
        self.images = normal(batch, 3, size, size, seed=2).tanh()
        self.features = self.vgg(self.images)
        self.kind = kind

    def double(self) -> GeneratorStep:
        for network in (self.decoder, self.vgg, self.critic):
            network.double()
        self.z, self.images = self.z.double(), self.images.double()
        self.features = self.vgg(self.images)
        return self

    @property
    def parts(self) -> Parts:
        return {
            FORWARD: self.forward,
            NETWORKS: self.networks,
            WEIGHT: self.weigh,
            BACKWARD: self.backward,
        }

    def __call__(self) -> GeneratorStep:
        for part in self.parts.values():
            part()
        return self

    output: Tensor
    reconstruction: Tensor
    adversarial: Tensor
    loss: Tensor

    def forward(self) -> None:
        self.decoder.zero_grad()
        self.output = self.decoder(self.z)

    def networks(self) -> None:
        reconstruction = F.l1_loss(self.output, self.images)
        self.reconstruction = reconstruction + F.mse_loss(self.vgg(self.output), self.features)
        self.adversarial = -self.critic(self.output).mean()

    def weigh(self) -> None:
        layer = self.decoder.last.weight
        reconstruction, adversarial = self.reconstruction, self.adversarial
        if self.kind == GANFAST:
            self.loss, _ = GF.adaptive_weight(
                reconstruction, adversarial, self.output, last_layer=layer, weight=FACTOR
            )
        elif self.kind == RECIPE:
            norms = [
                torch.autograd.grad(each, layer, retain_graph=True)[0].norm()
                for each in (reconstruction, adversarial)
            ]
            weight = (norms[0] / (norms[1] + 1e-4)).clamp(0.0, 1e4).detach()
            self.loss = reconstruction + FACTOR * weight * adversarial
        else:
            self.loss = reconstruction + FACTOR * adversarial

    def backward(self) -> None:
        self.loss.backward()

    def gradients(self) -> list[Tensor]:
        return [p.grad.double() for p in self.decoder.parameters() if p.grad is not None]


def adaptive_step(width: int = 64, size: int = 64, batch: int = 4) -> Case:
    """VQGAN's generator step; its limit is the step with a weight that is given."""

    def error_of() -> ErrorOf:
        exact = GeneratorStep(RECIPE, width, size, batch).double()().gradients()

        def error(_: str, found: GeneratorStep) -> float:
            pairs = zip(found.gradients(), exact, strict=True)
            off = sum(float((mine - right).square().sum()) for mine, right in pairs)
            return math.sqrt(off / sum(float(right.square().sum()) for right in exact))

        return error

    def limit(device: torch.device) -> Limit:
        return Limit(GeneratorStep(PLAIN, width, size, batch), 1.0, 1.0)

    return Case(
        name=f"adaptive-weight-{width}-wide-{size}-pixels-batch-{batch}",
        section="Generator step of an autoencoder, with the adaptive weight",
        label=f"VGG-16 of width {width}, {size}x{size}, batch {batch}",
        inputs=lambda device, seed: (),
        providers={
            kind: Provider(partial(GeneratorStep, kind, width, size, batch), 1e-3)
            for kind in (RECIPE, GANFAST)
        },
        error_of=error_of,
        limit=limit,
        seconds=10.0,
        after=partial(shares_of, rounds=5),
    )


# ---- feature matching -----------------------------------------------------------------------

Sides = tuple[list[Tensor], list[Tensor]]
LAYERS = ((32, 8192), (128, 2048), (512, 1024), (1024, 256), (1024, 256))
"""Channels and length of the layers of a head, about as in BigVGAN's and HiFi-GAN's."""


def draw(batch: int, heads: int, device: torch.device, seed: int) -> Sides:
    shapes = [(batch, *layer) for layer in LAYERS] * heads
    sides = [
        [
            normal(*shape, seed=seed + 1000 * side + j, device=device)
            for j, shape in enumerate(shapes)
        ]
        for side in (0, 1)
    ]
    return sides[0], [x.requires_grad_() for x in sides[1]]


def eager(form: Callable[..., Tensor], real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    total = torch.zeros((), dtype=real[0].dtype, device=real[0].device)
    for r, f in zip(real, fake, strict=True):
        total = total + form(f, r)
    return total / len(fake)


def feature_matching(distance: str, batch: int = 5, heads: int = 10) -> Case:
    """Forward and backward over all pairs."""
    form = F.l1_loss if distance == "l1" else F.mse_loss
    elements = batch * heads * sum(channels * length for channels, length in LAYERS)
    by_hand = partial(eager, form)

    def own(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        return GF.feature_matching_loss(real, fake, distance=distance)

    def provider(function: Callable[..., Tensor]) -> Provider:
        return Provider(lambda real, fake: step(partial(function, real, fake), fake), 1e-5)

    def make_compiled(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Any:
        fast = compiled(by_hand, 1e-5).make(real, fake)
        return step(fast, fake)

    def error_of(real: Sequence[Tensor], fake: Sequence[Tensor]) -> ErrorOf:
        wide = [[x.detach().double() for x in side] for side in (real, fake)]
        for x in wide[1]:
            x.requires_grad_()
        exact = step(partial(by_hand, *wide), wide[1])().detach()
        right = [x.grad for x in wide[1]]

        def error(_: str, value: Tensor) -> float:
            errors = [abs(float(value.detach().double() / exact) - 1)]
            for x, g in zip(fake, right, strict=True):
                errors.append(math.inf if x.grad is None or g is None else largest(x.grad, g))
            return max(errors)

        return error

    return Case(
        name=f"feature-matching-{distance}-{elements}",
        section="Feature matching, forward and backward",
        label=f"{distance.upper()}, {elements:,} elements in {heads * len(LAYERS)} pairs",
        inputs=lambda device, seed: draw(batch, heads, device, seed),
        providers={
            "eager": provider(by_hand),
            COMPILED: Provider(make_compiled, 1e-5, optional=True),
            GANFAST: provider(own),
        },
        error_of=error_of,
        # Both sides are read in each direction, and the gradient is written.
        limit=lambda device: copying(12 * elements, 20 * elements, device),
        seconds=5.0,
    )
