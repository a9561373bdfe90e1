"""`ganfast sample`: what a run has learned to make."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganfast._options import add_flags, check, given, option
from ganfast._terminal import shows_progress
from ganfast.commands.exit_codes import IN_WORDS
from ganfast.errors import InputError, one_line


@dataclass(frozen=True)
class SampleOptions:
    num: int = option(64, "how many samples; -n too", least=1)
    out: str | Path = option(
        "samples.png",
        "a .png (one sheet), an .npz (arr_0, uint8 images or points) or a new folder of PNGs",
        metavar="PATH",
    )
    interpolate: int = option(
        0,
        "show the way from each sample to the next in so many pictures, a row for each; 0: the "
        "samples alone",
        least=0,
    )
    seed: int = option(0, "of the noise; the same seed gives the same samples", least=0)
    last: bool = option(
        False, "by the last weights, where the run was watched and has kept better ones"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.interpolate and self.num < 2:
            raise InputError(
                f"num: got {self.num}; give 2 at least, to have something between samples"
            )


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "sample",
        help="samples of a run: a sheet, an array or a folder of images",
        description="Samples of the run in the folder RUN, by its average generator.",
        epilog=IN_WORDS,
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run of ganfast train")
    add_flags(parser, SampleOptions)
    parser.add_argument("-n", dest="num", type=int, default=argparse.SUPPRESS, help="as --num")
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")
    parser.set_defaults(run=lambda arguments: _run(arguments, parser))


def _run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    try:
        options = SampleOptions(**given(arguments, SampleOptions))
    except InputError as error:
        parser.error(one_line(error))
    from ganfast.train.generated import Generated, save

    samples = Generated(
        arguments.run_folder, options.num,
        seed=options.seed, last=options.last, name="RUN", interpolate=options.interpolate,
    )  # fmt: skip
    save(samples, options.out, progress=shows_progress() and not arguments.no_progress)
    print(f"{len(samples)} samples of {arguments.run_folder} -> {options.out}")
