"""`ganfast train`: one flag per field of TrainConfig."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganfast.commands.arguments import one_of
from ganfast.commands.failure import note_missing_kernels, one_line
from ganfast.errors import InputError
from ganfast.train import TrainConfig
from ganfast.train.recipe import RECIPES

_HELP = {
    "game": f"what the two networks play: {', '.join(RECIPES)}",
    "data": "what they learn: digits, ring, grid or folder:PATH (images at any depth)",
    "steps": "generator steps",
    "batch_size": "samples per step",
    "n_critic": "critic steps before each generator step (default: the game's own)",
    "clip": "wgan only: bound of every critic weight (default: the game's own)",
    "penalty_weight": "wgan-gp only: weight of the gradient penalty (default: the game's own)",
    "label_smoothing": "minimax and nonsaturating only: the real target becomes 1 minus this",
    "lr": "learning rate of both networks (default: the game's own)",
    "latent_dim": "length of the noise vector",
    "width": "channels of the networks' narrowest layer",
    "image_size": "folder:PATH only: images become squares of this side, a power of two",
    "seed": "the same seed on the same machine gives the same run",
    "out": "folder for the log, the pictures and the checkpoint",
    "overwrite": "start afresh in a folder that already holds a run",
    "resume": "folder of a run to continue, with the settings it had",
    "device": "cpu, cuda or cuda:N",
    "threads": "CPU threads (default: torch's own choice)",
    "sample_every": "steps between sample pictures, 0 for none but the last",
    "checkpoint_every": "steps between checkpoints, 0 for none but the last",
    "log_every": "steps between log lines",
    "progress": "show no progress bar",
}
_TYPES = {
    "game": one_of(RECIPES),
    "data": one_of(["digits", "ring", "grid"], "folder:PATH", "folder:.+"),
    # Shown are those that are tested; whether another of torch's is there, only torch knows.
    "device": one_of(["cpu", "cuda"], "cuda:N", r"[a-z]+(:\d+)?"),
}


def add(commands: Any) -> None:
    parser = commands.add_parser("train", help="train one game", description="Train one game.")
    for field in dataclasses.fields(TrainConfig):
        _add_field(parser, field)
    parser.set_defaults(run=lambda arguments: _run(arguments, parser))


def _add_field(parser: argparse.ArgumentParser, field: dataclasses.Field[Any]) -> None:
    """The flag of one field; left out on the command line, it is left to TrainConfig."""
    flag, text = f"--{field.name.replace('_', '-')}", _HELP[field.name]
    if isinstance(field.default, bool):
        name, action = (
            ("--no-" + flag[2:], "store_false") if field.default else (flag, "store_true")
        )
        suppress = argparse.SUPPRESS
        parser.add_argument(name, dest=field.name, action=action, default=suppress, help=text)
        return
    if field.default is not None:
        text += f" (default: {field.default})"
    kinds: dict[str, tuple[Callable[[str], Any], str]] = {
        "int": (int, "N"),
        "float": (float, "X"),
        "str": (str, field.name.upper()),
    }
    kind, metavar = kinds[str(field.type).partition(" ")[0]]
    kind = _TYPES.get(field.name, kind)
    metavar = "DIR" if field.name in ("out", "resume") else metavar
    parser.add_argument(
        flag, metavar=metavar, type=kind, default=argparse.SUPPRESS, help=text.replace("%", "%%")
    )


def _run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    given = {name: value for name, value in vars(arguments).items() if name != "run"}
    if "resume" in given:
        given = {"out": given["resume"], **_settings_of(Path(given["resume"])), **given}
    try:
        config = TrainConfig(**given)
    except InputError as error:
        parser.error(one_line(error))
    from ganfast.train import checkpoint, train

    note_missing_kernels()
    try:
        run = train(config)
    except KeyboardInterrupt:
        if not (Path(config.out) / checkpoint.NAME).exists():
            raise
        kept = f"; the run so far is kept, --resume {config.out} goes on with it"
        raise KeyboardInterrupt(kept) from None
    print(
        f"{config.game} on {config.data}: {config.steps} steps in {run.seconds:.1f} s -> {run.out}"
    )


def _settings_of(folder: Path) -> dict[str, Any]:
    """The settings that a run was started with, so that they need not be given again."""
    from ganfast.train import checkpoint

    facts = checkpoint.load(folder / checkpoint.NAME)[1]
    return dict(facts["config"])
