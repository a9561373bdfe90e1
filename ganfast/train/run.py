"""One training run: a folder that fills with a log, pictures and a checkpoint while the trainer
works."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ganfast._lock import Lock
from ganfast._remote import shown
from ganfast._terminal import Progress, shows_progress
from ganfast.errors import DivergedError, InputError
from ganfast.interrupt import Interrupt
from ganfast.metrics.images import Skipped
from ganfast.train import networks, pictures
from ganfast.train.config import TrainConfig
from ganfast.train.data import open_source
from ganfast.train.environment import cpu_threads, need, writable_folder
from ganfast.train.log import Log, check_finite
from ganfast.train.loop import Trainer
from ganfast.train.players import grow, sample
from ganfast.train.processes import Processes
from ganfast.train.saves import (
    MOST_ROLLBACKS,
    clear,
    go_back,
    public,
    resume,
    save_checkpoint,
    save_samples,
)
from ganfast.train.schedule import is_due
from ganfast.train.source import Images, Mixture, Source, as_source
from ganfast.train.watch import Watch, look, modes_of


@dataclass
class Run:
    """What a finished run hands back. ``lines`` is the log; ``seconds`` counts this call alone."""

    config: TrainConfig
    out: Path
    trainer: Trainer
    watch: Watch
    lines: list[dict[str, Any]]
    seconds: float

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """``n`` generated samples, (n, *shape) on the CPU, the same for the same seed: by the
        weights that the watch found best, or the last ones if nothing watched."""
        generator = self.trainer.average
        if self.watch.best:
            generator = copy.deepcopy(generator)
            generator.load_state_dict(self.watch.best)
            grow(self.watch.best_step or 0, self.trainer.recipe, generator)
        return sample(generator, self.trainer.recipe, n, seed)

    @property
    def skipped(self) -> Sequence[Skipped]:
        """The images that could not be read and were left out (``on_error`` "skip")."""
        source = self.trainer.source
        return source.skipped if isinstance(source, Images) else ()

    def summary(self) -> str:
        """One line: what was trained and how long it took, and what the watch found; of points also
        the modes that were found, those which a fifth of their fair share of the samples are at."""
        config, source, watch = self.config, self.trainer.source, self.watch
        steps = self.trainer.steps_done
        text = f"{config.game} on {shown(config.data)}: {steps} steps in {self.seconds:.1f} s"
        if watch.stop:
            text += f", stopped before {config.steps}"
        if watch.best_step is not None:
            text += f", the samples at step {watch.best_step} nearest to held-out data"
        if self.lines and self.lines[-1].get("skipped"):
            share = self.lines[-1]["skipped"]
            text += f", {share:.0%} of the last ones skipped: their loss was not finite"
        if isinstance(source, Mixture):
            found, share = modes_of(source, self.sample(1000))
            text += f", {found} of {len(source.centres)} modes found"
            text += f", {share:.0%} of the samples at a mode"
        return f"{text} -> {self.out}"


def new_trainer(
    config: TrainConfig,
    source: Source,
    *,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
    processes: Processes | None = None,
) -> Trainer:
    """A trainer at its first step, with the networks of ``config`` where none are given."""
    recipe = config.recipe(points=len(source.shape) == 1)
    if config.channels_last and len(source.shape) != 3:
        raise InputError("channels_last: got True for points; leave it out")
    if recipe.grow_from is not None and (generator is not None or critic is not None):
        raise InputError(
            f"grow_from: got {recipe.grow_from} with networks of your own; leave it out, or them"
        )
    if generator is None or critic is None:
        made = networks.build(
            source.shape,
            recipe.latent_dim,
            config.width,
            config.seed,
            **recipe.of_networks,
        )
        generator, critic = generator or made[0], critic or made[1]
    processes = processes or Processes()
    processes.check(recipe.batch_size, source.identity)
    return Trainer(
        generator,
        critic,
        source,
        recipe,
        steps=config.steps,
        seed=config.seed,
        device=config.device,
        skip_nan=config.on_nan == "skip",
        processes=processes,
        speed=config.speed(),
    )


def train(
    config: TrainConfig,
    *,
    source: Any = None,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
) -> Run:
    """Train as ``config`` says. In ``config.out``:

    ``log.jsonl`` (means over each ``log_every`` steps), ``samples/<step>.png`` from noise that
    stays the same, ``losses.png`` and ``checkpoint.safetensors``; with ``keep`` above 1 also
    ``checkpoints/<step>.safetensors``, and with ``tensorboard`` its event files.

    On Ctrl-C and SIGTERM the step in progress is finished, the checkpoint and the pictures so far
    are written, and KeyboardInterrupt is raised; the run can then be continued with ``resume``.

    Where torch.distributed's default group is initialized, its processes share each batch, and do
    to round-off what one process would; the first one writes. They may be another number when the
    run is resumed.

    Args:
        config: the settings.
        source: samples of your own in place of ``config.data``, as for
            :func:`ganfast.train.source.as_source`.
        generator: a network of your own, noise (n, latent_dim) -> samples (n, *shape); images end
            in what ``input_range`` says.
        critic: a network of your own, samples (n, *shape) -> scores, (n,) or (n, ...).

    Raises:
        InputError: what the user can put right, before any training; a file can't be written.
        DivergedError: a loss or a weight stopped being finite.
    """
    for module in ("matplotlib", "safetensors", "PIL"):
        need(module)  # better now than after an hour
    if config.tensorboard:
        need("tensorboard")
    processes = Processes(together=True)
    out = writable_folder(config.out) if processes.first else Path(config.out)
    busy = f"out: got {str(out)!r}, where another run is under way; give another folder"
    lock = Lock(out / ".lock", busy) if processes.first else nullcontext()
    with cpu_threads(config.threads), lock:
        if processes.first:
            clear(out, config)
        samples = open_source(config) if source is None else as_source(source)
        trainer = new_trainer(
            config, samples, generator=generator, critic=critic, processes=processes
        )
        own_eyes = "digits" if source is None and config.data == "digits" else None
        judge = config.watch_with or own_eyes
        watch = Watch(
            trainer, config.watch_every, config.patience, config.seed, judge, config.best_by
        )
        old_lines = [] if config.resume is None else resume(trainer, watch, config)
        return run(trainer, watch, config, out, old_lines)


def run(
    trainer: Trainer,
    watch: Watch,
    config: TrainConfig,
    out: Path,
    old_lines: list[dict[str, Any]],
) -> Run:
    """Step until done, interrupted or stopped by the watch, writing at the intervals that the
    config names."""
    start, processes = time.perf_counter(), trainer.processes
    path = out / "log.jsonl" if processes.first else None
    log = Log(path, old_lines, settings=public(config) if config.tensorboard else None)
    progress = Progress(
        config.game,
        config.steps,
        unit="steps",
        done=trainer.steps_done,
        show=config.progress and shows_progress() and processes.first,
    )
    if config.on_nan == "rollback":
        save_checkpoint(trainer, watch, config, out)  # something to go back to
    try:
        with Interrupt() as interrupt:
            while True:
                try:
                    while trainer.steps_done < config.steps and not processes.any(
                        watch.stop or interrupt.requested
                    ):
                        trainer.step()
                        progress.advance()
                        after_step(trainer, watch, config, out, log, progress)
                    save_checkpoint(trainer, watch, config, out)
                    break
                except DivergedError as error:
                    if config.on_nan != "rollback" or trainer.rollbacks == MOST_ROLLBACKS:
                        raise
                    progress.advance(go_back(trainer, watch, config, out, log, error))
            save_samples(trainer, config, out, log)
            interrupt.raise_if_requested()
    finally:
        progress.close()
        log.close()
        if processes.first:
            title = f"{config.game} on {shown(config.data)}"
            pictures.save_log(out / "losses.png", log.lines, title)
    return Run(config, out, trainer, watch, log.lines, time.perf_counter() - start)


def after_step(
    trainer: Trainer, watch: Watch, config: TrainConfig, out: Path, log: Log, progress: Progress
) -> None:
    """Log, measure, draw and save what is due."""
    step, line = trainer.steps_done, dict[str, float]()
    if is_due(step, min(config.log_every, config.steps)):  # a short run has a log too
        line |= trainer.meter.take() | look(trainer)
    if watch.is_due(step):
        line |= watch.evaluate(step)
    if line:
        log.write(check_finite({"step": step, **line}))
        progress.show(**{key: f"{line[key]:.3f}" for key in line if shows(key)})
    if is_due(step, config.sample_every):
        save_samples(trainer, config, out, log)
    if is_due(step, config.checkpoint_every):
        save_checkpoint(trainer, watch, config, out)


def shows(key: str) -> bool:
    """Whether a value of the log stands behind the progress bar."""
    return key.endswith("_loss") or key == "distance"
