"""`ganfast fid`: what it hands on, what it prints where, and how it ends."""

from __future__ import annotations

import inspect
import json
import math
import sys

import pytest
import torch

from ganfast import metrics
from ganfast.errors import InputError
from ganfast.metrics.choices import EXTRACTORS, PRECISIONS
from ganfast.metrics.protocols import PROTOCOLS

EVALUATE = metrics.evaluate  # itself, and not what these tests put in its place
DEFAULTS = {"precision": "fp32", "progress": False}


def one_error(stderr: str) -> str:
    """The one line that stderr has."""
    assert len(stderr.splitlines()) == 1 and "error:" in stderr, stderr
    return stderr


def test_what_is_left_out_is_left_to_evaluate(call, sides, evaluation):
    code, out, err = call("fid", *sides)
    assert (code, err) == (0, "")
    assert evaluation.calls == [(*sides, DEFAULTS)]


def test_every_flag_is_handed_on(call, sides, evaluation, tmp_path):
    weights, state = tmp_path / "weights.pth", tmp_path / "state"
    weights.write_bytes(b"")
    argv = ["--weights", weights, "--extractor", "my.module:make", "--protocol", "clean"]
    argv += ["--batch-size", "7", "--workers", "0", "--device", "cpu", "--precision", "bf16"]
    argv += ["--compile", "--no-inception-score", "--splits", "5", "--kid", "--bootstrap", "99"]
    argv += ["--fid-infinity", "--seed", "3", "--background", "black", "--exif"]
    argv += ["--max-pixels", "0", "--on-error", "skip", "--state", state, "--allow-mismatch"]
    argv += ["--include", "a*", "--include", "b*", "--exclude", "c*", "--num", "9"]
    argv += ["--decoder", "pillow"]
    argv += ["--same-number", "--shuffle-seed", "4", "--dims", "64", "--per-class", "--prdc"]
    argv += ["--sfid", "--adm", "--swd", "--memorisation", "--cmmd", "--interval", "--no-cache"]
    argv += ["--report", tmp_path / "out.html", "--prdc-full", "--swd-full", "--keep-features"]
    argv += ["--features-folder", tmp_path, "--features-dtype", "float16"]
    argv += ["--held-out", sides[0]]
    argv += ["--interval-by", "half-samples"]
    assert call("fid", *sides, *argv)[0] == 0
    given = evaluation.calls[0][2]
    assert given == {
        "weights": str(weights),
        "extractor": "my.module:make",
        "protocol": "clean",
        "batch_size": 7,
        "workers": 0,
        "device": "cpu",
        "precision": "bf16",
        "compile": True,
        "inception_score": False,
        "splits": 5,
        "kid": True,
        "bootstrap": 99,
        "fid_infinity": True,
        "seed": 3,
        "background": "black",
        "exif": True,
        "max_pixels": 0,
        "decoder": "pillow",
        "on_error": "skip",
        "state": str(state),
        "allow_mismatch": True,
        "include": ["a*", "b*"],
        "exclude": ["c*"],
        "num": 9,
        "same_number": True,
        "shuffle_seed": 4,
        "dims": 64,
        "per_class": True,
        "prdc": True,
        "prdc_full": True,
        "swd_full": True,
        "features_folder": str(tmp_path),
        "features_dtype": "float16",
        "keep_features": True,
        "sfid": True,
        "cache": False,
        "interval_by": "half-samples",
        "adm": True,
        "swd": True,
        "report": str(tmp_path / "out.html"),
        "interval": True,
        "cmmd": True,
        "memorisation": True,
        "held_out": str(sides[0]),
        "progress": False,
    }
    # key= and label_key= are for loaders, which only Python has
    assert {"real", "fake", "key", "label_key", *given} == set(
        inspect.signature(EVALUATE).parameters
    )


@pytest.mark.parametrize(
    ("name", "known"),
    [("protocol", PROTOCOLS), ("extractor", EXTRACTORS), ("precision", PRECISIONS)],
)
def test_every_row_of_a_table_can_be_named(call, sides, evaluation, name, known):
    for row in known:
        assert call("fid", *sides, f"--{name}", row)[0] == 0
        assert evaluation.calls[-1][2][name] == row
        assert row in inspect.getdoc(EVALUATE)


def test_a_person_gets_aligned_lines(call, sides, evaluation):
    evaluation.changes = {
        "fid_interval": [11.25, 13.75],
        "kid_mean": 0.00123,
        "kid_std": 0.00045,
        "fid_infinity": 10.5,
        "fid_infinity_error": 0.125,
        "notes": ["512 images are few."],
    }
    code, out, err = call("fid", *sides)
    assert (code, err) == (0, "")
    assert out == (
        "FID           12.5  (4.25 of the means + 8.25 of the covariances)\n"
        "95% interval  11.25 to 13.75\n"
        "FID-infinity  10.5  (+- 0.125)\n"
        "IS            9.5  (+- 0.25)\n"
        "KID           0.00123  (+- 0.00045)\n"
        "images        50,000 real, 512 fake\n"
        "protocol      pytorch-fid\n"
        "extractor     inception\n"
        "precision     fp32\n"
        "speed         123.4 images/s, 409.3 s\n"
        "note          512 images are few.\n"
    )


def test_precision_and_recall_say_of_how_many_images(call, sides, evaluation):
    evaluation.changes = {
        "prdc_precision": 0.71234,
        "prdc_recall": 0.5,
        "prdc_density": 1.25,
        "prdc_coverage": 0.0,
        "prdc_n_real": 10_000,
        "prdc_n_fake": 512,
    }
    lines = call("fid", *sides)[1].splitlines()
    assert lines[2:4] == [
        "manifold      precision 0.7123, recall 0.5, density 1.25, coverage 0",
        "manifold of   10,000 real, 512 fake images",
    ]
    assert json.loads(call("fid", *sides, "--json")[1])["prdc_recall"] == 0.5


def test_the_other_distances(call, sides, evaluation):
    evaluation.changes = {"sfid": 6.25, "swd": 0.5, "swd_error": 0.125}
    evaluation.changes |= {"cmmd": -0.5, "cmmd_error": 0.25}
    lines = call("fid", *sides)[1].splitlines()
    assert lines[1] == "sFID          6.25" and lines[3:5] == [
        "CMMD          -0.5  (+- 0.25)",
        "SWD           0.5  (+- 0.125)",
    ]


def test_a_row_for_each_class(call, sides, evaluation):
    evaluation.changes = {"intra_fid": 3.5, "fid_per_class": {"cat": 3.5, "a very long dog": None}}
    lines = call("fid", *sides)[1].splitlines()
    assert lines[2:5] == [
        "intra-FID     3.5", "FID cat       3.5", "FID a very long dog unknown"
    ]  # fmt: skip


def test_classes_with_precision_and_recall_and_those_that_vanished(call, sides, evaluation):
    prdc = {"precision": 0.5, "recall": 0.25, "density": 1, "coverage": 1, "n_real": 9, "n_fake": 8}
    evaluation.changes = {
        "intra_fid": 3.5,
        "intra_precision": 0.5,
        "intra_recall": 0.25,
        "fid_per_class": {"cat": 3.5, "cow": 4},
        "prdc_per_class": {"cat": prdc, "cow": None},
        "vanished_classes": ["bee", "dog"],
    }
    assert call("fid", *sides)[1].splitlines()[2:7] == [
        "intra-FID     3.5",
        "intra-P, R    precision 0.5, recall 0.25",
        "FID cat       3.5  (precision 0.5, recall 0.25)",
        "FID cow       4",
        "vanished      bee, dog",
    ]


def test_images_that_cost_most(call, sides, evaluation):
    evaluation.changes = {"costly_images": [[f"fake/{i}.png", (i - 9) / 4] for i in range(7)]}
    lines = call("fid", *sides)[1].splitlines()
    assert lines[2] == "costs most    fake/0.png  (FID -2.25 without it)"
    assert sum(line.startswith("costs most") for line in lines) == 5


def test_near_copies_by_name(call, sides, evaluation):
    evaluation.changes = {
        "memorised": 0.625,
        "memorised_expected": 0.5,
        "memorised_pairs": [[f"fake/{i}.png", f"real/{i}.png", i / 8] for i in range(7)],
    }
    lines = call("fid", *sides)[1].splitlines()
    assert lines[2:4] == [
        "memorised     62.5% of the fake images are near copies, 50.0% are to be expected",
        "near copy     fake/0.png of real/0.png  (0)",
    ]
    assert sum(line.startswith("near copy") for line in lines) == 5


def test_what_is_not_known_is_not_made_up(call, sides, evaluation):
    evaluation.changes = {"n_real": None, "inception_score_mean": None, "images_per_second": None}
    out = call("fid", *sides)[1]
    assert "an unknown number of real, 512 fake" in out and "images/s" not in out
    assert "IS  " not in out and "KID" not in out and "interval" not in out


def test_a_deviation_that_is_not_known_is_not_shown(call, sides, evaluation):
    evaluation.changes = {"inception_score_std": None, "kid_mean": 0.5, "kid_std": None}
    out = call("fid", *sides)[1]
    assert "IS            9.5\n" in out and "KID           0.5\n" in out
    assert json.loads(call("fid", *sides, "--json")[1])["kid_std"] is None


def test_json_is_one_object_and_the_rest_goes_to_stderr(call, sides, evaluation):
    evaluation.changes = {
        "kid_mean": math.nan,
        "fid_interval": (12.0, math.inf),
        "notes": ["512 images are few."],
        "skipped": ["a.png"],
    }
    code, out, err = call("fid", *sides, "--json")
    found = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert found["fid"] == 12.5 and found["kid_mean"] is None
    assert found["fid_interval"] == [12.0, None] and found["stages"]["decode"] == 1.5
    assert found["skipped"] == ["a.png"] and found["notes"] == ["512 images are few."]
    assert err == "ganfast: note: 512 images are few.\nganfast: note: skipped a.png\n"
    assert code == 3


def test_quiet_leaves_stderr_empty(call, sides, evaluation):
    evaluation.changes = {"notes": ["512 images are few."]}
    code, out, err = call("fid", *sides, "--json", "--quiet")
    assert (code, err) == (0, "") and json.loads(out)["notes"] == ["512 images are few."]


def test_what_others_print_does_not_reach_stdout(call, sides, evaluation, monkeypatch):
    quiet = metrics.evaluate

    def loud(*arguments, **given):
        print("my extractor is loaded")
        return quiet(*arguments, **given)

    monkeypatch.setattr(metrics, "evaluate", loud)
    code, out, err = call("fid", *sides, "--json")
    assert json.loads(out)["fid"] == 12.5 and err == "my extractor is loaded\n"


def test_skipped_files_are_named_and_told_by_the_exit_code(call, sides, evaluation):
    evaluation.changes = {"skipped": ["b/broken.png", "not\udcff text.jpg"]}
    code, out, err = call("fid", *sides, "--on-error", "skip")
    assert code == 3 and err == ""
    assert "skipped       b/broken.png\n" in out and r"not\udcff text.jpg" in out


@pytest.mark.parametrize("name", ["\x1b[31mred.png", "two\nlines.png", "left\u202eright.png"])
def test_no_file_name_commands_the_terminal(call, sides, evaluation, name):
    evaluation.changes = {"skipped": [name], "notes": [f"{name} is odd."]}
    whole = call("fid", *sides)[1] + "".join(call("fid", *sides, "--json")[1:])
    assert "\x1b" not in whole and "\u202e" not in whole and "\nlines" not in whole
    evaluation.error = InputError(f"cannot read {name}")
    assert one_error(call("fid", *sides)[2])[:-1].isprintable()


@pytest.mark.parametrize(("flag", "shown"), [(None, True), ("--no-progress", False), ("-q", False)])
def test_a_bar_is_shown_on_a_terminal(call, sides, evaluation, monkeypatch, flag, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    call("fid", *sides, *([flag] if flag else []))
    assert evaluation.calls[0][2]["progress"] is shown


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_certify_measures_what_the_precision_costs(call, sides, evaluation, monkeypatch, precision):
    exact = metrics.evaluate

    def evaluate(real, fake, **given):
        found = exact(real, fake, **given)
        return found if given["precision"] == "fp32" else {**found, "fid": 12.25}

    monkeypatch.setattr(metrics, "evaluate", evaluate)
    chosen = [] if precision == "bf16" else ["--precision", precision]
    code, out, err = call("fid", *sides, "--certify", "--seed", "1", *chosen)
    assert [given["precision"] for *_, given in evaluation.calls] == ["fp32", precision]
    assert all(given["seed"] == 1 for *_, given in evaluation.calls)
    assert (code, err) == (0, "") and out.startswith("FID           12.25 ")
    line = next(line for line in out.splitlines() if line.startswith("certified"))
    assert "FID 12.5 in fp32" in line and f"12.25 in {precision}" in line and "0.02" in line

    found = json.loads(call("fid", *sides, "--certify", "--json", *chosen)[1])
    made = found["certificate"]
    assert found["fid"] == made["fid"] == 12.25 and made["reference_fid"] == 12.5
    assert made["relative_deviation"] == 0.02 and found["precision"] == precision


def test_certify_without_a_distance_has_no_relative_deviation(call, sides, evaluation):
    evaluation.changes = {"fid": 0.0}
    assert "no relative deviation" in call("fid", *sides, "--certify")[1]
    made = json.loads(call("fid", *sides, "--certify", "--json")[1])["certificate"]
    assert made["relative_deviation"] is None


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--protocol", "pytorchfid"], ["--protocol", "did you mean 'pytorch-fid'?"]),
        (["--protocol", "cleanfid"], ["torch-fidelity", "did you mean 'clean'?"]),
        (["--extractor", "inceptoin"], ["module:factory", "did you mean 'inception'?"]),
        (["--extractor", "a.b:"], ["'a.b:'", "module:factory; nothing stands behind the colon"]),
        (["--extractor", "timm:"], ["timm:NAME", "nothing stands behind the colon"]),
        (["--precision", "fp16"], ["fp32, tf32, bf16", "did you mean"]),
        (["--device", "gpu"], ["--device", "cpu, cuda, cuda:N"]),
        (["--device", "cuda:first"], ["cuda:N"]),
        (["--batch-size", "0"], ["--batch-size", "at least 1", "got 0"]),
        (["--batch-size", "1.5"], ["--batch-size", "whole number", "'1.5'"]),
        (["--workers", "-1"], ["--workers", "at least 0", "got -1"]),
        (["--splits", "0"], ["--splits", "at least 1"]),
        (["--bootstrap", "many"], ["--bootstrap", "'many'"]),
        (["--seed", "-3"], ["--seed"]),
        (["--background", "pink"], ["white, black"]),
        (["--on-error", "stop"], ["raise, skip"]),
        (["--certify", "--precision", "fp32"], ["--certify", "bf16"]),
        (["--certify", "--state", "x"], ["--certify", "--state"]),
        (["third"], ["third"]),
        (["--batchsize", "3"], ["--batchsize"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_exit_2_and_one_line(call, sides, evaluation, argv, words):
    code, out, err = call("fid", *sides, *argv)
    assert code == 2 and out == "" and not evaluation.calls
    assert all(word in one_error(err) for word in words), err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--weights", "nowhere.pth"], ["--weights", "nowhere.pth"]),
        (["--state", "nowhere/state"], ["--state", "nowhere", "make it first"]),
        (["--state", "."], ["--state", "a folder"]),
    ],
)
def test_paths_are_checked_before_the_work(call, sides, evaluation, argv, words):
    code, out, err = call("fid", *sides, *argv)
    assert (code, out) == (1, "") and not evaluation.calls
    assert all(word in one_error(err) for word in words), err


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_side_is_exit_1_and_one_line(call, sides, evaluation, missing):
    named = list(sides)
    named[missing] += "-nowhere"
    code, out, err = call("fid", *named)
    assert (code, out) == (1, "") and named[missing] in one_error(err) and not evaluation.calls


@pytest.mark.parametrize(
    ("named", "words"),
    [("run:", "give run:FOLDER, the folder of a run of ganfast train"), ("", "an empty name")],
)
@pytest.mark.parametrize("command", ["fid", "score", "stats"])
def test_nothing_behind_run_is_exit_1_and_one_line(
    call, sides, evaluation, named, words, command, tmp_path
):
    more = {"fid": [sides[0]], "score": [], "stats": [tmp_path / "out.npz"]}[command]
    code, out, err = call(command, named, *more)
    assert (code, out) == (1, "") and words in one_error(err) and not evaluation.calls


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("precision: tf32 needs CUDA,\n got cpu"), ["tf32 needs CUDA, got cpu"]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), ["--batch-size"]),
        (MemoryError(), ["--batch-size"]),
        (OSError(28, "No space left on device", "state"), ["No space left", "'state'"]),
    ],
)
def test_what_a_user_can_mend_is_exit_1_and_one_line(call, sides, evaluation, error, words):
    evaluation.error = error
    code, out, err = call("fid", *sides)
    assert (code, out) == (1, "") and all(word in one_error(err) for word in words), err


def test_a_bug_keeps_its_traceback(call, sides, evaluation):
    evaluation.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        call("fid", *sides)


def test_ctrl_c_says_how_to_go_on(call, sides, evaluation, tmp_path):
    evaluation.error = KeyboardInterrupt()
    assert call("fid", *sides) == (130, "", "ganfast: interrupted\n")
    state = tmp_path / "state"
    assert call("fid", *sides, "--state", state)[2] == "ganfast: interrupted\n"
    state.write_bytes(b"")
    code, out, err = call("fid", *sides, "--state", state)
    assert (code, out) == (130, "") and str(state) in err and "same command" in err
