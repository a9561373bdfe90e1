"""README.md, CONTRIBUTING.md and docs/: every block of Python runs, every command line is one that
its program takes, every link leads somewhere. docs/migration.md and docs/steps.md have tests of
their own (test_migration.py, test_steps_page.py) that also compare the numbers."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import shlex
import types
from pathlib import Path

import pytest
import torch
from test_layering import LAYERS
from torch import nn

import ganfast.metrics
from benchmarks import front_page
from ganfast import cli
from ganfast._csrc_path import csrc_dir
from ganfast.metrics import load_extractor

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
ROOT = csrc_dir().parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
FENCE = re.compile(r"^ *```([a-z]*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_out = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, z):
        return self.conv_out(z)


class Critic(nn.Module):
    """Of points, pictures, and pictures in several sizes."""

    def forward(self, *inputs):
        return sum(x.flatten(1).square().mean(1) for x in inputs) * self.slope

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))


def what_a_reader_has() -> dict[str, object]:
    """The names that the pages use without making them."""
    torch.manual_seed(0)
    rows = torch.randn(40, 4).double()
    x, critic = torch.randn(2, 3, 8, 8), Critic()
    pictures = torch.randint(0, 255, (2, 40, 3, 32, 32)).to(torch.uint8)
    return {
        "torch": torch,
        "Tensor": torch.Tensor,
        "InputError": ValueError,
        "D": critic,
        "critic": critic,
        "real": torch.randn(5, 3, 8, 8),
        "fake": torch.randn(5, 3, 8, 8),
        "decoder": Decoder(),
        "z": torch.randn(2, 2, 8, 8),
        "x": x,
        "codebook_loss": torch.zeros((), requires_grad=True),
        "real_features": [[x, x[:1]], [x[:, :2]]],
        "fake_features": [[x + 1, x[:1]], [x[:, :2].clone().requires_grad_()]],
        "mu1": rows.mean(0),
        "mu2": rows.mean(0) + 1,
        "sigma1": rows.T.cov(),
        "sigma2": 2 * rows.T.cov(),
        "samples": rows[:10],
        "extractor": load_extractor("test_docs:Features"),
        "real_images": pictures[0],
        "fake_images": pictures[1],
        "generate": lambda n: pictures[1][:1].expand(n, -1, -1, -1),
    }


class Features(nn.Module):
    """A network that makes features of images of any size."""

    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder of a reader, with images in real/ and fake/."""
    pytest.importorskip("PIL")
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    images = torch.randint(0, 255, (2, 12, 32, 32, 3)).to(torch.uint8).numpy()
    for name, side in zip(("real", "fake"), images, strict=True):
        (tmp_path / name).mkdir()
        for number, image in enumerate(side):
            Image.fromarray(image).save(tmp_path / name / f"{number}.png")
    return tmp_path


@pytest.mark.slow
@each_page
def test_python_runs(page, folder, monkeypatch):
    found = blocks(page, "python")
    if not found:
        pytest.skip("no Python on this page")
    if "load_digits" in "".join(found):
        pytest.importorskip("sklearn")
    if page.name == "fid.md":  # the published network is a download; one of ours in its place
        network = load_extractor("test_docs:Features")
        known = functools.partial(ganfast.metrics.evaluate, extractor=network)
        monkeypatch.setattr(ganfast.metrics, "evaluate", functools.partial(known, progress=False))
    names = what_a_reader_has()
    for number, text in enumerate(found):
        exec(compile(text, f"{page.name}, block {number}", "exec"), names)


def commands() -> list[tuple[str, str]]:
    return [
        (page.name, line.split(" #")[0].strip())
        for page in PAGES
        for text in blocks(page, "", "console", "sh")
        for line in text.splitlines()
        if line.split(" #")[0].strip()
    ]


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_is_one(page, line):
    for part in line.split("&&"):
        check(shlex.split(part.split(" > ")[0]))


def check(words: list[str]) -> None:
    """That the program knows what it is given."""
    variables = [word for word in words if re.match(r"[A-Z_]+=", word)]
    program, *rest = words[len(variables) :] if words[: len(variables)] == variables else words
    program = program.removeprefix(".venv/bin/")
    if program in ("torchrun", "python", "uv"):
        at = rest.index("-m") if "-m" in rest else None
        if at is not None:
            module = rest[at + 1]
            assert importlib.util.find_spec(module), module
            if module == "ganfast":
                cli._build_parser().parse_args(rest[at + 2 :])
            if module == "pytest":
                assert (ROOT / rest[at + 2]).exists()
        elif rest[0].endswith(".py"):
            assert (ROOT / rest[0]).exists()
    elif program == "ganfast":
        cli._build_parser().parse_args(rest)
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        variables = [word for word in rest if "=" in word]
        assert set(rest) - set(variables) - {".venv/installed"} <= {*targets}, rest
    elif program == "pytest":
        assert (ROOT / rest[0]).exists()
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for name in re.findall(r"\.\[(.*?)\]", " ".join(rest)):
            assert name in extras["optional-dependencies"]
    else:
        pytest.fail(f"{program}: what is this?")


@each_page
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
            inside = page.parent == ROOT or (page.parent / target).resolve().is_relative_to(
                ROOT / "docs"
            )
            assert inside, f"{target} is not among the pages"


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_front_pages_picture_is_that_of_the_results():
    text = front_page.PICTURE.read_text(encoding="utf-8")
    for label, (value, rival) in front_page.speedups().items():
        assert label in text and f"{value:.2f}x  {rival}" in text, "python -m benchmarks.front_page"


def test_the_drawing_of_the_layers_is_the_list_that_is_tested():
    (drawing,) = blocks(ROOT / "docs" / "architecture.md", "layers")
    drawn = [line.split() for line in drawing.splitlines()]
    assert drawn == [[name or "ganfast" for name in layer] for layer in reversed(LAYERS)]


def test_the_list_of_files_is_the_tree():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(ganfast/[\w/]*)` \| (.*) \|$", text, re.MULTILINE)
    named = {folder.rstrip("/"): re.findall(r"`(\w+)`", words) for folder, words in rows}
    there: dict[str, list[str]] = {}
    for path in sorted((ROOT / "ganfast").rglob("*.py")):
        files = there.setdefault(path.parent.relative_to(ROOT).as_posix(), [])
        files += [] if path.stem in ("__init__", "__main__") else [path.stem]
    assert {folder: sorted(files) for folder, files in named.items()} == there
    for name in re.findall(
        r"`((?:csrc|tests|testing|benchmarks|docs|examples|\.ci)/[\w/.]*)`", text
    ):
        assert (ROOT / name).exists(), name


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r": ([\w/-]+\.md)$", text, re.MULTILINE)) == pages


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "api").glob("*.md")), ids=lambda p: p.stem)
def test_the_reference_has_every_public_name(page):
    name = "ganfast" if page.stem == "ganfast" else f"ganfast.{page.stem}"
    module = importlib.import_module(name)
    shown = re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    public = {n for n in module.__all__ if not isinstance(getattr(module, n), types.ModuleType)}
    assert {path.split(".")[-1] for path in shown} == public
