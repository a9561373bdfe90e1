"""CONTRIBUTING.md's recipe for a new game, followed to the letter in a copy of the checkout.

The copy gets a squared hinge by a name that no game will have, and so a game of a new family. It
must take no other edits than these, and every test that is made from the tables must then be green.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from ganfast._csrc_path import csrc_dir

ROOT = csrc_dir().parent

ROW_OF_PHI = """        Phi("hinge_of_the_recipe", {id}, "max(0, 1 + (1 - 2*t)*x)^2"),
"""

ROW_OF_GAME = """    Game(
        "hinge_of_the_recipe", (), "hinge_of_the_recipe", "linear", REAL, False,
        "max(0, 1 - x)^2", "max(0, 1 + x)^2", "-x",
        "Zhao et al. 2016, Energy-based GAN, arXiv:1609.03126, squared",
    ),
"""

REFERENCE = '''def hinge_of_the_recipe(x: Tensor, t: Target) -> Tensor:
    """max(0, 1 + (1 - 2t)*x)^2."""
    return hinge(x, t).square()


def hinge_of_the_recipe_slope(x: Tensor, t: Target) -> Tensor:
    return 2.0 * (1.0 - 2.0 * t) * hinge(x, t)


'''

GAN_MATH = """// max(0, 1 + (1 - 2t)*x)^2
template <class A>
struct HingeOfTheRecipe {
  using Real = typename A::Real;
  GAN_FN Real value(Real x, Real t) {
    const Real m = Hinge<A>::value(x, t);
    return m * m;
  }
  GAN_FN Real slope(Real x, Real t) {
    return A::real(2) * Linear<A>::sign(t) * Hinge<A>::value(x, t);
  }
};

"""

TRITON_VALUE = """    elif PHI == "hinge_of_the_recipe":
        margin = 1.0 + (1.0 - 2.0 * t) * x
        margin = tl.where(margin <= 0, 0.0, margin)
        y = margin * margin
"""

TRITON_SLOPE = """    elif PHI == "hinge_of_the_recipe":
        sign = 1.0 - 2.0 * t
        margin = 1.0 + sign * x
        y = 2.0 * sign * tl.where(margin <= 0, 0.0, margin)
"""

PAGE = (
    "| `hinge_of_the_recipe` | max(0, 1 - x)^2 | max(0, 1 + x)^2 | -x | "
    "[1609.03126](https://arxiv.org/abs/1609.03126) |\n"
)

END_OF_GAN_PHIS = "\n\n"  # the first after the macro's name, since its lines end in a backslash
LAST_BRANCH = "    else:\n        tl.static_assert(PHI =="

EDITS = {
    "ganfast/games.py": [
        ("    )\n}\n\nREAL, FAKE", ROW_OF_PHI),
        (")  # fmt: skip\n\nGAMES:", ROW_OF_GAME),
    ],
    "ganfast/reference/losses.py": [
        ("PHI: dict[", REFERENCE),
        (
            "}\n\n\n# ---- the loss:",
            '    "hinge_of_the_recipe": (hinge_of_the_recipe, hinge_of_the_recipe_slope),\n',
        ),
    ],
    "csrc/gan_math.h": [
        (END_OF_GAN_PHIS, " \\\n  X(HingeOfTheRecipe)"),
        ("}  // namespace\n}  // namespace gan", GAN_MATH),
    ],
    "ganfast/backends/triton/kernels/phi.py": [
        (LAST_BRANCH, TRITON_VALUE),
        (LAST_BRANCH, TRITON_SLOPE),
    ],
    "docs/losses.md": [("\nHere x is a logit", PAGE)],
}
"""Of each file: the texts before which something is inserted."""


def insert(text, before, new, start):
    if before == END_OF_GAN_PHIS:
        start = text.index("#define GAN_PHIS(X)")
    at = text.index(before, start)
    return text[:at] + new + text[at:], at + len(new) + len(before)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    from ganfast.games import PHIS

    copy = tmp_path_factory.mktemp("checkout")
    for name in ("ganfast", "csrc", "tests", "benchmarks", "testing", "docs"):
        left_out = shutil.ignore_patterns("__pycache__", "_cpu*.so", "results")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=left_out)
    for name in ("README.md", "setup.py", "pyproject.toml", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy / name)
    for name, insertions in EDITS.items():
        text, at = (copy / name).read_text(encoding="utf-8"), 0
        for before, new in insertions:
            text, at = insert(text, before, new.replace("{id}", str(len(PHIS))), at)
        (copy / name).write_text(text, encoding="utf-8")
    return copy


def run(copy, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTEST_ADDOPTS": "", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.slow
def test_a_new_game_of_a_new_family(copy):
    assert len(EDITS) <= 5
    if shutil.which(os.environ.get("CXX", "c++")):
        arguments = "setup.py", "-q", "build_ext", "--inplace"
        run(copy, *arguments, GANFAST_REQUIRE_EXT="1", GANFAST_DEBUG="1")
    tables = "hinge_of_the_recipe or documentation or every_phi or every_loss or oracle or gan_math"
    pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", tables)
    files = [f"tests/{name}" for name in TESTS]
    said = run(copy, *pytest_, *files)
    assert int(said.rsplit(" passed", 1)[0].rsplit(maxsplit=1)[-1]) > 50, said


TESTS = (
    "test_autograd.py",
    "test_bad_input.py",
    "test_compile.py",
    "test_determinism.py",
    "test_formulas.py",
    "test_losses.py",
    "test_nn.py",
    "test_noise.py",
    "test_ops.py",
    "test_second_order.py",
    "test_benchmarks.py",
    "nogpu/test_nvcc.py",
)
"""What is made from the tables; all of tests/ would collect for longer than these run."""


@pytest.mark.slow
def test_its_triton_branch(copy):
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    if triton.__version__.startswith("3.6"):
        pytest.skip("the interpreter of Triton 3.6 cannot run loops with NumPy 2.4")
    pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "hinge_of_the_recipe")
    said = run(copy, *pytest_, "tests/nogpu/interpreted", TRITON_INTERPRET="1")
    assert " passed" in said
