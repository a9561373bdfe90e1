"""Putting our function in the place of a project's own, once it is sure to be the one we know."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import logging
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import torch

from ganfast._checks import one_of
from ganfast.compat import replacements

log = logging.getLogger(__name__)


class Replaced(NamedTuple):
    """What patch replaced: the project, its version, and the function with its module."""

    project: str
    version: str
    function: str


def patch(*names: str) -> tuple[Replaced, ...]:
    """Replace the Fréchet distance of the named projects (without names: of all installed).

    The signature and the type of what it returns stay as they were. Every module of the project
    that holds the function gets ours; a copy that your own code took before (``from
    pytorch_fid.fid_score import calculate_frechet_distance``) stays as it is, so patch first.

    Args:
        names: as one imports them (``pytorch_fid``) or installs them (``pytorch-fid``).

    Returns:
        One record for each function that this call replaced; each is logged, too. A project that is
        already patched is left alone and has no record.

    Raises:
        InputError: an unknown name.
        ImportError: a project that is not installed or cannot be imported.
        RuntimeError: a version whose function is not the one we know. In every case nothing is
            patched.
    """
    projects = _named(names) if names else [p for p in PROJECTS.values() if p.installed()]
    # Every project is checked before the first is changed: all of them or none.
    functions = [project.find() for project in projects]
    return tuple(
        _replace(project, theirs)
        for project, theirs in zip(projects, functions, strict=True)
        if theirs is not project.replacement
    )


def unpatch(*names: str) -> None:
    """Give the named projects (without names: all) their own function back, the very same object.

    Raises:
        InputError: an unknown name.
    """
    for project in _named(names) if names else list(PROJECTS.values()):
        original = _originals.pop(project.name, None)
        if original is not None:
            project.rebind(project.replacement, original)
            log.info("%s: %s is its own again", project.label(), project.function)


@contextmanager
def patched(*names: str) -> Iterator[tuple[Replaced, ...]]:
    """``patch`` for a while; on leaving, what was patched before stays patched."""
    replaced = patch(*names)
    try:
        yield replaced
    finally:
        if replaced:  # unpatch() would undo everything
            unpatch(*(record.project for record in replaced))


def _replace(project: Project, theirs: Callable[..., Any]) -> Replaced:
    _originals[project.name] = theirs
    places = project.rebind(theirs, project.replacement)
    log.info("%s: %s is now ganfast's, in %s", project.label(), project.function, ", ".join(places))
    return Replaced(project.name, project.version(), f"{project.home}.{project.function}")


def _named(names: tuple[str, ...]) -> list[Project]:
    """The projects in the order given, each once."""
    known = {alias: p for p in PROJECTS.values() for alias in (p.name, p.distribution)}
    return list(dict.fromkeys(known[one_of("project", name, known)] for name in names))


@dataclass(frozen=True, eq=False)
class Project:
    """Where a project keeps its distance, and what takes its place."""

    name: str  # as it is imported
    distribution: str  # as pip knows it
    home: str  # the module that defines the function
    replacement: Callable[..., Any]  # has the function's name and signature
    example: tuple[Any, ...]  # small arguments, on which theirs and ours must agree
    needs: tuple[str, ...] = ()  # other names of `home` that the replacement uses

    @property
    def function(self) -> str:
        return self.replacement.__name__

    def installed(self) -> bool:
        loaded = sys.modules.get(self.name) is not None
        return loaded or importlib.util.find_spec(self.name) is not None

    def version(self) -> str:
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:  # a checkout on the path, say
            return "of unknown version"

    def label(self) -> str:
        return f"{self.distribution} {self.version()}"

    def find(self) -> Callable[..., Any]:
        """Their function (or ours, if it is in place), once it is sure to be the one we know."""
        module = self._import_home()
        found = getattr(module, self.function, None)
        if found is self.replacement:
            return self.replacement
        if found is None:
            raise self._unknown(f"{self.home} has no {self.function}")
        if not isinstance(found, FunctionType) or found.__module__ != self.home:
            origin = getattr(found, "__module__", "an unknown module")
            raise self._unknown(
                f"{self.home}.{self.function} is not its own function: it comes from {origin}"
            )
        theirs, ours = _parameters(found), _parameters(self.replacement)
        if theirs != ours:
            raise self._unknown(
                f"{self.home}.{self.function} takes ({_shown(theirs)}), not ({_shown(ours)})"
            )
        for need in self.needs:
            if not hasattr(module, need):
                raise self._unknown(f"{self.home} has no {need}")
        self._compare(found)
        return found

    def rebind(self, old: Callable[..., Any], new: Callable[..., Any]) -> list[str]:
        """Put ``new`` wherever a module of the project holds ``old``; the names of those places.

        ``from x import y`` copies the name: replacing it at home alone would miss the copies.
        """
        places = []
        for name, module in sorted(sys.modules.items()):
            if name != self.name and not name.startswith(self.name + "."):
                continue
            for attribute, value in list(getattr(module, "__dict__", {}).items()):
                if value is old:
                    setattr(module, attribute, new)
                    places.append(f"{name}.{attribute}")
        return places

    def _import_home(self) -> ModuleType:
        if not self.installed():
            raise ImportError(
                f"{self.distribution} is not installed: pip install {self.distribution}",
                name=self.name,
            )
        try:
            return importlib.import_module(self.home)
        except Exception as error:  # torchvision, which all of these import, raises RuntimeError
            missing = getattr(error, "name", None)
            if isinstance(error, ModuleNotFoundError) and missing == self.home:
                raise self._unknown(f"it has no module {self.home}") from error
            raise ImportError(
                f"{self.label()} is installed but cannot be imported: {error}", name=self.name
            ) from error

    def _compare(self, theirs: Callable[..., Any]) -> None:
        """The same signature may hide another meaning: try both on the example."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = theirs(*self.example)
        except Exception as error:
            if isinstance(error, TypeError) and "disp" in str(error):
                return  # SciPy 1.18 drops that argument of sqrtm: the very thing that we mend
            raise self._unknown(
                f"{self.home}.{self.function} fails on a small example: {error!r}"
            ) from error
        answered = self.replacement(*self.example)
        if not _alike(expected, answered):
            raise self._unknown(
                f"{self.home}.{self.function} answers {expected!r} to a small example, "
                f"not {answered!r}"
            )

    def _unknown(self, difference: str) -> RuntimeError:
        return RuntimeError(
            f"{self.label()} is not a version that ganfast knows: {difference}. Nothing was patched"
        )


def _parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Name, kind and default; annotations change nothing for the caller."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in parameters]


def _shown(parameters: list[tuple[str, Any, Any]]) -> str:
    empty = inspect.Parameter.empty
    return ", ".join(
        name if default is empty else f"{name}={default!r}" for name, _, default in parameters
    )


def _alike(a: Any, b: Any) -> bool:
    """The same type, the same keys if it is a dict, and the same numbers to six digits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if getattr(a, "dtype", None) != getattr(b, "dtype", None):
        return False
    return math.isclose(float(a), float(b), rel_tol=1e-6)


PROJECTS = {
    project.name: project
    for project in (
        Project(
            name="pytorch_fid",
            distribution="pytorch-fid",
            home="pytorch_fid.fid_score",
            replacement=replacements.calculate_frechet_distance,
            example=replacements.EXAMPLE,
        ),
        Project(
            name="torch_fidelity",
            distribution="torch-fidelity",
            home="torch_fidelity.metric_fid",
            replacement=replacements.fid_statistics_to_metric,
            example=replacements.fidelity_example(),
            needs=("KEY_METRIC_FID", "vprint"),
        ),
        Project(
            name="cleanfid",
            distribution="clean-fid",
            home="cleanfid.fid",
            replacement=replacements.frechet_distance,
            example=replacements.EXAMPLE,
        ),
        Project(
            name="torchmetrics",
            distribution="torchmetrics",
            home="torchmetrics.image.fid",
            replacement=replacements._compute_fid,
            example=tuple(map(torch.from_numpy, replacements.EXAMPLE)),
        ),
    )
}
_originals: dict[str, Callable[..., Any]] = {}  # by project: what patch took out
