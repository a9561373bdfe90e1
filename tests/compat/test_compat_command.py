"""``python -m ganfast.compat``, on stand-ins that have a command line, and on scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from compat_fakes import install

from ganfast.compat.__main__ import main
from ganfast.compat.projects import PROJECTS

PRINT = """
import sys
from {module} import {function} as function

def main():
    print(sys.argv[1:], function.__module__.split(".")[0], __name__)
    sys.exit(3)

if __name__ == "__main__":
    main()
"""
SCRIPT = """
import sys
import numpy as np
import beside
from scipy.linalg import sqrtm

root, error = sqrtm(np.diag([4.0, 9.0]) @ np.array([[2.0, 1.0], [1.0, 2.0]]), disp=False)
print(sys.argv, __name__, sqrtm.__module__.split(".")[0], error < 1e-12)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    install(folder)
    commands = {
        "pytorch_fid/__main__.py": ("pytorch_fid.fid_score", "calculate_frechet_distance"),
        "torch_fidelity/fidelity.py": ("torch_fidelity.metric_fid", "fid_statistics_to_metric"),
    }
    for path, (module, function) in commands.items():
        (folder / path).write_text(PRINT.format(module=module, function=function))
    (folder / "fid.py").write_text(SCRIPT)
    (folder / "beside.py").touch()
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "ganfast.compat", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, str(folder)])},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", ["pytorch-fid", "torch_fidelity"])
def test_runs_a_projects_own_command_line(folder, name):
    done = run(folder, name, "A", "--batch-size", "3", "-h")
    assert done.stdout == "['A', '--batch-size', '3', '-h'] ganfast __main__\n"
    assert done.returncode == 3  # the project's own
    assert done.stderr.startswith(f"ganfast.compat: {name.replace('-', '_')} 9.9: ")
    assert done.stderr.endswith(" is ganfast's\n") and done.stderr.count("\n") == 1


def test_runs_a_script_of_a_project_without_a_command_line(folder):
    script = str(folder / "fid.py")
    done = run(folder, "scipy", script, "--images", "A")
    assert done.stdout == f"{[script, '--images', 'A']} __main__ ganfast True\n"
    assert done.returncode == 0 and "scipy.linalg.sqrtm is ganfast's" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["pytorch_fit"], 2, "project: got 'pytorch_fit'; give one of "),
        (["scipy"], 2, "SCRIPT: scipy has no command line; give a Python file that uses it"),
        (["piq", "no.py"], 2, "SCRIPT: got 'no.py', which is no file; piq has no command line"),
        (["cleanfid", __file__], 1, "clean-fid 9.9 is installed but cannot be imported: No module"),
    ],
)
def test_a_mistake_is_one_line(fakes, capsys, arguments, code, said):
    (fakes / "cleanfid" / "fid.py").write_text("import a_module_that_is_nowhere\n")
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"ganfast.compat: error: {said}") and err.count("\n") == 1


def test_a_project_that_is_not_installed_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pytorch_fid", None)
    assert main(["pytorch_fid", "A", "B"]) == 1
    message = "ganfast.compat: error: pytorch-fid is not installed: pip install pytorch-fid\n"
    assert capsys.readouterr() == ("", message)


def test_help_names_the_projects(capsys):
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(name in usage for name in PROJECTS)
    assert main([]) == 2
    assert capsys.readouterr() == ("", usage)
