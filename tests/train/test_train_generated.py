"""Samples of a run, from its folder."""

import functools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from test_train_run import config_in

from ganfast import cli
from ganfast.errors import InputError
from ganfast.metrics.images import open_images
from ganfast.train import train
from ganfast.train.checkpoint import NAME
from ganfast.train.generated import BATCH, Generated, on_the_way, run_images, save
from ganfast.train.watch import independent_distance


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    settings = {"watch_every": 6, "norm_g": "spectral", "best_by": "fid"}
    with pytest.MonkeyPatch.context() as patch:
        few = functools.partial(independent_distance, steps=2)
        patch.setattr("ganfast.train.watch.judge.independent_distance", few)
        return train(config_in(folder, data="digits", **settings))


@pytest.fixture(scope="module")
def ring_run(tmp_path_factory):
    return train(config_in(tmp_path_factory.mktemp("ring"), input_range="sigmoid"))


def as_bytes(images):
    return ((images + 1) / 2 * 255).round().to(torch.uint8)


def test_samples_are_those_of_the_run(digits_run, ring_run):
    rows = Generated(digits_run.out, 300, seed=3)
    assert len(rows) == 300 and rows.shape == (300, 1, 8, 8)
    expected = as_bytes(digits_run.sample(300, seed=3)).int()
    assert (torch.cat(list(rows.batches())).int() - expected).abs().max() <= 1
    assert torch.equal(rows[np.array([7, 2])], rows[:8][[7, 2]])
    points = Generated(ring_run.out, 9, seed=3)
    assert points[:].dtype == torch.float32 and points.shape == (9, 2)


def test_the_best_weights_or_the_last_ones(digits_run):
    watch, average = digits_run.watch, digits_run.trainer.average
    assert watch.best_step in (6, 12)
    best, last = (Generated(digits_run.out, 4, last=last)[:] for last in (False, True))
    noise = torch.randn((4, 16), generator=torch.Generator().manual_seed(0))
    assert torch.equal(last, as_bytes(average(noise)))
    assert torch.equal(best, last) == (watch.best_step == 12)


def test_every_kind_of_file(tmp_path, digits_run, ring_run, capsys):
    run = str(digits_run.out)
    for out in ("a.png", "a.npz", "folder"):
        assert cli.main(["sample", run, "-n", "9", "--out", str(tmp_path / out)]) == 0
        assert f"9 samples of {run} -> " in capsys.readouterr().out
    rows = Generated(run, 9)[:].permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy()
    assert np.array_equal(np.load(tmp_path / "a.npz")["arr_0"], rows)
    source = open_images(tmp_path / "folder")
    pictures = torch.stack([image for batch in source.batches(4) for image in batch.images])
    assert np.array_equal(pictures.numpy(), rows)
    assert open_images(tmp_path / "a.npz").count == 9
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (3 * 50 + 2, 3 * 50 + 2)

    points = Generated(ring_run.out, 9)
    save(points, tmp_path / "points.npz")
    assert np.array_equal(np.load(tmp_path / "points.npz")["arr_0"], points[:].numpy())
    save(points, tmp_path / "points.png")
    with pytest.raises(InputError, match="^out: got .* for points; give a .png or an .npz"):
        save(points, tmp_path / "points")


def test_the_way_between_samples(tmp_path, digits_run, ring_run):
    """Each row of the sheet begins at a sample and goes to the next one, the last to the first."""
    run = str(digits_run.out)
    ends, way = Generated(run, 3, seed=5), Generated(run, 3, seed=5, interpolate=8)
    assert len(way) == 24 and (way[:][::8].int() - ends[:].int()).abs().max() <= 1
    argv = ["sample", run, "-n", "3", "--seed", "5", "--interpolate", "8"]
    assert cli.main([*argv, "--out", str(tmp_path / "way.png")]) == 0
    with Image.open(tmp_path / "way.png") as sheet:
        assert sheet.size == (8 * 50 + 2, 3 * 50 + 2)
    assert len(Generated(ring_run.out, 2, interpolate=5)[:]) == 10
    with pytest.raises(SystemExit):
        cli.main(["sample", run, "-n", "1", "--interpolate", "8"])


def test_the_way_is_along_the_sphere():
    noise = torch.randn((5, 16), generator=torch.Generator().manual_seed(0))
    noise = noise / noise.norm(dim=1, keepdim=True)
    rows = on_the_way(noise, 4).view(5, 4, 16)
    assert torch.equal(rows[:, 0], noise)
    torch.testing.assert_close(rows.norm(dim=2), torch.ones(5, 4))
    steps = torch.cat((rows, noise.roll(-1, 0).unsqueeze(1)), 1).diff(dim=1).norm(dim=2)
    torch.testing.assert_close(steps, steps[:, :1].expand(5, 4))  # equal ones
    same = noise[:1].repeat(2, 1)
    torch.testing.assert_close(on_the_way(same, 3), same[:1].repeat(6, 1))


def test_what_cannot_be_sampled_is_one_line(tmp_path, digits_run, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("kept")
    cases = [
        ([str(tmp_path / "none")], 1, "RUN: got"),
        ([str(digits_run.out), "-n", "0"], 2, "num: got 0"),
        ([str(digits_run.out), "--out", str(tmp_path / "full")], 1, "which is there already"),
        ([str(digits_run.out), "--out", str(tmp_path / "no" / "a.png")], 1, "out: there is no"),
        ([str(digits_run.out), "--out", str(tmp_path / "a.jpg")], 1, "a.jpg'; give a .png, an"),
    ]
    for argv, code, words in cases:
        try:
            got = cli.main(["sample", *argv])
        except SystemExit as stop:
            got = stop.code
        err = capsys.readouterr().err
        assert got == code and words in err and len(err.splitlines()) == 1, err
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["a.txt"]


def test_what_has_no_room_is_told_before_it_is_made(tmp_path, digits_run, monkeypatch, capsys):
    run = str(digits_run.out)
    assert cli.main(["sample", run, "-n", "1" + 13 * "0", "--out", str(tmp_path / "a.npz")]) == 1
    words = "the noise of 10,000,000,000,000 samples would take 640,000.0 GB of memory"
    assert words in capsys.readouterr().err

    samples, made, rows = Generated(run, 3 * BATCH), [], Generated.__getitem__

    def counted(self, which):
        made.append(which)
        return rows(self, which)

    monkeypatch.setattr(Generated, "__getitem__", counted)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10_000))
        for out in ("a.npz", "folder"):
            with pytest.raises(
                InputError, match=r"^out: 768 samples would take about .* has 10 kB free"
            ):
                save(samples, tmp_path / out)
    assert len(made) == 2  # one batch each
    with monkeypatch.context() as patch:
        patch.setattr("ganfast._room._memory", lambda: 1_000_000)
        with pytest.raises(
            InputError, match="^out: one sheet of 768 samples would take 8.47 MB of memory"
        ):
            save(samples, tmp_path / "a.png")
    assert len(made) == 2 and not list(tmp_path.iterdir())


def test_a_bar_is_shown_only_where_it_is_asked_for(tmp_path, digits_run, capsys):
    for out in ("a.npz", "a.png", "folder"):
        save(Generated(digits_run.out, 9), tmp_path / out, progress=True)
        assert "samples: 100%" in (err := capsys.readouterr().err) and "9/9" in err
    assert cli.main(["sample", str(digits_run.out), "--out", str(tmp_path / "b.npz")]) == 0
    assert capsys.readouterr().err == ""  # a pipe


def test_a_generator_of_ones_own_is_not_guessed_at(tmp_path):
    source = torch.zeros((32, 1, 8, 8), dtype=torch.uint8)
    generator = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Unflatten(1, (1, 8, 8)))
    train(config_in(tmp_path, data="digits"), source=source, generator=generator)
    with pytest.raises(InputError, match="^run: got .* generator is not one of ganfast's; draw"):
        Generated(tmp_path, 4)


def test_the_fid_of_a_run(tmp_path, digits_run, ring_run, capsys):
    """run:FOLDER stands for the images that `ganfast sample` would write."""
    run, extra = str(digits_run.out), ["--extractor", "digits", "--json", "-q"]
    save(Generated(run, 40), tmp_path / "fake.npz")
    save(Generated(run, 40, seed=1), tmp_path / "real.npz")
    values, known = [], str(tmp_path / "known.npz")
    flags = ["--num", "40", "--extractor", "digits", "-q"]
    assert cli.main(["stats", f"run:{run}", known, *flags]) == 0
    assert "of 40 images" in capsys.readouterr().out
    for fake in (str(tmp_path / "fake.npz"), f"run:{run}", known):
        assert cli.main(["fid", str(tmp_path / "real.npz"), fake, "--num", "40", *extra]) == 0
        values.append(json.loads(capsys.readouterr().out)["fid"])
    assert values[0] == values[1] == pytest.approx(values[2], rel=1e-9)
    assert cli.main(["fid", str(tmp_path / "real.npz"), f"run:{ring_run.out}", *extra]) == 1
    assert "makes points; give a run on images" in capsys.readouterr().err
    assert cli.main(["fid", str(tmp_path / "real.npz"), "run:nowhere", *extra]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_a_run_that_went_on_is_another_source(digits_run):
    before = run_images(str(digits_run.out), 8, "fake").fingerprint
    assert run_images(str(digits_run.out), 8, "fake").fingerprint == before
    state = digits_run.out / NAME
    kept = state.read_bytes()
    train(config_in(
        digits_run.out, data="digits", watch_every=6, norm_g="spectral", steps=13,
        best_by="fid", resume=digits_run.out,
    ))  # fmt: skip
    assert run_images(str(digits_run.out), 8, "fake").fingerprint != before
    state.write_bytes(kept)
