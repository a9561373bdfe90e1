"""A whole run: the files it leaves, repeating it, resuming it, interrupting it."""

import dataclasses
import errno
import io
import json
import os
import signal
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ganfast import cli
from ganfast.errors import DivergedError, InputError
from ganfast.interrupt import Terminated
from ganfast.train import TrainConfig, checkpoint, train
from ganfast.train.checkpoint import NAME
from ganfast.train.data import digits, ring
from ganfast.train.loop import Trainer
from ganfast.train.recipe import CHAPTER
from ganfast.train.source import Mixture


def config_in(out, game="wgan-gp", **settings):
    small = {
        "data": "ring",
        "width": 8,
        "batch_size": 16,
        "steps": 12,
        "log_every": 4,
        "checkpoint_every": 5,
        "pretraining": 3 if game == "wgan-gp" else None,  # not its 100 critic steps
    }
    return TrainConfig(game=game, out=out, **{**small, **settings})


def same(one, two):
    """Logs and whole checkpoints (weights, optimizers, random stream, meters) bit for bit."""
    assert (one / "log.jsonl").read_text() == (two / "log.jsonl").read_text()
    a, b = load_file(one / NAME), load_file(two / NAME)
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_what_a_run_leaves(tmp_path, chart):
    run = train(config_in(tmp_path / "deep" / "run", data="digits", sample_every=6))
    assert run.out == tmp_path / "deep" / "run"
    files = {str(f.relative_to(run.out)) for f in run.out.rglob("*") if f.is_file()}
    assert files == {NAME, "log.jsonl", "losses.png", "samples/000006.png", "samples/000012.png"}
    lines = [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert lines == run.lines
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert {"critic_loss", "generator_loss", "wasserstein", "penalty", "zero_gradient"} <= lines[
        0
    ].keys()
    assert run.sample(3).shape == (3, 1, 8, 8)


@pytest.mark.parametrize("game", CHAPTER)
def test_a_seed_repeats_a_run_and_another_does_not(tmp_path, game):
    for out, seed in (("one", 7), ("two", 7), ("other", 8)):
        torch.manual_seed(seed)  # the caller's own stream has no say
        torch.rand(len(out))
        train(config_in(tmp_path / out, game, data="digits", seed=seed))
    assert same(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "one" / "log.jsonl").read_text() != (
        tmp_path / "other" / "log.jsonl"
    ).read_text()


@pytest.mark.parametrize("game", CHAPTER)
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path, game):
    train(config_in(tmp_path / "whole", game, data="digits", steps=12))
    # Stopped between two log lines, with half a mean in the meter.
    train(config_in(tmp_path / "half", game, data="digits", steps=6))
    train(config_in(tmp_path / "on", game, data="digits", steps=12, resume=tmp_path / "half"))
    assert same(tmp_path / "whole", tmp_path / "on")
    # and in its own folder
    train(config_in(tmp_path / "half", game, data="digits", steps=12, resume=tmp_path / "half"))
    assert same(tmp_path / "whole", tmp_path / "half")


@pytest.mark.parametrize(
    "settings",
    [
        {"game": "nonsaturating", "penalty": "r1+r2", "penalty_every": 3},
        {"game": "hinge", "norm_g": "spectral", "norm_d": "layer", "activation": "elu"},
        {"game": "minimax", "label_noise": 0.1, "label_flip": 0.1, "input_range": "sigmoid"},
        {"game": "wgan", "decay": "cosine", "pooling": "max", "norm_d": "batch"},
        {
            "game": "hinge",
            "norm_d": "layer",
            "precision": "bf16",
            "channels_last": True,
            "merge": True,
        },
        {"game": "relativistic", "grow_from": 4, "grow_steps": 3, "width": 2},  # 5 is in its fade
    ],
    ids=["lazy", "spectral", "labels", "cosine", "fast", "growing"],
)
def test_a_run_with_tricks_resumes_bit_for_bit(tmp_path, settings, monkeypatch):
    settings = {"width": 4, **settings, "data": "digits"}
    train(config_in(tmp_path / "whole", **settings))
    step = Trainer.step

    def stopped(trainer):
        if trainer.steps_done == 7:
            raise KeyboardInterrupt  # as a kill: nothing is written but the checkpoint of step 5
        step(trainer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", stopped)
        train(config_in(tmp_path / "cut", **settings))
    train(config_in(tmp_path / "cut", **settings, resume=tmp_path / "cut"))
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_a_rate_that_decays_ends_where_it_was_to_end(tmp_path):
    train(config_in(tmp_path, decay="cosine"))
    with pytest.raises(InputError, match="^steps: got 20; give 12, as in the run .*decay"):
        train(config_in(tmp_path, decay="cosine", steps=20, resume=tmp_path))


def test_a_run_of_another_version_is_refused_in_one_line(tmp_path):
    train(config_in(tmp_path))
    tensors, facts = checkpoint.load(tmp_path / NAME)
    del facts["format"]
    checkpoint.save(tmp_path / NAME, tensors, facts)
    with pytest.raises(InputError, match="^resume: got .* another version of ganfast.*; go on"):
        train(config_in(tmp_path, resume=tmp_path))


class Points(torch.nn.Module):
    """A generator of points; the stream of its first weights is the caller's."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, noise):
        return self.layer(noise)


def test_networks_and_samples_of_ones_own(tmp_path):
    def draw(n, generator):
        return torch.randn((n, 2), generator=generator)

    def own(weights=0):
        torch.manual_seed(weights)
        return {"source": draw, "generator": Points(), "critic": torch.nn.Linear(2, 1)}

    settings = {"game": "nonsaturating", "latent_dim": 3}
    run = train(config_in(tmp_path / "whole", **settings), **own())
    assert type(run.trainer.average) is Points and run.sample(5).shape == (5, 2)
    train(config_in(tmp_path / "half", **settings, steps=6), **own())
    # the weights come from the checkpoint, whatever they start from
    train(config_in(tmp_path / "half", **settings, resume=tmp_path / "half"), **own(weights=1))
    assert same(tmp_path / "whole", tmp_path / "half")
    with pytest.raises(InputError, match="^resume: the generator is not that of the checkpoint"):
        train(config_in(tmp_path / "half", **settings, resume=tmp_path / "half"), source=draw)


def test_networks_that_do_not_fit_are_named(tmp_path):
    linear = torch.nn.Linear
    for name, network, words in [
        ("generator", linear(5, 2), "does not take noise .n, 2. "),
        ("generator", linear(2, 3), "got samples of shape .3,.; give .* shape .2,., as the source"),
        ("critic", linear(3, 1), "does not take samples"),
        ("critic", torch.nn.Sequential(linear(2, 1), torch.nn.Flatten(0), linear(2, 3)), "got sc"),
    ]:
        with pytest.raises(InputError, match=f"^{name}: (it )?{words}"):
            train(config_in(tmp_path), **{name: network})
        assert all(layer.training for layer in network.modules())


def test_resuming_a_finished_run_changes_nothing(tmp_path, capsys):
    train(config_in(tmp_path / "run"))
    before = (tmp_path / "run" / "log.jsonl").read_text()
    run = train(config_in(tmp_path / "run", resume=tmp_path / "run"))
    assert run.trainer.steps_done == 12
    assert (tmp_path / "run" / "log.jsonl").read_text() == before
    assert "the run has 12 steps already; give more steps to go on" in capsys.readouterr().err


def test_a_run_remembers_all_that_it_was_asked_for(tmp_path, monkeypatch):
    """`--resume RUN` alone does what the run would have done; a flag beside it is stronger."""
    out = str(tmp_path)
    train(config_in(tmp_path, steps=12, keep=2, on_nan="skip", watch_every=6))
    tensors, facts = checkpoint.load(tmp_path / NAME)
    configs = []
    monkeypatch.setattr("ganfast.train.train", lambda config: configs.append(config) or 1 / 0)
    for flags in ((), ("--steps=20", "--keep=1")):
        with pytest.raises(ZeroDivisionError):
            cli.main(["train", f"--resume={out}", *flags])
    first, second = map(dataclasses.asdict, configs)
    expected = dataclasses.asdict(config_in(out, steps=12, keep=2, on_nan="skip", watch_every=6))
    assert first == {**expected, "resume": out}
    assert second == {**first, "steps": 20, "keep": 1}
    del facts["may_change"]  # as an earlier version had it
    checkpoint.save(tmp_path / NAME, tensors, facts)
    with pytest.raises(ZeroDivisionError):
        cli.main(["train", f"--resume={out}"])
    assert (configs[2].steps, configs[2].keep) == (12, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_everything_and_can_be_resumed(tmp_path, monkeypatch, number):
    # Drawn to the end in test_cli.py, whose runs are interrupted too.
    monkeypatch.setattr("ganfast.train.pictures.save_log", lambda path, *_: path.touch())
    train(config_in(tmp_path / "whole"))
    step = Trainer.generator_step

    def interrupted_step(trainer):
        if trainer.steps_done == 6:
            signal.raise_signal(number)  # in the middle of a step
        step(trainer)

    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "generator_step", interrupted_step)
        with pytest.raises(KeyboardInterrupt) as caught:
            train(config_in(tmp_path / "cut"))
    assert isinstance(caught.value, Terminated) == (number == signal.SIGTERM)
    assert signal.getsignal(number) is handler
    for name in (NAME, "log.jsonl", "losses.png", "samples/000007.png"):
        assert (tmp_path / "cut" / name).is_file(), name
    train(config_in(tmp_path / "cut", resume=tmp_path / "cut"))
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_a_loss_that_leaves_the_numbers_stops_the_run_and_keeps_the_last_checkpoint(tmp_path):
    config = config_in(tmp_path / "run", steps=6)
    train(config)
    good = (tmp_path / "run" / NAME).read_bytes()
    broken = dataclasses.replace(config, steps=12, resume=tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        nan = torch.full((16, 2), torch.nan)
        patch.setattr("ganfast.train.data.Mixture.batch", lambda *_: nan)
        with pytest.raises(DivergedError, match="critic_loss.*step 8"):
            train(broken)
    assert (tmp_path / "run" / NAME).read_bytes() == good


def bad_batches(patch, steps):
    """Samples of NaN in the critic's first draw of some generator steps, as they are drawn."""
    draw, count = Mixture.batch, iter(range(10**6))

    def batch(self, n, generator):
        points = draw(self, n, generator)
        return points * torch.nan if next(count) in steps else points

    patch.setattr(Mixture, "batch", batch)


@pytest.mark.parametrize("game", ["nonsaturating", "wgan-gp"])
def test_steps_that_are_not_finite_can_be_skipped(tmp_path, game, monkeypatch):
    settings = {"on_nan": "skip", "norm_g": "batch", "n_critic": 1, "pretraining": 0}
    settings |= {"norm_d": "batch"} if game == "nonsaturating" else {}
    plain = train(config_in(tmp_path / "plain", game, **{**settings, "on_nan": "stop"}))
    run = train(config_in(tmp_path / "good", game, **settings))
    assert run.lines == [{**line, "skipped": 0} for line in plain.lines]  # in another order
    bad_batches(monkeypatch, {5, 6})
    run = train(config_in(tmp_path / "bad", game, **settings))
    assert run.trainer.steps_done == 12
    assert [line["skipped"] for line in run.lines] == [0, 2 / 8, 0]
    state = load_file(tmp_path / "bad" / NAME)
    assert all(bool(t.isfinite().all()) for t in state.values() if t.is_floating_point())
    # a run that resumes into such a step goes back to what it resumed from
    train(config_in(tmp_path / "on", game, **settings, steps=5))
    before = load_file(tmp_path / "on" / NAME)
    bad_batches(monkeypatch, {0})
    run = train(config_in(tmp_path / "on", game, **settings, steps=6, resume=tmp_path / "on"))
    seen = {name: t for name, t in load_file(run.out / NAME).items() if "num_batches" in name}
    assert any(name.startswith("generator.") for name in seen)
    for name in filter(lambda name: not name.startswith("average."), seen):
        assert seen[name] == before[name] + 1, name  # by the generator step alone
    bad_batches(monkeypatch, {10, 11})  # the 9th is of a log line
    half = train(config_in(tmp_path / "half", game, **settings))
    assert ", 25% of the last ones skipped: their loss was not finite" in half.summary()
    bad_batches(monkeypatch, range(10**6))
    with pytest.raises(DivergedError, match="every critic step since .* step 4"):
        train(config_in(tmp_path / "all", game, **settings))


def test_a_run_that_diverges_can_go_back_and_draw_anew(tmp_path, monkeypatch, capsys):
    config = config_in(tmp_path, "nonsaturating", on_nan="rollback", checkpoint_every=4)
    with monkeypatch.context() as patch:
        bad_batches(patch, {10})  # of step 9; two were drawn for log lines
        run = train(config)
    err = capsys.readouterr().err
    assert "at step 12; back to step 8 with other samples (1 of 5 times)" in err
    assert run.trainer.steps_done == 12 and run.trainer.rollbacks == 1
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == run.lines and [line["step"] for line in lines] == [4, 8, 12]
    plain = train(dataclasses.replace(config, out=tmp_path / "plain"))
    assert plain.lines[:2] == run.lines[:2] and plain.lines[2] != run.lines[2]
    with monkeypatch.context() as patch, pytest.raises(DivergedError, match="at step 4"):
        bad_batches(patch, range(10**6))
        train(dataclasses.replace(config, out=tmp_path / "hopeless"))
    assert "(5 of 5 times)" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    config = config_in(tmp_path, steps=6)
    train(config)
    good = (tmp_path / NAME).read_bytes()

    replace = os.replace

    def full(source, target):
        if Path(target).name == NAME:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="^out: .*could not be written .*No space left"):
        train(dataclasses.replace(config, steps=12, resume=tmp_path))
    assert (tmp_path / NAME).read_bytes() == good
    assert not list(tmp_path.glob(".*.part"))


def test_an_earlier_run_is_not_overwritten_by_mistake(tmp_path):
    train(config_in(tmp_path))
    with pytest.raises(InputError, match="already holds a run"):
        train(config_in(tmp_path))
    train(config_in(tmp_path, overwrite=True))


def test_out_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            InputError, match="^out: got .*can't be written to .*; give another folder"
        ):
            train(config_in(out))


def test_resume_from_what_is_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="^resume: got .*nowhere', which holds no checkpoint"):
        train(config_in(tmp_path / "out", resume=tmp_path / "nowhere"))
    for content in (b"", b"no safetensors at all", bytes(100)):
        (tmp_path / NAME).write_bytes(content)
        with pytest.raises(InputError, match="^resume: got .*not a ganfast checkpoint"):
            train(config_in(tmp_path / "out", resume=tmp_path))


def test_resume_with_other_settings(tmp_path):
    train(config_in(tmp_path / "run"))
    with pytest.raises(InputError, match="^batch_size: got 32; give 16, as in the run"):
        train(config_in(tmp_path / "out", resume=tmp_path / "run", batch_size=32))


def pictures_in(folder, count, low):
    """A folder of ``count`` images of random pixels from ``low`` up, the same size in bytes."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(low)
    for i in range(count):
        np.save(folder / f"{i}.npy", random.integers(low, 256, (8, 8, 3), dtype=np.uint8))
    return folder


@pytest.mark.parametrize(("count", "low"), [(12, 0), (6, 100)], ids=["more", "replaced"])
def test_resuming_on_other_data_is_refused(tmp_path, count, low):
    data = pictures_in(tmp_path / "data", 6, low=0)
    settings = {"data": f"folder:{data}", "image_size": 8, "batch_size": 4}
    train(config_in(tmp_path / "run", **settings))
    before = (tmp_path / "run" / NAME).read_bytes()
    pictures_in(data, count, low)
    with pytest.raises(InputError, match=rf"^data: got .*now {count} images.* trained on 6 images"):
        train(config_in(tmp_path / "run", **settings, steps=14, resume=tmp_path / "run"))
    assert (tmp_path / "run" / NAME).read_bytes() == before


def test_data_that_was_moved_is_the_same_data(tmp_path):
    settings = {"image_size": 8, "batch_size": 4}
    data = pictures_in(tmp_path / "data", 6, low=0)
    train(config_in(tmp_path / "run", data=f"folder:{data}", **settings))
    data = data.rename(tmp_path / "moved")
    again = {"resume": tmp_path / "run", "steps": 14, **settings}
    run = train(config_in(tmp_path / "run", data=f"folder:{data}", **again))
    assert run.trainer.steps_done == 14
    with pytest.raises(InputError, match="^data: got 'digits'; give 'folder:"):
        train(config_in(tmp_path / "run", data="digits", **again))


def test_no_password_is_kept_and_the_url_is_given_again(tmp_path, monkeypatch, capsys):
    """Neither in a file of the run nor in a message: user, password and query of a URL."""
    url = "folder:https://me:hunter2@example.org/digits.zip?X-Amz-Signature=hunter3"
    monkeypatch.setattr("ganfast.train.run.open_source", lambda config: digits())
    monkeypatch.setattr("ganfast.train.pictures.save_log", lambda path, lines, title: print(title))
    flags = ["--batch-size=4", "--width=4", "--game=hinge"]
    assert cli.main(["train", f"--data={url}", f"--out={tmp_path}", "--steps=2", *flags]) == 0
    assert cli.main(["train", f"--resume={tmp_path}", f"--data={url}", "--steps=3"]) == 0
    assert cli.main(["train", f"--resume={tmp_path}", "--steps=4"]) == 1
    said = "".join(capsys.readouterr())
    assert "data: the run learned from 'folder:https://example.org/digits.zip', and" in said
    assert "; give --data with the whole URL again" in said
    monkeypatch.setattr("ganfast.train.run.open_source", lambda config: ring())
    assert cli.main(["train", f"--resume={tmp_path}", f"--data={url}", "--steps=5"]) == 1
    with pytest.raises(SystemExit):
        cli.main(["train", f"--data={url.removeprefix('folder:')}"])
    said += "".join(capsys.readouterr())
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert "hunter" not in said and b"hunter" not in kept
    assert b"https://example.org/digits.zip" in kept
    assert checkpoint.load(tmp_path / NAME)[1]["step"] == 3


def test_the_last_checkpoints_stay_and_each_can_be_gone_on_from(tmp_path):
    settings = {"game": "hinge", "steps": 13, "checkpoint_every": 3}
    train(config_in(tmp_path / "plain", **settings))
    assert not (tmp_path / "plain" / "checkpoints").exists()
    run = train(config_in(tmp_path / "run", **settings, keep=3))
    kept = tmp_path / "run" / "checkpoints"
    assert sorted(file.name for file in kept.iterdir()) == [
        f"{step:06d}.safetensors" for step in (9, 12, 13)
    ]
    assert (kept / "000013.safetensors").read_bytes() == (run.out / NAME).read_bytes()
    before = (kept / "000009.safetensors").read_bytes()
    again = config_in(tmp_path / "on", **settings, resume=kept / "000009.safetensors")
    train(again)
    assert same(tmp_path / "plain", tmp_path / "on") and same(tmp_path / "plain", run.out)
    # the command goes on in the folder of the run, and what it writes leaves the kept one as it was
    assert cli.main(["train", f"--resume={kept / '000009.safetensors'}", "--steps=10"]) == 0
    assert checkpoint.load(run.out / NAME)[1]["step"] == 10
    assert (kept / "000009.safetensors").read_bytes() == before
    with pytest.raises(InputError, match="holds no 000001.safetensors"):
        train(config_in(tmp_path / "x", **settings, resume=kept / "000001.safetensors"))
    train(config_in(run.out, **settings, overwrite=True))
    assert not kept.exists()


def test_a_file_system_without_links_keeps_copies(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    train(config_in(tmp_path, "hinge", steps=4, checkpoint_every=2, keep=2))
    names = [f"checkpoints/{step:06d}.safetensors" for step in (2, 4)]
    assert [checkpoint.load(tmp_path / name)[1]["step"] for name in names] == [2, 4]


def test_tensorboard_has_what_the_log_has(tmp_path, monkeypatch):
    """The calls of its writer, with or without the package."""
    writers = []

    class Writer:
        def __init__(self, folder, purge_step):
            self.folder, self.purged, self.seen, self.closed = folder, purge_step, {}, False
            self.pictures, self.settings = {}, None
            writers.append(self)

        def add_scalar(self, name, value, step):
            self.seen.setdefault(step, {"step": step})[name] = value

        def add_image(self, name, pixels, step, dataformats):
            assert (name, dataformats) == ("samples", "HWC")
            self.pictures[step] = pixels

        def add_hparams(self, settings, metrics, run_name):
            self.settings = settings

        def flush(self):
            pass

        def close(self):
            self.closed = True

    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    first = train(config_in(tmp_path, "hinge", steps=8, tensorboard=True))
    on = train(config_in(tmp_path, "hinge", steps=12, tensorboard=True, resume=tmp_path))
    assert [list(writer.seen.values()) for writer in writers] == [first.lines, on.lines[2:]]
    assert [writer.purged for writer in writers] == [0, 9]
    assert [list(writer.pictures) for writer in writers] == [[8], [12]]
    assert writers[1].settings["steps"] == 12 and writers[1].settings["data"] == "ring"
    assert all(w.closed and w.folder == str(tmp_path / "tensorboard") for w in writers)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match="^needs tensorboard: pip install tensorboard$"):
        train(config_in(tmp_path / "none", tensorboard=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the packages that it uses
def test_tensorboard_reads_it(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs tensorboard: pip install tensorboard",
    )
    settings = {"data": "digits", "width": 4, "tensorboard": True, "sample_every": 4}
    train(config_in(tmp_path, "hinge", steps=8, **settings))
    run = train(config_in(tmp_path, "hinge", steps=12, **settings, resume=tmp_path))
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0}).Reload()
    for name in set().union(*run.lines) - {"step"}:
        seen = {event.step: event.value for event in events.Scalars(name)}
        assert seen == pytest.approx({line["step"]: line[name] for line in run.lines}, rel=1e-6)
    pictures = events.Images("samples")
    assert [picture.step for picture in pictures] == [4, 8, 12]
    for picture in pictures:
        with (
            Image.open(io.BytesIO(picture.encoded_image_string)) as shown,
            Image.open(tmp_path / "samples" / f"{picture.step:06d}.png") as saved,
        ):
            assert np.array_equal(np.asarray(shown), np.asarray(saved))
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    for text in (b"game", b"hinge", b"batch_size", b"steps"):
        assert text in start
    assert "tensorflow" not in sys.modules


def test_a_checkpoint_that_does_not_know_its_data_resumes_with_a_note(tmp_path, capsys):
    train(config_in(tmp_path))
    tensors, facts = checkpoint.load(tmp_path / NAME)
    del facts["data"]
    checkpoint.save(tmp_path / NAME, tensors, facts)
    train(config_in(tmp_path, steps=14, resume=tmp_path))
    assert "taken on trust" in capsys.readouterr().err
    train(config_in(tmp_path, steps=16, resume=tmp_path))
    assert capsys.readouterr().err == ""


def test_a_missing_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"needs matplotlib: pip install 'ganfast\[demo\]'"):
        train(config_in(tmp_path))


def test_a_run_shorter_than_the_log_interval_still_logs(tmp_path):
    assert [line["step"] for line in train(config_in(tmp_path, steps=3)).lines] == [3]


def test_threads_are_put_back(tmp_path):
    torch.set_num_threads(2)
    train(config_in(tmp_path, threads=1, steps=1))
    assert torch.get_num_threads() == 2
