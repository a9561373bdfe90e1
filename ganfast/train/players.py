"""The two players: their networks and optimizers, what they are given, and what they learn by."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast import _checks
from ganfast.optim import Adam, RMSprop
from ganfast.train import schedule
from ganfast.train.fitting import check_shapes, check_weights
from ganfast.train.graphs import Graphs
from ganfast.train.growing import Growing
from ganfast.train.log import Meter
from ganfast.train.processes import Processes
from ganfast.train.recipe import PENALTIES, Penalty, Recipe
from ganfast.train.source import as_source
from ganfast.train.speed import Speed


class Players:
    """All of a Trainer but its steps."""

    def __init__(
        self, generator: nn.Module, critic: nn.Module, source: Any, recipe: Recipe,
        *, steps: int = 2000, seed: int = 0, device: str = "cpu", skip_nan: bool = False,
        processes: Processes | None = None, speed: Speed | None = None,
    ) -> None:  # fmt: skip
        device = str(_checks.device("device", device))
        self.source, self.recipe, self.steps, self.device = as_source(source), recipe, steps, device
        self.processes, self.speed = processes or Processes(), speed or Speed()
        check_weights(generator, critic)
        self.generator, self.critic = generator.to(device), critic.to(device)
        check_shapes(self.generator, self.critic, self.source.shape, recipe)
        self.processes.join(self.generator, self.critic)
        self.speed.lay_out(self.generator, self.critic)
        self._generate, self._score = map(self.speed.forward_of, (self.generator, self.critic))
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.following = Average(self.average, self.generator)
        optimizer = functools.partial(make_optimizer, capturable=self.speed.capture)
        self.generator_optimizer = optimizer(self.generator, recipe)
        self.critic_optimizer = optimizer(self.critic, recipe, recipe.clip)
        # All that is drawn in training comes from here: its state is enough to continue the run.
        self.random = torch.Generator(device).manual_seed(seed)
        self.steps_done, self.rollbacks, self.meter = 0, 0, Meter()
        self.guard = Guard(self.meter, self.generator, self.critic) if skip_nan else None
        self.grow()
        self.graphs = Graphs(cast(Any, self)) if self.speed.capture else None

    @property
    def teacher(self) -> Any:
        """What takes the steps: this trainer, or CUDA graphs of its steps, which are captured when
        they are first asked for."""
        if self.graphs is None:
            return self
        self.graphs.prepare()
        return self.graphs

    def real(self) -> Tensor:
        """A batch of real samples, in the range and, of networks that grow, as large as the
        generator makes them."""
        batch = self.source.train.batch(self.recipe.batch_size, self.random)
        images = self.processes.part(batch)
        if self.recipe.input_range == "sigmoid":
            images = (images + 1) / 2
        if isinstance(self.critic, Growing):
            images = self.critic.shown(images, **self.size)
        if self.speed.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images.detach()  # a source may give out what is its own

    def noise(self, n: int | None = None) -> Tensor:
        """The generator's input, (n, latent_dim), by default for a batch."""
        shape = (n or self.recipe.batch_size, self.recipe.latent_dim)
        return self.processes.part(torch.randn(shape, generator=self.random, device=self.device))

    def fake(self, noise: Tensor | None = None) -> Tensor:
        """A batch of the generator's samples, of ``noise`` or of some that is drawn here."""
        return self._generate(self.noise() if noise is None else noise, **self.size)

    def score(self, samples: Tensor) -> Tensor:
        """The critic's scores, where no penalty is taken."""
        return self._score(samples, **self.size)

    def sample(self, n: int, seed: int) -> Tensor:
        """``n`` samples of the average generator, which change nothing in the run."""
        return sample(self.average, self.recipe, n, seed)

    def grow(self) -> None:
        """Let networks that grow have the size of this step."""
        networks = self.generator, self.critic, self.average
        self.size = grow(self.steps_done, self.recipe, *networks)

    def set_rate(self, rate: float) -> None:
        """Give both optimizers this learning rate."""
        for optimizer in (self.generator_optimizer, self.critic_optimizer):
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def take(
        self, optimizer: torch.optim.Optimizer, loss: Tensor, parts: Iterable[Tensor] = ()
    ) -> bool:
        """One step of ``optimizer`` down ``loss``; whether it was taken, which is for the guard to
        say. Of several processes each has its part of the gradients, and of the scalars ``parts``:
        they become the sums."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.processes.count > 1:
            loss = loss.detach().clone()
            self.processes.add_up([*gradients(optimizer), *parts, loss])
        if self.guard is not None and not self.guard.accepts(optimizer, loss):
            return False
        optimizer.step()
        return True

    def due(self, count: int) -> tuple[Penalty, ...]:
        """The penalties of critic step ``count`` of the run."""
        rows = self.recipe.penalties
        return tuple(row for row in rows if schedule.is_due(count, row.every))

    def scores(
        self, real: Tensor, fake: Tensor, penalties: Sequence[Penalty]
    ) -> tuple[Tensor, Tensor]:
        """The critic's scores of both sides, which require gradients where a penalty asks for them:
        then the critic runs as it is, in float32."""
        places = {PENALTIES[row.kind].at for row in penalties}
        real.requires_grad_("real" in places)
        fake.requires_grad_("fake" in places)
        if places & {"real", "fake"}:
            return self.critic(real, **self.size), self.critic(fake, **self.size)
        if self.speed.merge:
            both = self.score(torch.cat((real, fake)))
            return both[: len(real)], both[len(real) :]
        return self.score(real), self.score(fake)

    def penalty(
        self, row: Penalty, real: Tensor, fake: Tensor, scores: tuple[Tensor, Tensor]
    ) -> Tensor:
        """mean_i (||d critic(x_i) / d x_i|| - target)^2 where the row of PENALTIES says; of several
        processes the part of it that is this one's. At real or fake samples it is taken on the
        graph of their ``scores``, without a second forward."""
        kind, count = PENALTIES[row.kind], self.processes.count
        if kind.at != "interpolated":
            samples = {"real": (scores[0], real), "fake": (scores[1], fake)}
            return GF.r1_penalty(*samples[kind.at], gamma=2 / count)
        between: dict[str, Any] = {"generator": self.random}
        if count > 1:  # eps of the whole batch, and of it this process's part
            ones = torch.ones(len(real) * count, device=real.device)
            eps = GF.interpolate(ones, torch.zeros_like(ones), **between)
            eps = self.processes.part(eps).view(-1, *[1] * (real.dim() - 1))
            real, between = fake + eps * (real - fake), {"at": "real"}
        return GF.gradient_penalty(
            self.critic, real, fake,
            weight=1 / count, target=kind.target, critic_kwargs=self.size, **between,
        )  # fmt: skip


def make_optimizer(
    module: nn.Module, recipe: Recipe, clip: float | None = None, capturable: bool = False
) -> torch.optim.Optimizer:
    """The optimizer that the recipe names, over all weights of ``module``, kept in [-clip, clip]
    by each of its steps: the critic that the generator learns from is inside the bound. A CUDA
    graph reads a rate that changes from the device."""
    options: dict[str, Any] = {"lr": recipe.lr, "weight_clip": clip, "capturable": capturable}
    if capturable and recipe.decay != "none":
        options["lr"] = torch.tensor(recipe.lr, device=next(module.parameters()).device)
    if recipe.optimizer == "rmsprop":
        return RMSprop(module.parameters(), **options)
    return Adam(module.parameters(), betas=recipe.betas, **options)


def weights(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """All that it is over."""
    return (p for group in optimizer.param_groups for p in group["params"])


def gradients(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Those that there are of its weights."""
    return [p.grad for p in weights(optimizer) if p.grad is not None]


def norm_of(tensors: list[Tensor]) -> Tensor:
    """The 2-norm over all of ``tensors`` together, a scalar."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


@contextmanager
def frozen(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within, none of its weights requires a gradient; afterwards those that did do again."""
    learning = [p for p in weights(optimizer) if p.requires_grad]
    for p in learning:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)


class Guard:
    """Leaves out the steps whose loss or gradient is not finite, and puts back what the forward
    passes left in ``modules`` meanwhile, such as batch norm's statistics. ``meter`` gets the share
    of steps that were left out. It waits for the device in each step."""

    def __init__(self, meter: Meter, *modules: nn.Module) -> None:
        self._meter, self._modules = meter, modules
        self.keep()

    def accepts(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> bool:
        """Whether the gradients that are there may be taken."""
        norm = norm_of(gradients(optimizer))
        good = bool(torch.isfinite(norm + loss.detach()))
        self._meter.add(skipped=norm.new_full((), 0.0 if good else 1.0))
        if good:
            self.keep()
        else:
            for buffer, kept in self._kept:
                buffer.copy_(kept)
        return good

    def keep(self) -> None:
        """What is there now is what a step that is left out returns to."""
        buffers = [buffer for module in self._modules for buffer in module.buffers()]
        self._kept = [(buffer, buffer.clone()) for buffer in buffers]


def grow(step: int, recipe: Recipe, *networks: nn.Module) -> dict[str, Any]:
    """Let ``networks`` that grow have the size of ``step``; returns it as keywords for them, of
    networks that don't grow none."""
    size: dict[str, Any] = {}
    for network in networks:
        if isinstance(network, Growing):
            network.reached = schedule.grow(step, recipe.grow_steps, network.stages)
            size = dict(zip(("stage", "alpha"), network.reached, strict=True))
    return size


@torch.no_grad()
def sample(generator: nn.Module, recipe: Recipe, n: int, seed: int) -> Tensor:
    """``n`` samples on the CPU, images in [-1, 1], from noise of their own: drawing them changes
    nothing in a run. ``generator`` is an average one, in eval mode."""
    device = next(generator.parameters()).device
    random = torch.Generator(device).manual_seed(seed)
    noise = torch.randn((n, recipe.latent_dim), generator=random, device=device)
    samples = torch.cat([generator(part) for part in noise.split(256)]).cpu()
    return samples if recipe.input_range == "tanh" else samples * 2 - 1


def share_at_bound(critic: nn.Module, clip: float) -> Tensor:
    """Which share of the weights, which are in [-clip, clip], is at its ends; a scalar."""
    share = GF.clip_weights_(critic, clip, return_fraction=True)
    assert share is not None
    return share


class Average:
    """``average``, a copy of ``module`` that follows it, batch norm statistics too. The singular
    vectors of spectral norm, which are directions, are copied instead."""

    def __init__(self, average: nn.Module, module: nn.Module) -> None:
        # The tensors stay where they are: to list them anew costs more than to move them.
        there = module.state_dict()
        means = {name: t for name, t in average.state_dict().items() if t.is_floating_point()}
        vectors = [name for name in means if name.endswith(("._u", "._v"))]
        self._copies = [(means.pop(name), there[name]) for name in vectors]
        self._means, self._there = list(means.values()), [there[name] for name in means]

    @torch.no_grad()
    def follow(self, over: int) -> None:
        """Move 1/over of the way, in place."""
        for vector, there in self._copies:
            vector.copy_(there)
        torch._foreach_lerp_(self._means, self._there, 1 / over)
