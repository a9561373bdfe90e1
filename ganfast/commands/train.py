"""`ganfast train`: one flag per field of TrainConfig."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganfast._options import add_flags, given
from ganfast._terminal import note
from ganfast.commands.distributed import joined
from ganfast.commands.exit_codes import DONE, IN_WORDS, SKIPPED
from ganfast.commands.failure import note_missing_kernels
from ganfast.errors import InputError, one_line
from ganfast.train import TrainConfig


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train one game",
        description="Train one game. Several processes share each batch, and make the run of one: "
        "torchrun --nproc-per-node 2 -m ganfast train ...",
        epilog=IN_WORDS,
    )
    add_flags(parser, TrainConfig)
    parser.add_argument(
        "--show", action="store_true", help="print the settings that the game would have, and stop"
    )
    parser.set_defaults(run=lambda arguments: _run(arguments, parser))


def _run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    settings = given(arguments, TrainConfig)
    if "resume" in settings:
        settings = {**_settings_of(settings["resume"], settings), **settings}
    try:
        config = TrainConfig(**settings)
    except InputError as error:
        parser.error(one_line(error))
    if arguments.show:
        print("\n".join(config.recipe().lines()))
        return DONE
    with joined(config.device, go_on=lambda: _go_on(config.out)) as place:
        if place.first:
            note_missing_kernels()
        return _train(replace(config, device=place.device or config.device), place.first)


def _train(config: TrainConfig, first: bool) -> int:
    from ganfast.train import train

    try:
        run = train(config)
    except KeyboardInterrupt as error:
        kept = _go_on(config.out)
        raise (type(error)(f"; {kept}") if kept else error) from None
    if not first:
        return DONE
    print(run.summary())
    for image in run.skipped:
        note(f"skipped {image.name}: {image.reason}")
    return SKIPPED if run.skipped else DONE


def _go_on(out: str | Path) -> str:
    """How to go on with a run that ended early, if it has left something to go on from."""
    from ganfast.train import checkpoint

    there = (Path(out) / checkpoint.NAME).exists()
    return f"the run so far is kept, --resume {shlex.quote(str(out))} goes on with it" * there


def _settings_of(place: str, given_now: dict[str, Any]) -> dict[str, Any]:
    """The settings that a run was started with, so that they need not be given again."""
    from ganfast.train import checkpoint

    folder, file = checkpoint.located(place)
    facts = checkpoint.load(file)[1]
    others = facts.get("may_change", {"steps": facts["steps"]})  # of an earlier version
    settings = {"out": str(folder), **others, **facts["config"]}
    for name in facts.get("redacted", ()):
        known = settings.pop(name)
        if name not in given_now:
            raise InputError(
                f"{name}: the run learned from {known!r}, and no checkpoint keeps a user, password "
                f"or query; give --{name} with the whole URL again"
            )
    return settings
