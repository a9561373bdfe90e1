"""What the loop does with its two players: their optimizers, penalties, gradients and average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import ganfast.functional as GF
from ganfast.errors import InputError, one_line
from ganfast.optim import Adam, RMSprop
from ganfast.train import schedule
from ganfast.train.growing import Growing
from ganfast.train.log import Meter
from ganfast.train.recipe import PENALTIES, Penalty, Recipe

if TYPE_CHECKING:
    from ganfast.train.loop import Trainer


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


def set_rate(trainer: Trainer, optimizer: torch.optim.Optimizer) -> None:
    """Give ``optimizer`` the learning rate that it is time for."""
    rate = schedule.learning_rate(trainer.steps_done, trainer.recipe, trainer.steps)
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


@torch.no_grad()
def check_networks(
    generator: nn.Module, critic: nn.Module, shape: tuple[int, ...], latent_dim: int
) -> None:
    """Raise InputError unless the two networks fit to samples of ``shape`` and to each other."""
    modes = generator.training, critic.training
    generator.eval(), critic.eval()  # what layers keep from batch to batch stays as it is
    like = next(generator.parameters())
    try:
        samples = generator(torch.zeros((2, latent_dim), device=like.device, dtype=like.dtype))
    except RuntimeError as error:
        raise InputError(
            f"generator: it does not take noise (n, {latent_dim}) ({one_line(error)}); give one "
            "that does, or latent_dim"
        ) from None
    if tuple(samples.shape) != (2, *shape):
        raise InputError(
            f"generator: got samples of shape {tuple(samples.shape[1:])}; give one that makes them "
            f"of shape {shape}, as the source does"
        )
    try:
        scores = critic(samples.to(next(critic.parameters())))
    except RuntimeError as error:
        raise InputError(
            f"critic: it does not take samples (n, *{shape}) ({one_line(error)}); give another"
        ) from None
    if scores.shape[:1] != (2,):
        raise InputError(
            f"critic: got scores of shape {tuple(scores.shape)} for 2 samples; give one that keeps "
            "the batch in front"
        )
    generator.train(modes[0]), critic.train(modes[1])


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


def take(
    trainer: Trainer, optimizer: torch.optim.Optimizer, loss: Tensor, parts: Iterable[Tensor] = ()
) -> bool:
    """One step of ``optimizer`` down ``loss``; whether it was taken, which is for the guard to say.
    Of several processes each has its part of the gradients, and of the scalars ``parts``: they
    become the sums."""
    processes, guard = trainer.processes, trainer.guard
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if processes.count > 1:
        loss = loss.detach().clone()
        processes.add_up([*gradients(optimizer), *parts, loss])
    if guard is not None and not guard.accepts(optimizer, loss):
        return False
    optimizer.step()
    return True


def gradients(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Those that there are of its weights."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    return [p.grad for p in weights if p.grad is not None]


def scores_of(
    trainer: Trainer, real: Tensor, fake: Tensor, penalties: Sequence[Penalty]
) -> tuple[Tensor, Tensor]:
    """The critic's scores of both sides, which require gradients where a penalty asks for them:
    then the critic runs as it is, in float32."""
    places = {PENALTIES[row.kind].at for row in penalties}
    real.requires_grad_("real" in places)
    fake.requires_grad_("fake" in places)
    if places & {"real", "fake"}:
        return trainer.critic(real, **trainer.size), trainer.critic(fake, **trainer.size)
    if trainer.speed.merge:
        both = trainer.score(torch.cat((real, fake)), **trainer.size)
        return both[: len(real)], both[len(real) :]
    return trainer.score(real, **trainer.size), trainer.score(fake, **trainer.size)


def penalty_of(
    trainer: Trainer, row: Penalty, real: Tensor, fake: Tensor, scores: tuple[Tensor, Tensor]
) -> Tensor:
    """mean_i (||d critic(x_i) / d x_i|| - target)^2 where the row of PENALTIES says; of several
    processes the part of it that is this one's. At real or fake samples it is taken on the graph of
    their ``scores``, without a second forward."""
    kind, count = PENALTIES[row.kind], trainer.processes.count
    if kind.at != "interpolated":
        samples = {"real": (scores[0], real), "fake": (scores[1], fake)}
        return GF.r1_penalty(*samples[kind.at], gamma=2 / count)
    between: dict[str, Any] = {"generator": trainer.random}
    if count > 1:  # eps of the whole batch, and of it this process's part
        ones = torch.ones(len(real) * count, device=real.device)
        eps = GF.interpolate(ones, torch.zeros_like(ones), **between)
        eps = trainer.processes.part(eps).view(-1, *[1] * (real.dim() - 1))
        real, between = fake + eps * (real - fake), {"at": "real"}
    return GF.gradient_penalty(
        trainer.critic, real, fake,
        weight=1 / count, target=kind.target, critic_kwargs=trainer.size, **between,
    )  # fmt: skip


def like_generated(trainer: Trainer, images: Tensor) -> Tensor:
    """Real images in [-1, 1] in the range that the generator's last layer has, and of networks that
    grow as large as they are."""
    if trainer.recipe.input_range == "sigmoid":
        images = (images + 1) / 2
    if isinstance(trainer.critic, Growing):
        images = trainer.critic.shown(images, **trainer.size)
    if trainer.speed.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return images


def grow(step: int, recipe: Recipe, *networks: nn.Module) -> dict[str, Any]:
    """Let ``networks`` that grow have the size of ``step``; returns it as keywords for them, of
    networks that don't grow none."""
    size: dict[str, Any] = {}
    for network in networks:
        if isinstance(network, Growing):
            network.reached = schedule.grow(step, recipe.grow_steps, network.stages)
            size = dict(zip(("stage", "alpha"), network.reached, strict=True))
    return size


def gradient_norm(module: nn.Module) -> Tensor:
    """The 2-norm of the gradients of all weights of ``module`` together, a scalar."""
    return norm_of([p.grad for p in module.parameters() if p.grad is not None])


def norm_of(tensors: list[Tensor]) -> Tensor:
    """The 2-norm over all of ``tensors`` together, a scalar."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


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
