"""The command `ganfast`. Exit codes: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted.

What a user can mend is one line on stderr; any other exception is a bug in ganfast and keeps its
traceback.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import ganfast
from ganfast.errors import InputError
from ganfast.train import TrainConfig
from ganfast.train.diagnostics import DivergedError
from ganfast.train.recipe import RECIPES

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """argparse, with wrong usage told in one line instead of a page."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (wrong usage exits at once)."""
    arguments = _build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
        return DONE
    except KeyboardInterrupt as interrupt:
        print(f"ganfast: interrupted{interrupt}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; Python must not fail once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (InputError, DivergedError, OSError) as error:
        print(f"ganfast: error: {_one_line(error)}", file=sys.stderr)
        return FAILED


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="ganfast",
        description="Fused GAN losses for PyTorch: train with them, and ask what runs where.",
        epilog="exit codes: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"ganfast {ganfast.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_demo, _add_train, _add_doctor, _add_bench):
        add(commands)
    return parser


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename!r}" if error.filename else ""
        return f"{error.strerror}{where}"
    return " ".join(str(error).split())


def _one_of(names: Iterable[str], free: str = "") -> Callable[[str], str]:
    """An argparse type: one of ``names``, or whatever starts with ``free``. Helps with a typo."""
    known = [*names, *([f"{free}PATH"] if free else [])]

    def check(given: str) -> str:
        if given in known[: -1 if free else None] or (free and given.startswith(free)):
            return given
        near = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise argparse.ArgumentTypeError(f"{given!r} is none of {', '.join(known)}{hint}")

    return check


def _note_missing_kernels() -> None:
    """Say it once, before the work: an install without a compiler is slower, and pip hid it."""
    if importlib.util.find_spec("ganfast._cpu") is None:
        print("ganfast: note: the C++ kernels are not built (see ganfast doctor)", file=sys.stderr)


# ---- ganfast train: one flag per field of TrainConfig

_TRAIN_HELP = {
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
_TRAIN_TYPES = {"game": _one_of(RECIPES), "data": _one_of(["digits", "ring", "grid"], "folder:")}


def _add_train(commands: Any) -> None:
    parser = commands.add_parser("train", help="train one game", description="Train one game.")
    for field in dataclasses.fields(TrainConfig):
        _add_field(parser, field)
    parser.set_defaults(run=lambda arguments: _train(arguments, parser))


def _add_field(parser: argparse.ArgumentParser, field: dataclasses.Field[Any]) -> None:
    """The flag of one field; left out on the command line, it is left to TrainConfig."""
    flag, text = f"--{field.name.replace('_', '-')}", _TRAIN_HELP[field.name]
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
    kind = _TRAIN_TYPES.get(field.name, kind)
    metavar = "DIR" if field.name in ("out", "resume") else metavar
    parser.add_argument(
        flag, metavar=metavar, type=kind, default=argparse.SUPPRESS, help=text.replace("%", "%%")
    )


def _train(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    from ganfast.train import checkpoint, train

    given = {name: value for name, value in vars(arguments).items() if name != "run"}
    if "resume" in given:
        given = {"out": given["resume"], **_settings_of(Path(given["resume"])), **given}
    try:
        config = TrainConfig(**given)
    except InputError as error:
        parser.error(_one_line(error))
    _note_missing_kernels()
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


# ---- ganfast demo


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="train the games on real handwritten digits and write a report",
        description="Train the games on real handwritten digits and write a report with pictures.",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/demo"), help="(default: runs/demo)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="(default: 0)")
    parser.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> None:
    from ganfast.train.demo import run_demo

    _note_missing_kernels()
    run_demo(arguments.out, seed=arguments.seed)


# ---- ganfast doctor


def _add_doctor(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="what is installed, what is built, and which backend serves which op",
        description="What is installed, what is built, and which backend serves which op, and why.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from ganfast import doctor

    facts = doctor.examine()
    print(json.dumps(facts, indent=2) if arguments.json else doctor.report(facts))


# ---- ganfast bench


def _add_bench(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="time the ops on this machine, in eager PyTorch and in ganfast",
        description="Time the ops on this machine, in eager PyTorch and in ganfast: a minute.",
    )
    parser.add_argument(
        "--device", metavar="DEVICE", default="cpu", help="cpu, cuda or cuda:N (default: cpu)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny inputs: only see that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> None:
    from ganfast import bench

    _note_missing_kernels()
    facts = bench.measure(arguments.device, quick=arguments.quick)
    print(json.dumps(facts, indent=2) if arguments.json else bench.report(facts))
