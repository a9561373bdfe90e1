"""What a user installs: the wheel, the sdist, and an install where no compiler works.

Everything is built from a copy of the checkout, without build isolation: no network is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
KERNEL_TEXT = sorted(
    str(path.relative_to(ROOT / "csrc"))
    for path in (ROOT / "csrc").rglob("*")
    if path.suffix in {".h", ".cu"}
)
COMPILER = next(filter(shutil.which, ("c++", "g++", "clang++")), None)
NO_COMPILER = {"CC": "false", "CXX": "false"}
NOT_BUILT = "the C++ kernels were NOT built"


def call(
    *command: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    """Run a program with stdout and stderr together, and no GANFAST_* variable but those given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GANFAST_")}
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def build(kind: str, source: Path, out: Path, env: dict[str, str] | None = None) -> str:
    """Build a "wheel" or an "sdist" of ``source`` into ``out``; what the build printed."""
    options = [f"--{kind}", "--no-isolation", "--outdir", str(out)]
    done = call(sys.executable, "-m", "build", *options, ".", cwd=source, env=env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def compiled(names: Iterable[str]) -> list[str]:
    """The compiled module among the files of a wheel (its .pyi is always there)."""
    return [n for n in names if n.startswith("ganfast/_cpu.") and n.endswith((".so", ".pyd"))]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what git would hand out: nothing built, nothing cached."""
    target = tmp_path_factory.mktemp("checkout") / "ganfast"
    junk = ("__pycache__", "*.so", "*.pyd", "*.egg-info", "results")
    for name in ("csrc", "docs", "ganfast", "tests", "testing", "benchmarks"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns(*junk))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, target)
    return target


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    build("sdist", checkout, out)
    (path,) = out.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory) -> Path:
    """The sdist's tree: a wheel built in it proves that the sdist is complete."""
    out = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (folder,) = out.iterdir()
    return folder


@pytest.fixture(scope="module")
def quick_compiler(tmp_path_factory) -> dict[str, str]:
    """The compiler without its optimiser, which takes two fifths of the time for nothing here."""
    if COMPILER is None or os.name == "nt":
        return {}
    path = tmp_path_factory.mktemp("compiler") / "c++"
    path.write_text(f'#!/bin/sh\nexec {COMPILER} "$@" -O0\n')
    path.chmod(0o755)
    return {"CC": str(path), "CXX": str(path)}


@pytest.fixture(scope="module")
def wheel(unpacked, quick_compiler, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build("wheel", unpacked, out, env=quick_compiler)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def bare(unpacked, tmp_path_factory) -> tuple[Path, str]:
    """A folder with ganfast installed where no compiler works, and what the build said."""
    copy = tmp_path_factory.mktemp("bare-source") / "ganfast"
    shutil.copytree(unpacked, copy, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    out = tmp_path_factory.mktemp("bare")
    said = build("wheel", copy, out, env=NO_COMPILER)
    (path,) = out.glob("*.whl")
    site = tmp_path_factory.mktemp("bare-site")
    zipfile.ZipFile(path).extractall(site)
    return site, said


def test_the_sdist_holds_all_that_a_build_needs(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder, endings in {"csrc": {".h", ".cpp", ".cu"}, "ganfast": {".py"}}.items():
        files = [path for path in (ROOT / folder).rglob("*") if path.suffix in endings]
        assert {str(path.relative_to(ROOT)) for path in files} <= names
    assert {"setup.py", "pyproject.toml", "LICENSE", "README.md", "ganfast/py.typed"} <= names
    assert "tests/test_packaging.py" in names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


def test_the_wheel_carries_the_kernels_text(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "gan_math.h" in KERNEL_TEXT
    assert {f"ganfast/_csrc/{name}" for name in KERNEL_TEXT} <= names


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ganfast"}
    assert "ganfast/py.typed" in names
    assert [name for name in names if name.endswith("/licenses/LICENSE")]
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ganfast").rglob("*.py")}
    assert modules <= set(names)


def test_the_wheel_names_its_command_extras_and_floor(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = archive.read(f"{folder}/METADATA").decode()
        commands = archive.read(f"{folder}/entry_points.txt").decode()
    assert "ganfast = ganfast.cli:main" in commands
    assert "Requires-Python: >=3.10" in metadata
    assert "Classifier: License :: OSI Approved :: Apache Software License" in metadata
    for extra in ("triton", "cuda12", "cuda13", "demo", "dev"):
        assert f"Provides-Extra: {extra}" in metadata
    needed = {line for line in metadata.splitlines() if line.startswith("Requires-Dist")}
    assert {line for line in needed if "extra ==" not in line} == {
        "Requires-Dist: torch>=2.7",
        "Requires-Dist: numpy",
    }


def test_an_installed_wheel_finds_its_kernels(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import ganfast._csrc_path as p; f = p.csrc_dir();"
        "assert (f / 'gan_math.h').is_file(); print(f)"
    )
    done = call(sys.executable, "-c", program, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout.strip() == str(tmp_path / "ganfast" / "_csrc"), done.stdout


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_a_compiler_gives_a_wheel_with_the_extension(wheel, tmp_path):
    names = zipfile.ZipFile(wheel).namelist()
    assert compiled(names)
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = "import ganfast._cpu as module; print(module.__file__, module.isa())"
    done = call(sys.executable, "-c", program, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0 and done.stdout.startswith(str(tmp_path)), done.stdout


def test_without_a_compiler_the_build_succeeds_and_says_so(bare):
    site, said = bare
    assert NOT_BUILT in said
    assert not compiled(str(path.relative_to(site)) for path in (site / "ganfast").iterdir())


def test_without_a_compiler_the_package_works_and_the_doctor_says_so(bare):
    site, _ = bare
    program = (
        # An editable install in this environment would lend its own compiled module.
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in repr(f)];"
        "import torch, ganfast.functional as GF, ganfast.cli;"
        "x = torch.ones(3, requires_grad=True); GF.generator_loss(x).backward();"
        "print(GF.__file__, x.grad); ganfast.cli.main(['doctor'])"
    )
    done = call(sys.executable, "-c", program, cwd=site, env={"PYTHONPATH": str(site)})
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(str(site)) and "NOT built" in done.stdout


def test_where_the_extension_is_required_no_compiler_is_an_error(unpacked, tmp_path):
    copy = tmp_path / "ganfast"
    shutil.copytree(unpacked, copy, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    env = NO_COMPILER | {"GANFAST_REQUIRE_EXT": "1"}
    options = ["--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    done = call(sys.executable, "-m", "build", *options, ".", cwd=copy, env=env)
    assert done.returncode != 0 and not list(tmp_path.glob("*.whl"))


def test_the_version_is_written_once():
    first = next(
        line for line in (ROOT / "pyproject.toml").read_text().splitlines() if "version =" in line
    )
    version = first.split('"')[1]
    for path in [*(ROOT / "ganfast").rglob("*.py"), ROOT / "setup.py"]:
        assert f'"{version}"' not in path.read_text(), f"{path.name} repeats the version"
