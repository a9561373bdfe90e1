"""The command line: what it prints, where, and the exit code that a script would see."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import ganfast
from ganfast import cli, doctor
from ganfast.errors import InputError
from ganfast.train import TrainConfig

COMMANDS = ("fid", "score", "stats", "compare", "train", "sample", "demo", "doctor", "bench")
HANGS = 600  # seconds after which a process is taken to hang, on however busy a machine
TINY = ["--data", "ring", "--steps", "4", "--batch-size", "8", "--width", "8", "--no-progress"]


def run(capsys, *argv: str) -> tuple[int, str, str]:
    """Run one command in this process: exit code, stdout, stderr."""
    try:
        code = cli.main(list(argv))
    except SystemExit as stop:
        code = int(stop.code or 0)
    return (code, *capsys.readouterr())


def error_line(stderr: str) -> str:
    """The one line of stderr that tells the error."""
    lines = [line for line in stderr.splitlines() if "error:" in line]
    assert len(lines) == 1 and "Traceback" not in stderr, stderr
    assert lines[0] == stderr.splitlines()[-1]
    return lines[0]


@pytest.mark.parametrize("argv", [["--help"], *([name, "-h"] for name in COMMANDS)])
def test_help(capsys, argv):
    code, out, err = run(capsys, *argv)
    assert code == 0 and "usage: ganfast" in out and err == ""


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"ganfast {ganfast.__version__}\n", "")


def test_the_module_and_the_script_are_one_command():
    done = subprocess.run(
        [sys.executable, "-m", "ganfast", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ganfast {ganfast.__version__}\n"


def test_every_setting_of_a_run_has_a_flag_and_its_default(capsys):
    text = " ".join(run(capsys, "train", "--help")[1].split())
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        assert flag in text or flag.replace("--", "--no-") in text
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            default = field.metadata["option"].unset if field.default == "" else field.default
            assert f"(default: {default})" in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["COMMAND"]),
        (["trian"], ["trian", "train"]),
        (
            ["train", "--game", "wgn-gp"],
            ["minimax, nonsaturating, ", " wgan, wgan-gp, ", "mean 'wgan-gp'?"],
        ),
        (["train", "--game", "WGAN"], ["did you mean 'wgan'?"]),
        (["train", "--data", "digit"], ["grid, folder:PATH or idx:PATH", "mean 'digits'?"]),
        (["train", "--data", "folder:"], ["folder:PATH"]),
        (["train", "--data", "idx:"], ["or idx:PATH; nothing stands behind the colon"]),
        (["train", "--data", "folder:PATH", "--steps", "many"], ["--steps", "many"]),
        (["train", "--steps", "0"], ["steps", "at least 1"]),
        (["train", "--game", "wgan", "--label-smoothing", "0.1"], ["label_smoothing"]),
        (["train", "--game", "minimax", "--clip", "0.1"], ["clip", "wgan"]),
        (["train", "--device", "tpu0"], ["device", "cpu"]),
        (["train", "--device", "tpu"], ["device", "cpu"]),
        (["doctor", "--jsno"], ["--jsno"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_exit_2_and_one_line(capsys, argv, words):
    code, out, err = run(capsys, *argv)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert all(word in error_line(err) for word in words), err


def test_a_missing_folder_is_exit_1_and_one_line(capsys, tmp_path):
    data = f"folder:{tmp_path / 'nowhere'}"
    code, out, err = run(capsys, "train", "--data", data, "--out", str(tmp_path / "run"))
    assert code == 1 and "nowhere" in error_line(err)


def test_an_empty_folder_is_exit_1_and_one_line(capsys, tmp_path):
    (tmp_path / "images").mkdir()
    data = f"folder:{tmp_path / 'images'}"
    code, out, err = run(capsys, "train", "--data", data, "--out", str(tmp_path / "run"))
    assert code == 1 and "no images" in error_line(err)


def test_damaged_images_end_a_run_or_are_skipped_and_named(capsys, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "good.png")
    (tmp_path / "images" / "bad.png").write_text("no image")
    data = ["--data", f"folder:{tmp_path / 'images'}", "--image-size", "8", "--width", "4"]
    argv = ["train", *data, "--steps", "1", "--out", str(tmp_path / "run")]
    code, out, err = run(capsys, *argv)
    assert code == 1 and "bad.png" in error_line(err) and "--on-error skip" in err
    code, out, err = run(capsys, *argv, "--on-error", "skip")
    assert code == 3 and "1 steps" in out
    assert [line for line in err.splitlines() if "bad.png" in line] == err.splitlines()


def test_an_out_that_is_a_file_is_exit_1_and_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("kept")
    code, out, err = run(capsys, "train", *TINY, "--out", str(tmp_path / "file" / "run"))
    assert code == 1 and "file" in error_line(err)
    assert (tmp_path / "file").read_text() == "kept"


def test_resuming_from_nothing_is_exit_1_and_one_line(capsys, tmp_path):
    code, out, err = run(capsys, "train", "--resume", str(tmp_path / "nothing"))
    assert code == 1 and "nothing" in error_line(err)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("two\n  lines"), "ganfast: error: two lines"),
        (FileNotFoundError(2, "No such file", "x"), "ganfast: error: No such file: 'x'"),
        (OSError("no number"), "ganfast: error: no number"),
    ],
)
def test_what_a_user_can_mend_is_one_line(capsys, monkeypatch, error, line):
    def fail():
        raise error

    monkeypatch.setattr(doctor, "examine", fail)
    assert run(capsys, "doctor") == (1, "", line + "\n")


def test_a_bug_keeps_its_traceback(capsys, monkeypatch):
    def fail():
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(doctor, "examine", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


def test_ctrl_c_is_exit_130(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupted)
    assert run(capsys, "doctor") == (130, "", "ganfast: interrupted\n")


def test_sigterm_is_exit_143_wherever_it_comes(capsys, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(doctor, "examine", lambda: signal.raise_signal(signal.SIGTERM))
    assert run(capsys, "doctor") == (143, "", "ganfast: terminated\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_show_prints_what_a_game_of_a_preset_would_have(capsys):
    argv = ["train", "--preset", "paper", "--game", "wgan", "--n-critic", "3", "--show"]
    code, out, err = run(capsys, *argv)
    settings = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0 and err == ""
    assert (settings["lr"], settings["clip"], settings["warm_up"]) == ("5e-05", "0.01", "True")
    assert (settings["n_critic"], settings["penalties"]) == ("3", "none")
    _, out, _ = run(capsys, *argv, "--no-warm-up")
    assert "warm_up         False" in out


def test_train_writes_a_run_that_resume_continues(capsys, tmp_path):
    out = tmp_path / "run"
    argv = ["train", "--game", "wgan", *TINY, "--log-every", "2", "--out", str(out)]
    code, text, err = run(capsys, *argv)
    assert code == 0 and str(out) in text, err
    assert (out / "checkpoint.safetensors").exists() and (out / "losses.png").exists()
    # Only the folder is named: the run brings its own settings.
    code, text, err = run(
        capsys, "train", "--resume", str(out), "--steps", "6", "--log-every", "2", "--no-progress"
    )
    assert code == 0 and "wgan on ring: 6 steps" in text, err
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for one process")
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_in_training_keeps_the_run(tmp_path, number, code, word):
    out = tmp_path / "run"
    argv = ["train", *TINY, "--steps", "1000000", "--log-every", "1", "--out", str(out)]
    command = [sys.executable, "-m", "ganfast", *argv]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(out / "log.jsonl", process)
            process.send_signal(number)
            err = process.communicate(timeout=HANGS)[1]
        finally:
            process.kill()
    assert process.returncode == code
    assert "Traceback" not in err and err.splitlines()[-1].startswith(f"ganfast: {word}; ")
    for name in ("checkpoint.safetensors", "losses.png", "log.jsonl"):
        assert (out / name).stat().st_size > 0


def wait_for(log: Path, process: subprocess.Popen) -> None:
    """Until the run has logged a step."""
    end = time.monotonic() + HANGS
    while not (log.exists() and log.stat().st_size):
        assert process.poll() is None and time.monotonic() < end, "the run never started"
        time.sleep(0.05)


def test_doctor_json_is_one_object(capsys):
    code, out, err = run(capsys, "doctor", "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["versions"]["ganfast"] == ganfast.__version__
    assert facts["threads"] >= 1
    assert facts["cpu_kernels"]["built"] == bool(facts["cpu_kernels"]["isa"])
    served = {(row["op"], row["device"], row["dtype"]): row["backend"] for row in facts["ops"]}
    assert ("discriminator_loss", "cpu", "float32") in served
    assert all(served.values())
    for row in facts["ops"]:
        assert all(verdict["reason"] for verdict in row["verdicts"])


def test_doctor_speaks_to_a_person(capsys):
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (0, "")
    for word in (
        "ganfast",
        "torch",
        "triton",
        "pillow",
        "threads",
        "C++ kernels",
        "CUDA",
        "served by",
        "why",
    ):
        assert word in out


def test_doctor_has_each_backends_reasons_once_in_lines_that_fit():
    def row(op: str, triton: str, cpu: str = "") -> dict:
        verdicts = [{"backend": "triton", "ok": False, "reason": triton}]
        verdicts += [{"backend": "cpu", "ok": not cpu, "reason": cpu or "serves"}]
        return {"op": op, "device": "cpu", "dtype": "float32", "verdicts": verdicts}

    names = [f"operation_number_{i}" for i in range(6)]
    rows = [row(name, "it needs a GPU") for name in names] + [row("sqrtm", "no kernel", "float64")]
    assert doctor._refusals([*rows, *rows]) == [
        "why not the others",
        "  triton on cpu",
        "    it needs a GPU",
        "      operation_number_0, operation_number_1, operation_number_2, operation_number_3,",
        "      operation_number_4, operation_number_5",
        "    no kernel",
        "      sqrtm",
        "  cpu on cpu",
        "    float64",
        "      sqrtm",
    ]
    assert doctor._refusals(rows[:6])[-1] == "      every op"
    assert doctor._refusals([]) == []


def test_doctor_names_a_forced_backend(capsys):
    with ganfast.backend("reference"):
        facts = doctor.examine()
    assert facts["forced_backend"] == "reference"
    assert {row["backend"] for row in facts["ops"]} == {"reference"}
    assert "'reference'" in doctor.report(facts)


WITHOUT = """
import sys
for name in ("triton", "cupy", "PIL", "ganfast._cpu"):
    sys.modules[name] = None  # the import system's word for: not there
from ganfast.cli import main
sys.exit(main(["doctor", "--json"]) or print("----") or main(["doctor"]))
"""


@pytest.mark.slow
def test_doctor_works_where_nothing_is_installed_or_built():
    command = [sys.executable, "-c", WITHOUT]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    object_, _, text = said.partition("----")
    facts = json.loads(object_)
    assert all(facts["versions"][name] is None for name in ("triton", "cupy", "pillow"))
    assert not facts["cpu_kernels"]["built"] and facts["cpu_kernels"]["error"]
    cpu_rows = [row for row in facts["ops"] if row["device"] == "cpu"]
    assert {row["backend"] for row in cpu_rows} == {"reference"}
    assert "NOT built" in text and "triton       not installed" in text


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_traceback():
    command = f"{sys.executable} -m ganfast doctor --json | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
