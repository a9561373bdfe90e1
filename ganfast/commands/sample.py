"""`ganfast sample`: what a run has learned to make."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganfast._options import add_flags, check, given, option
from ganfast.commands.exit_codes import IN_WORDS


@dataclass(frozen=True)
class SampleOptions:
    num: int = option(64, "how many samples; -n too", least=1)
    out: str | Path = option(
        "samples.png",
        "a .png (one sheet), an .npz (arr_0, uint8 images or points) or a new folder of PNGs",
        metavar="PATH",
    )
    seed: int = option(0, "of the noise; the same seed gives the same samples", least=0)
    last: bool = option(
        False, "by the last weights, where the run was watched and has kept better ones"
    )

    def __post_init__(self) -> None:
        check(self)


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
    parser.set_defaults(run=lambda arguments: _run(arguments, parser))


def _run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    from ganfast.errors import InputError, one_line

    try:
        options = SampleOptions(**given(arguments, SampleOptions))
    except InputError as error:
        parser.error(one_line(error))
    from ganfast.train.generated import Generated, save

    samples = Generated(
        arguments.run_folder, options.num, seed=options.seed, last=options.last, name="RUN"
    )
    save(samples, options.out)
    print(f"{options.num} samples of {arguments.run_folder} -> {options.out}")
