"""The demo: what can be known of GAN training in four minutes, measured, in one report.

The table of the games and the generator's costs; mode collapse and its cure on points; four games
on real handwritten digits at equal time; when to stop.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganfast.train import figures, pictures, report
from ganfast.train.classifier import TRAINED, train_classifier
from ganfast.train.config import TrainConfig
from ganfast.train.data import digits
from ganfast.train.environment import cpu_threads, writable_folder
from ganfast.train.generator_cost import vanishing_gradients
from ganfast.train.results import HEADER, Facts, Played, line
from ganfast.train.run import train
from ganfast.train.source import Few, Mixture
from ganfast.train.watch import Judge, modes_of, seen_by

SEEDS = 3
WORKERS = 2

# On 8x8 images a second thread gains little on a quiet machine and costs a lot on a busy one, where
# threads spin while they wait for each other. One also gives the same bits for any number of cores.
THREADS = 1
POINTS = 2500


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone. No other row has this name."""

    name: str
    settings: dict[str, Any]


# Noise of 16 dimensions for points in the plane, and momentum: what plain games collapse with.
_RING = {"data": "ring", "steps": 4000, "latent_dim": 16, "log_every": 500, "sample_every": 0}
RING = tuple(
    Row(f"ring, {game}{' + R1' if cure else ''}", {**_RING, "game": game, **cure})
    for game in ("minimax", "nonsaturating")
    for cure in ({}, {"penalty": "r1"})
)

# Steps that take about equal CPU time. A Wasserstein critic steps more often, so its games get
# fewer.
DIGITS = (
    Row("minimax", {"game": "minimax", "steps": 1800}),
    Row("nonsaturating", {"game": "nonsaturating", "steps": 1800}),
    Row("wgan", {"game": "wgan", "steps": 1150}),
    Row("wgan-gp", {"game": "wgan-gp", "steps": 850, "n_critic": 2}),
)
EVALUATIONS = 10  # of the first run of each game
LINES = 5  # of the log for each

# Learned by heart, and so farther and farther from what is held out.
FEW = 30
OVERFITTING = Row(
    f"{FEW} digits only",
    {"game": "nonsaturating", "norm_d": "none", "lr": 2e-3, "width": 16, "steps": 960}
    | {"watch_every": 60, "watch_with": "digits", "log_every": 30},
)


@cpu_threads(THREADS)
def run_demo(out: Path, *, seed: int = 0, workers: int = WORKERS) -> dict[str, list[Played]]:
    """Play every row in SEEDS seeds, print a table, and fill ``out`` with pictures and
    ``report.md``; returns the runs of each row.

    Under four minutes on two CPU cores, by ``workers`` processes (1: this one). The same seed gives
    the same samples and scores on the same machine. What an earlier demo left in ``out`` is
    replaced. On Ctrl-C the runs in progress keep their checkpoints and pictures.

    Raises:
        InputError: ``out`` can't be written.
        ChildProcessError: a process of the demo was killed.
    """
    start = time.perf_counter()
    writable_folder(out)  # before the first minute is spent
    jobs = list(jobs_of(out, seed))
    classifier = train_classifier(seed=0)
    judge, learned = eyes(), digits().train.all()
    floors = [judge(part) for part in learned.split(judge.count) if len(part) == judge.count]
    random = torch.Generator().manual_seed(seed)
    noise = judge(torch.rand(learned[: judge.count].shape, generator=random) * 2 - 1)
    pictures.save_grid(out / "real.png", learned[:60], columns=20)

    print(HEADER, flush=True)
    print(line("real digits", floors, []), flush=True)
    print(line("noise", [noise], []), flush=True)
    found: dict[str, list[Played]] = {}
    with player(workers) as plays:
        for played in plays(jobs):
            rows = found.setdefault(played.row, [])
            rows.append(played)
            if len(rows) == sum(job.row == played.row for job in jobs):
                judged = [one.judged for one in rows]
                print(line(played.row, judged, [one.seconds for one in rows]), flush=True)

    vanishing = vanishing_gradients(("minimax", "nonsaturating"), seed=seed)
    figures.save(out, found, vanishing)
    facts = Facts(floors, noise, found, vanishing, classifier, seed, time.perf_counter() - start)
    (out / "report.md").write_text(report.write(facts), encoding="utf-8")
    print(f"{out / 'report.md'} shows the samples and the curves ({facts.seconds:.0f} s in all)")
    return found


@dataclass(frozen=True)
class Job:
    """One run of a row."""

    row: str
    config: TrainConfig


def jobs_of(out: Path, seed: int) -> Iterator[Job]:
    """Every run, into folders of ``out``. The first of each game on digits is watched."""
    for row in (OVERFITTING, *DIGITS, *RING):
        for number in range(1 if row is OVERFITTING else SEEDS):
            settings = {"log_every": 50, **row.settings, "threads": THREADS, "progress": False}
            if row in DIGITS:
                every = settings["log_every"] = max(1, settings["steps"] // (EVALUATIONS * LINES))
                settings["watch_every"] = every * LINES if number == 0 else 0
            folder = out / f"{re.sub('[^a-z0-9]+', '-', row.name.lower())}-{number}"
            settings |= {"seed": seed + number, "out": folder, "overwrite": True}
            yield Job(row.name, TrainConfig(**settings))


def play(job: Job) -> Played:
    """Train, sample and judge."""
    if job.config.data == "digits":
        eyes()  # they take their time, which is not the run's
    start = time.process_time()
    run = train(job.config, source=Few(digits(), FEW) if job.row == OVERFITTING.name else None)
    seconds = time.process_time() - start - run.watch.seconds
    trainer, source = run.trainer, run.trainer.source
    if isinstance(source, Mixture):
        samples = trainer.sample(POINTS, job.config.seed + 1)
        modes, at_mode = modes_of(source, samples)
        judged: dict[str, float] = {"modes": modes, "at_mode": at_mode}
    else:
        samples = trainer.sample(eyes().count, job.config.seed + 1)
        judged = eyes()(samples)
    name = run.out.name
    return Played(job.row, name, trainer.steps_done, seconds, judged, samples.numpy(), run.lines)


@functools.cache
def eyes() -> Judge:
    """Who judges digits: once in a process."""
    return Judge(digits().held_out.all(), seen_by("digits"))


def begin(trained: bytes) -> None:
    """The first thing a process of the demo does. Between runs it leaves Ctrl-C to the first one; a
    run has a handler of its own. ``trained`` spares it the classifier's training."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    TRAINED.update(pickle.loads(trained))


def play_and_obey(job: Job) -> Played:
    """``play``, in a process that ends with a run that was interrupted, which has saved itself."""
    try:
        return play(job)
    except KeyboardInterrupt:
        os._exit(1)  # nobody waits for what it would say


@contextmanager
def player(workers: int) -> Iterator[Callable[[Sequence[Job]], Iterable[Played]]]:
    """What plays jobs, in so many processes (1: in this one). If it is left early, runs in progress
    save themselves and the others are dropped.

    Raises:
        ChildProcessError: a process ended without having been asked to.
    """
    if workers == 1:
        yield lambda jobs: map(play, jobs)
        return
    # Not forked: a process that has run threads of OpenMP may hang in a copy of itself.
    context = multiprocessing.get_context("spawn")
    trained = pickle.dumps(TRAINED)  # bytes: tensors would lie in memory that all share
    pool = ProcessPoolExecutor(workers, context, initializer=begin, initargs=(trained,))
    try:
        yield lambda jobs: pool.map(play_and_obey, jobs)
    except BaseException as error:
        for child in multiprocessing.active_children():
            child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise ChildProcessError("a process of the demo was killed: out of memory?") from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)
