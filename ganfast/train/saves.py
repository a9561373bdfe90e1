"""What a run writes, and what it goes on from."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import torch

from ganfast._remote import shown
from ganfast._terminal import note
from ganfast.errors import DivergedError, InputError, one_line
from ganfast.train import checkpoint, pictures
from ganfast.train.config import MAY_CHANGE, OF_ONE_CALL, TrainConfig
from ganfast.train.log import TENSORBOARD, Log, check_finite, read_log
from ganfast.train.loop import Trainer
from ganfast.train.watch import Watch

MOST_ROLLBACKS = 5
ANOTHER_STREAM = 1_000_003


def public(config: TrainConfig) -> dict[str, Any]:
    """The settings, for a file that others read: no password is in it."""
    return {**dataclasses.asdict(config), "data": shown(config.data)}


def save_samples(trainer: Trainer, config: TrainConfig, out: Path, log: Log) -> None:
    """``samples/<step>.png``, always from the same noise, so that the pictures show one thing
    changing; TensorBoard has them too."""
    if not trainer.processes.first or log.shown == trainer.steps_done:
        return
    folder = out / "samples"
    folder.mkdir(exist_ok=True)
    is_image = len(trainer.source.shape) == 3
    n, seed = 64 if is_image else 1000, config.seed
    real = None if is_image else trainer.source.held_out.first(n)
    picture = folder / f"{trainer.steps_done:06d}.png"
    pictures.save_samples(picture, trainer.sample(n, seed), real)
    log.show(picture, trainer.steps_done)


def save_checkpoint(trainer: Trainer, watch: Watch, config: TrainConfig, out: Path) -> None:
    """``checkpoint.safetensors``, unless the run has gone bad since the last one."""
    (tensors, facts), (best, watched) = checkpoint.state_of(trainer), watch.state()
    tensors, facts = tensors | best, facts | watched
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
        check_finite({"step": trainer.steps_done, "weights": float("nan")})
    if not trainer.processes.first:
        return
    facts["steps"], settings = config.steps, public(config)
    facts["config"] = {name: settings[name] for name in settings if name not in MAY_CHANGE}
    facts["may_change"] = {name: settings[name] for name in MAY_CHANGE - OF_ONE_CALL}
    facts["redacted"] = ["data"] if shown(config.data) != config.data else []
    checkpoint.save(out / checkpoint.NAME, tensors, facts)
    if config.keep > 1:
        checkpoint.keep(out, trainer.steps_done, config.keep, config.resume)


def resume(trainer: Trainer, watch: Watch, config: TrainConfig) -> list[dict[str, Any]]:
    """Bring ``trainer`` and ``watch`` to the state saved in the folder that ``config`` resumes;
    returns the log up to there."""
    folder, file = checkpoint.located(config.resume or "")
    first = trainer.processes.first
    load = functools.partial(checkpoint.load, file)
    tensors, facts = trainer.processes.from_first(load)
    learned, here = facts.get("data"), trainer.source.identity
    for name, was in facts["config"].items():
        now = getattr(config, name)
        if name == "data":
            now, was = shown(now), shown(was)
        moved = name == "data" and learned == here  # the same samples, wherever they lie now
        if now != was and not moved:
            raise InputError(f"{name}: got {now!r}; give {was!r}, as in the run {str(folder)!r}")
    if trainer.recipe.decay != "none" and config.steps != facts["steps"]:
        raise InputError(
            f"steps: got {config.steps}; give {facts['steps']}, as in the run {str(folder)!r}, "
            "where the decay of its learning rate ends"
        )
    if learned is None:
        if first:
            note(
                f"the checkpoint in {folder} doesn't say what it was trained on; that the data is "
                "the same is taken on trust"
            )
    elif learned != here:
        raise InputError(
            f"data: got {shown(config.data)!r}, now {here}, and the run {str(folder)!r} "
            f"was trained on {learned}; put back what it was trained on, or start a new run"
        )
    checkpoint.restore(trainer, tensors, facts)
    watch.restore(tensors, facts)
    if first and trainer.steps_done >= config.steps:
        note(f"the run has {trainer.steps_done} steps already; give more steps to go on with it")
    return trainer.processes.from_first(lambda: read_log(folder / "log.jsonl", trainer.steps_done))


def clear(out: Path, config: TrainConfig) -> None:
    """Remove an earlier run from ``out`` if the config says overwrite, else refuse to go on."""
    resumed = None if config.resume is None else checkpoint.located(config.resume)[0].resolve()
    goes_on = resumed == out.resolve()
    if goes_on or not (out / checkpoint.NAME).exists():
        return
    if not config.overwrite:
        raise InputError(
            f"out: got {str(out)!r}, which already holds a run; continue it with resume, "
            "replace it with overwrite, or give another folder"
        )
    for name in (checkpoint.NAME, "log.jsonl", "losses.png"):
        (out / name).unlink(missing_ok=True)
    for name in ("samples", checkpoint.FOLDER, TENSORBOARD):
        shutil.rmtree(out / name, ignore_errors=True)


def go_back(
    trainer: Trainer, watch: Watch, config: TrainConfig, out: Path, log: Log, why: DivergedError
) -> int:
    """Return to the last checkpoint, and draw from another random stream from there; by how many
    steps, which is negative."""
    failed, rollbacks = trainer.steps_done, trainer.rollbacks + 1
    load = functools.partial(checkpoint.load, out / checkpoint.NAME)
    tensors, facts = trainer.processes.from_first(load)
    checkpoint.restore(trainer, tensors, facts)
    watch.restore(tensors, facts)
    trainer.rollbacks = rollbacks
    trainer.random.manual_seed(config.seed + ANOTHER_STREAM * rollbacks)
    log.cut(trainer.steps_done)
    if trainer.processes.first:
        note(
            f"{one_line(why).partition(':')[0]}; back to step {trainer.steps_done} with other "
            f"samples ({rollbacks} of {MOST_ROLLBACKS} times)"
        )
    return trainer.steps_done - failed
