"""The house rules that keep the code readable, checked on the source itself."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ganfast"
CSRC = ROOT / "csrc"

# From the ground up: a module may import its own layer and those before it.
LAYERS = (
    (
        "reference",
        "games",
        "errors",
        "interrupt",
        "_philox",
        "_rows",
        "_csrc_path",
        "_checks",
        "_remote",
        "_lazy",
        "_options",
        "_terminal",
        "_atomic_file",
        "_lock",
        "_room",
    ),
    ("backends", "_cpu"),
    ("_dispatch",),
    ("_autograd",),
    ("functional", "balancer", "captured", "lecam", "nn", "optim", "linalg"),
    ("train", "metrics", "compat"),
    ("", "doctor", "bench"),  # "" is ganfast/__init__.py
    ("commands",),
    ("cli", "__main__"),
)
HELPERS = LAYERS[0]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def dotted(path: Path) -> str:
    """ganfast/train/run.py -> train.run; ganfast/__init__.py -> the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


EXISTING = {dotted(path) for path in MODULES} | {"_cpu"}


class Module:
    """One source file of the package, parsed."""

    def __init__(self, path: Path) -> None:
        self.name = dotted(path)
        self.layer = self.name.split(".")[0]
        self.text = path.read_text()
        self.tree = ast.parse(self.text)
        own = ["ganfast", *filter(None, self.name.split("."))]
        self.package = own if path.name == "__init__.py" else own[:-1]

    def __str__(self) -> str:
        return self.name or "__init__"

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def imports(self) -> list[tuple[str, bool]]:
        """Every imported module by its full name, and whether importing this file imports it."""
        functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        bodies = [node for node in self.nodes if isinstance(node, functions)]
        later = {id(inner) for body in bodies for inner in ast.walk(body)}
        return [
            (name, id(node) not in later) for node in self.nodes for name in self._imported_by(node)
        ]

    def _imported_by(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = self.package[: len(self.package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:  # either may be a module: `from ganfast import games`
                inner = f"{base}.{alias.name}"
                yield inner if inner.removeprefix("ganfast.") in EXISTING else base
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))

    @cached_property
    def internal(self) -> set[str]:
        """The modules of ganfast that this one imports, without the leading "ganfast."."""
        names = {name for name, _ in self.imports}
        ours = {name for name in names if name.split(".")[0] == "ganfast"}
        return {name.removeprefix("ganfast").removeprefix(".") for name in ours}


@cache
def parsed() -> list[Module]:
    return [Module(path) for path in MODULES]


def test_the_walk_sees_what_is_there():
    seen = {str(m): m.internal for m in parsed()}
    assert "_autograd.losses" in seen["functional.losses"]  # from ganfast._autograd.losses import
    assert "train.demo" in seen["commands.demo"]  # inside a function
    assert "_cpu" in seen["backends.cpu.losses"]  # a module that is not Python
    assert "" in seen["doctor"] and "" not in seen["functional.losses"]  # import ganfast


def test_every_module_has_a_layer():
    assert [str(m) for m in parsed() if m.layer not in RANK] == [], "give it a place in LAYERS"


def test_imports_go_down():
    upward = [
        f"{m} imports {name or 'ganfast'}"
        for m in parsed()
        for name in m.internal
        if RANK[name.split(".")[0]] > RANK[m.layer]
    ]
    assert upward == []


def test_helpers_import_torch_and_the_standard_library_alone():
    allowed = {"torch", "ganfast", "tqdm", "fsspec", "aiohttp", *sys.stdlib_module_names}
    for m in parsed():
        if m.layer in HELPERS:
            assert {name.split(".")[0] for name, _ in m.imports} <= allowed, m.name
            assert {name.split(".")[0] for name in m.internal} <= set(HELPERS), m.name


def test_a_backend_knows_no_other_backend_and_nothing_above():
    for m in parsed():
        if m.layer != "backends" or m.name == "backends":
            continue
        own = ".".join(m.name.split(".")[:2])
        for name in m.internal:
            inside = name == "backends" or name == own or name.startswith(own + ".")
            assert inside or name.split(".")[0] in {*HELPERS, "_cpu"}, f"{m} imports {name}"


def test_only_dispatch_imports_a_backend():
    others = [m for m in parsed() if m.layer not in {"backends", "_dispatch"}]
    wrong = [f"{m}: {name}" for m in others for name in m.internal if name.startswith("backends")]
    assert wrong == [], "ask ganfast._dispatch for a backend"


def test_the_compiled_module_is_imported_by_its_backend_alone():
    """And for work of the host: where the CUDA optimizers' tables are read, and where small losses
    are launched."""
    users = {m.name for m in parsed() if "_cpu" in m.internal}
    others = {name for name in users if not name.startswith("backends.cpu")}
    assert others <= {"doctor", "backends.cuda.table", "backends.triton.kept"}


def test_no_gpu_package_is_imported_before_it_is_used():
    for m in parsed():
        at_once = {name.split(".")[0] for name, now in m.imports if now}
        assert "cupy" not in at_once, f"{m}: import cupy inside the function that uses it"
        if not m.name.startswith("backends.triton"):
            assert "triton" not in at_once, f"{m}: Triton stays in its backend"


def test_only_dispatch_reads_our_environment_variables():
    for m in parsed():
        if m.name == "_dispatch":
            continue
        for node in m.nodes:
            if getattr(node, "attr", getattr(node, "id", "")) in {"environ", "getenv"}:
                line = m.text.splitlines()[node.lineno - 1].strip()
                other = re.search(r"""["'](?!GANFAST_)[A-Z_]+["']""", line)
                assert other and "GANFAST_" not in line, f"{m} reads the environment: {line}"


def test_ctx_stays_in_autograd():
    def names(m: Module) -> set[str | None]:
        return {getattr(node, "id", getattr(node, "arg", None)) for node in m.nodes}

    assert {m.layer for m in parsed() if "ctx" in names(m)} <= {"_autograd"}


def test_no_file_holds_a_book():
    long = {str(m): len(m.text.splitlines()) for m in parsed() if m.text.count("\n") > 400}
    assert long == {}, "such a file probably holds two nouns"


def sources() -> list[Path]:
    return sorted(p for p in CSRC.rglob("*") if p.suffix in {".h", ".cpp", ".cu"})


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(CSRC)))
def test_kernels_know_neither_torch_nor_python(path):
    text = path.read_text()
    included = re.findall(r'#\s*include\s*[<"]([^>"]+)[>"]', text)
    for header in included:
        assert not header.startswith(("torch/", "ATen/", "c10/")), f"{path.name} includes {header}"
        if header.startswith(("pybind11/", "Python.h")):
            assert path.parent.name == "cpu" and path.name.startswith(("module", "args", "view"))
    if path.name == "gan_math.h":
        assert set(included) <= {"cmath"}
    if path.suffix == ".cu":
        assert "<<<" not in text, "extern C kernels only: the launch is in Python"


def test_there_are_kernels_to_check():
    assert (CSRC / "gan_math.h") in sources()
