"""Several extractors in one pass: each gives what it gives alone, and images are decoded once."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from image_samples import png_files, write

from ganfast import cli, metrics
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics import evaluate, image_statistics, load_extractor, score
from ganfast.metrics.images.decode import Decoder

FIRST, SECOND = "tiny_network:network", f"{__name__}:edges"
BOTH = f"{FIRST},{SECOND}"
GIVEN = {"device": "cpu", "workers": 0, "batch_size": 5}
N = 16


class Edges(torch.nn.Module):
    """Features alone, of another size than the other network wants."""

    input_size = 16

    def forward(self, x):
        across = (x[..., 1:] - x[..., :-1]).abs().mean((2, 3))
        return torch.cat([across, x.square().mean((2, 3))], 1)


def edges():
    return Edges()


@pytest.fixture
def sides(tmp_path):
    files = list(png_files(2 * N, sizes=(32, 20)).items())
    return write(tmp_path / "real", dict(files[:N])), write(tmp_path / "fake", dict(files[N:]))


ASKED = {"kid": True, "prdc": True, "swd": True, "cmmd": True, "bootstrap": 8}
TIMES = ("seconds", "stages", "images_per_second", "by_extractor", "skipped", "decoders")


def test_each_gives_what_it_gives_alone(sides, monkeypatch):
    decode, decoded = Decoder.decode, []
    monkeypatch.setattr(Decoder, "decode", lambda *args: decoded.append(1) or decode(*args))
    found = evaluate(*sides, extractor=BOTH, **ASKED, **GIVEN)
    assert len(decoded) == 2 * N
    first, second = (evaluate(*sides, extractor=x, **ASKED, **GIVEN) for x in (FIRST, SECOND))
    assert first["by_extractor"] is None and list(found["by_extractor"]) == [SECOND]
    for alone, together in ((first, found), (second, found["by_extractor"][SECOND])):
        for name, value in alone.items():
            if name not in TIMES:
                assert together.get(name) == value, name
    assert found["by_extractor"][SECOND]["dims"] == 6
    assert "inception_score_mean" not in found["by_extractor"][SECOND]  # it has no logits
    loaded = [load_extractor(FIRST), load_extractor(SECOND)]
    again = evaluate(*sides, extractor=loaded, **ASKED, **GIVEN)
    assert again["by_extractor"][SECOND]["fid"] == second["fid"]


def test_classes_too(tmp_path):
    files = png_files(36)
    real, fake = (write(tmp_path / side, {f"{i % 2}/{name}": data for i, (name, data) in part})
                  for side, part in (("real", list(enumerate(files.items()))[:18]),
                                     ("fake", list(enumerate(files.items()))[18:])))  # fmt: skip
    found = evaluate(real, fake, extractor=BOTH, per_class=True, prdc=True, **GIVEN)
    alone = evaluate(real, fake, extractor=SECOND, per_class=True, prdc=True, **GIVEN)
    assert found["by_extractor"][SECOND]["fid_per_class"] == alone["fid_per_class"]
    assert found["by_extractor"][SECOND]["prdc_per_class"] == alone["prdc_per_class"]


def test_a_run_that_was_stopped_goes_on(sides, tmp_path, monkeypatch):
    given = {"extractor": BOTH, "kid": True, **GIVEN}
    wanted = evaluate(*sides, **given)
    extract, calls = metrics.Extractor.extract, []

    def interrupted(extractor, batch):
        calls.append(1)
        if len(calls) == 9:  # of the second network, in the first side's last batch
            signal.raise_signal(signal.SIGINT)
        return extract(extractor, batch)

    with monkeypatch.context() as patch:
        patch.setattr(metrics.Extractor, "extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(*sides, state=tmp_path / "state", **given)
    with pytest.raises(InputError, match=rf"extractor {SECOND} is .* there and not given now"):
        evaluate(*sides, state=tmp_path / "state", **{**given, "extractor": FIRST})
    found = evaluate(*sides, state=tmp_path / "state", **given)
    for name in ("fid", "kid_mean"):
        assert found[name] == wanted[name]
        assert found["by_extractor"][SECOND][name] == wanted["by_extractor"][SECOND][name]


def test_the_command_has_a_line_for_each(sides, capsys):
    argv = ["fid", *map(str, sides), "--extractor", BOTH, "--device", "cpu", "--workers", "0"]
    assert cli.main([*argv, "--swd", "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith(SECOND)]
    assert "FID" in line and "SWD" in line and "(6 features, pytorch-fid)" in line


def test_what_takes_one(sides):
    statistics = image_statistics(sides[0], extractor=FIRST, **GIVEN)
    images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    for call, words in (
        (lambda x: evaluate(statistics, sides[1], extractor=x, **GIVEN), "real is a file of stat"),
        (lambda x: image_statistics(images, extractor=x, **GIVEN), "got 2 of them; give one"),
        (lambda x: score(images, extractor=x, **GIVEN), "got 2 of them; give one"),
        (lambda x: evaluate(*sides, extractor=f"{x},{FIRST}", **GIVEN), f"'{FIRST}' twice"),
    ):
        with pytest.raises(InputError, match=f"^extractor: .*{words}"):
            call(BOTH)
    for wrong in ([], 3, [FIRST, 3]):
        with pytest.raises(InputTypeError, match="^extractor: got"):
            evaluate(*sides, extractor=wrong, **GIVEN)


def test_what_is_about_the_inception_network_is_for_it(sides):
    with pytest.raises(InputError, match="^sfid: got the extractor .*tiny.*edges.* gives no feat"):
        evaluate(*sides, extractor=BOTH, sfid=True, **GIVEN)


@pytest.mark.parametrize("names", ["inception,dinov2", "clip,hf:a/b-c.d,timm:x,my.mod:make"])
def test_names_of_several_are_flags(names, sides, monkeypatch):
    seen = []
    monkeypatch.setattr(metrics, "evaluate", lambda *args, **given: seen.append(given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["fid", *map(str, sides), "--extractor", names])
    assert seen[0]["extractor"] == names


@pytest.mark.parametrize("names", ["inception,", "inception, clip", ",clip", "dino"])
def test_names_that_are_none(names, sides, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fid", *map(str, sides), "--extractor", names])
    assert stopped.value.code == 2
    assert "give one of inception, digits, dinov2, clip, swav" in capsys.readouterr().err


@pytest.mark.parametrize("given", [torch.nn.Identity(), [], 3, [FIRST, None]], ids=repr)
def test_what_is_no_extractor_is_told_by_its_type(sides, given):
    with pytest.raises(TypeError, match=r"^extractor: got a \w+; give a name") as caught:
        evaluate(*sides, extractor=given, **GIVEN)
    assert "\n" not in str(caught.value)


def test_a_network_is_no_name():
    with pytest.raises(TypeError, match="^name: got a Identity; give a name"):
        load_extractor(torch.nn.Identity())
