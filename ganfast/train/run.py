"""One training run: a folder that fills with a log, pictures and a checkpoint while the trainer
works."""

from __future__ import annotations

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.interrupt import Interrupt
from ganfast.train import checkpoint, pictures
from ganfast.train.config import TrainConfig
from ganfast.train.data import open_source
from ganfast.train.diagnostics import check_finite
from ganfast.train.extras import need
from ganfast.train.log import Bar, Log, read_log
from ganfast.train.threads import cpu_threads
from ganfast.train.trainer import Trainer

# What must be as it was for a resumed run to be the same run; the rest (steps, intervals, folders)
# may change.
FIXED = (
    *("game", "data", "image_size", "seed", "device", "batch_size", "latent_dim", "width"),
    *("lr", "n_critic", "clip", "penalty_weight", "label_smoothing"),
)


@dataclass
class Run:
    """What a finished run hands back. ``lines`` is the log; ``seconds`` counts this call alone."""

    config: TrainConfig
    out: Path
    trainer: Trainer
    lines: list[dict[str, Any]]
    seconds: float

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """``n`` generated samples, (n, *shape) on the CPU, the same for the same seed."""
        return self.trainer.sample(n, seed)


def train(config: TrainConfig) -> Run:
    """Train as ``config`` says. In ``config.out``:

    ``log.jsonl`` (means over each ``log_every`` steps), ``samples/<step>.png`` from noise that
    stays the same, ``losses.png`` and ``checkpoint.safetensors``.

    On Ctrl-C the step in progress is finished, the checkpoint and the pictures so far are written,
    and KeyboardInterrupt is raised; the run can then be continued with ``resume``. Raises
    InputError for what the user can put right, before any training, and DivergedError if a loss
    stops being finite.
    """
    for module in ("matplotlib", "safetensors", "PIL"):
        need(module)  # better now than after an hour
    with cpu_threads(config.threads):
        out = prepare_out(config)
        trainer = Trainer(config, open_source(config.data, config.image_size))
        old_lines = resume(trainer, Path(config.resume)) if config.resume is not None else []
        return run(trainer, out, old_lines)


def run(trainer: Trainer, out: Path, old_lines: list[dict[str, Any]]) -> Run:
    """Step until done or interrupted, writing at the intervals that the config names."""
    config, start = trainer.config, time.perf_counter()
    log_every = min(config.log_every, config.steps)  # a short run has a log too
    log = Log(out / "log.jsonl", keep=old_lines)
    bar = Bar(config.game, config.steps, trainer.steps_done, config.progress)
    try:
        with Interrupt() as interrupt:
            while trainer.steps_done < config.steps and not interrupt.requested:
                trainer.step()
                bar.step()
                step = trainer.steps_done
                if step % log_every == 0:
                    line = {"step": step, **trainer.meter.take()}
                    check_finite(line)
                    log.write(line)
                    bar.show(line)
                if due(step, config.sample_every):
                    save_samples(trainer, out)
                if due(step, config.checkpoint_every):
                    save_checkpoint(trainer, out)
            save_checkpoint(trainer, out)
            save_samples(trainer, out)
            if interrupt.requested:
                raise KeyboardInterrupt
    finally:
        bar.close()
        log.close()
        pictures.save_loss_curves(out / "losses.png", log.lines, f"{config.game} on {config.data}")
    return Run(config, out, trainer, log.lines, time.perf_counter() - start)


def due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def save_samples(trainer: Trainer, out: Path) -> None:
    """``samples/<step>.png``, always from the same noise, so that the pictures show one thing
    changing."""
    folder = out / "samples"
    folder.mkdir(exist_ok=True)
    is_image = len(trainer.source.shape) == 3
    n, seed = 64 if is_image else 1000, trainer.config.seed
    real = None if is_image else trainer.source.batch(n, torch.Generator().manual_seed(seed))
    pictures.save_samples(folder / f"{trainer.steps_done:06d}.png", trainer.sample(n, seed), real)


def save_checkpoint(trainer: Trainer, out: Path) -> None:
    """``checkpoint.safetensors``, unless the run has gone bad since the last one."""
    tensors, facts = trainer.state()
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
        check_finite({"step": trainer.steps_done, "weights": float("nan")})
    settings = dataclasses.asdict(trainer.config)
    facts["config"] = {name: settings[name] for name in FIXED}
    checkpoint.save(out / checkpoint.NAME, tensors, facts)


def resume(trainer: Trainer, folder: Path) -> list[dict[str, Any]]:
    """Bring ``trainer`` to the state saved in ``folder``; returns the log up to there."""
    tensors, facts = checkpoint.load(folder / checkpoint.NAME)
    for name, was in facts["config"].items():
        now = getattr(trainer.config, name)
        if now != was:
            raise InputError(
                f"resume: {str(folder)!r} was trained with {name} {was!r}, "
                f"got {now!r}: give the same"
            )
    trainer.load_state(tensors, facts)
    return read_log(folder / "log.jsonl", trainer.steps_done)


def prepare_out(config: TrainConfig) -> Path:
    """The folder to write to: writable, and no other run's unless the config says overwrite."""
    out = config.prepare_out()
    goes_on = config.resume is not None and out.resolve() == Path(config.resume).resolve()
    if goes_on or not (out / checkpoint.NAME).exists():
        return out
    if not config.overwrite:
        raise InputError(
            f"out: {str(out)!r} already holds a run; continue it with resume, "
            "replace it with overwrite, or choose another folder"
        )
    for name in (checkpoint.NAME, "log.jsonl", "losses.png"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "samples", ignore_errors=True)
    return out
