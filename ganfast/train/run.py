"""One training run: a folder that fills with a log, pictures and a checkpoint while the trainer
works."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganfast._lock import Lock
from ganfast._remote import shown
from ganfast._terminal import Progress, note, shows_progress
from ganfast.errors import DivergedError, InputError, one_line
from ganfast.interrupt import Interrupt
from ganfast.metrics.images import Skipped
from ganfast.train import checkpoint, networks, pictures
from ganfast.train.config import MAY_CHANGE, TrainConfig
from ganfast.train.data import open_source
from ganfast.train.environment import cpu_threads, need, writable_folder
from ganfast.train.log import Log, check_finite, read_log
from ganfast.train.loop import Trainer
from ganfast.train.players import check_networks, sample
from ganfast.train.schedule import is_due
from ganfast.train.source import Images, Mixture, Source, as_source
from ganfast.train.watch import Watch, look, modes_of

MOST_ROLLBACKS = 5
ANOTHER_STREAM = 1_000_003


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
) -> Trainer:
    """A trainer at its first step, with the networks of ``config`` where none are given."""
    recipe = config.recipe(points=len(source.shape) == 1)
    if generator is None or critic is None:
        made = networks.build(
            source.shape,
            recipe.latent_dim,
            config.width,
            config.seed,
            **recipe.of_networks,
        )
        generator, critic = generator or made[0], critic or made[1]
    check_networks(generator, critic, source.shape, recipe.latent_dim)
    return Trainer(
        generator,
        critic,
        source,
        recipe,
        steps=config.steps,
        seed=config.seed,
        device=config.device,
        skip_nan=config.on_nan == "skip",
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
    stays the same, ``losses.png`` and ``checkpoint.safetensors``.

    On Ctrl-C and SIGTERM the step in progress is finished, the checkpoint and the pictures so far
    are written, and KeyboardInterrupt is raised; the run can then be continued with ``resume``.

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
    out = writable_folder(config.out)
    busy = f"out: got {str(out)!r}, where another run is under way; give another folder"
    with cpu_threads(config.threads), Lock(out / ".lock", busy):
        clear(out, config)
        samples = open_source(config) if source is None else as_source(source)
        trainer = new_trainer(config, samples, generator=generator, critic=critic)
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
    start = time.perf_counter()
    log = Log(out / "log.jsonl", old_lines)
    progress = Progress(
        config.game,
        config.steps,
        unit="steps",
        done=trainer.steps_done,
        show=config.progress and shows_progress(),
    )
    if config.on_nan == "rollback":
        save_checkpoint(trainer, watch, config, out)  # something to go back to
    try:
        with Interrupt() as interrupt:
            while True:
                try:
                    while not (
                        trainer.steps_done >= config.steps or watch.stop or interrupt.requested
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
            save_samples(trainer, config, out)
            interrupt.raise_if_requested()
    finally:
        progress.close()
        log.close()
        pictures.save_log(out / "losses.png", log.lines, f"{config.game} on {shown(config.data)}")
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
        save_samples(trainer, config, out)
    if is_due(step, config.checkpoint_every):
        save_checkpoint(trainer, watch, config, out)


def go_back(
    trainer: Trainer, watch: Watch, config: TrainConfig, out: Path, log: Log, why: DivergedError
) -> int:
    """Return to the last checkpoint, and draw from another random stream from there; by how many
    steps, which is negative."""
    failed, rollbacks = trainer.steps_done, trainer.rollbacks + 1
    tensors, facts = checkpoint.load(out / checkpoint.NAME)
    checkpoint.restore(trainer, tensors, facts)
    watch.restore(tensors, facts)
    trainer.rollbacks = rollbacks
    trainer.random.manual_seed(config.seed + ANOTHER_STREAM * rollbacks)
    log.cut(trainer.steps_done)
    note(
        f"{one_line(why).partition(':')[0]}; back to step {trainer.steps_done} with other samples "
        f"({rollbacks} of {MOST_ROLLBACKS} times)"
    )
    return trainer.steps_done - failed


def shows(key: str) -> bool:
    """Whether a value of the log stands behind the progress bar."""
    return key.endswith("_loss") or key == "distance"


def save_samples(trainer: Trainer, config: TrainConfig, out: Path) -> None:
    """``samples/<step>.png``, always from the same noise, so that the pictures show one thing
    changing."""
    folder = out / "samples"
    folder.mkdir(exist_ok=True)
    is_image = len(trainer.source.shape) == 3
    n, seed = 64 if is_image else 1000, config.seed
    real = None if is_image else trainer.source.held_out.first(n)
    pictures.save_samples(folder / f"{trainer.steps_done:06d}.png", trainer.sample(n, seed), real)


def save_checkpoint(trainer: Trainer, watch: Watch, config: TrainConfig, out: Path) -> None:
    """``checkpoint.safetensors``, unless the run has gone bad since the last one."""
    (tensors, facts), (best, watched) = checkpoint.state_of(trainer), watch.state()
    tensors, facts = tensors | best, facts | watched
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
        check_finite({"step": trainer.steps_done, "weights": float("nan")})
    settings = dataclasses.asdict(config)
    facts["steps"] = config.steps
    facts["config"] = {name: settings[name] for name in settings if name not in MAY_CHANGE}
    checkpoint.save(out / checkpoint.NAME, tensors, facts)


def resume(trainer: Trainer, watch: Watch, config: TrainConfig) -> list[dict[str, Any]]:
    """Bring ``trainer`` and ``watch`` to the state saved in the folder that ``config`` resumes;
    returns the log up to there."""
    folder = Path(config.resume or "")
    tensors, facts = checkpoint.load(folder / checkpoint.NAME)
    learned, here = facts.get("data"), trainer.source.identity
    for name, was in facts["config"].items():
        now = getattr(config, name)
        moved = name == "data" and learned == here  # the same samples, wherever they lie now
        if now != was and not moved:
            raise InputError(f"{name}: got {now!r}; give {was!r}, as in the run {str(folder)!r}")
    if trainer.recipe.decay != "none" and config.steps != facts["steps"]:
        raise InputError(
            f"steps: got {config.steps}; give {facts['steps']}, as in the run {str(folder)!r}, "
            "where the decay of its learning rate ends"
        )
    if learned is None:
        note(
            f"the checkpoint in {folder} doesn't say what it was trained on; that the data is the "
            "same is taken on trust"
        )
    elif learned != here:
        raise InputError(
            f"data: got {shown(config.data)!r}, now {here}, and the run {str(folder)!r} "
            f"was trained on {learned}; put back what it was trained on, or start a new run"
        )
    checkpoint.restore(trainer, tensors, facts)
    watch.restore(tensors, facts)
    return read_log(folder / "log.jsonl", trainer.steps_done)


def clear(out: Path, config: TrainConfig) -> None:
    """Remove an earlier run from ``out`` if the config says overwrite, else refuse to go on."""
    goes_on = config.resume is not None and out.resolve() == Path(config.resume).resolve()
    if goes_on or not (out / checkpoint.NAME).exists():
        return
    if not config.overwrite:
        raise InputError(
            f"out: got {str(out)!r}, which already holds a run; continue it with resume, "
            "replace it with overwrite, or give another folder"
        )
    for name in (checkpoint.NAME, "log.jsonl", "losses.png"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "samples", ignore_errors=True)
