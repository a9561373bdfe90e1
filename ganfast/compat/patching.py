"""Putting our function in the place of a project's own, and theirs back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ganfast.compat import cleanfid, pytorch_fid, torch_fidelity, torchmetrics
from ganfast.compat.project import Project
from ganfast.errors import InputError

log = logging.getLogger(__name__)

PROJECTS = {
    module.PROJECT.name: module.PROJECT
    for module in (pytorch_fid, torch_fidelity, cleanfid, torchmetrics)
}
_originals: dict[str, Callable[..., Any]] = {}  # by project: what `patch` took out


class Replaced(NamedTuple):
    """What ``patch`` replaced: the project, its version, and the function with its module."""

    project: str
    version: str
    function: str


def patch(*names: str) -> tuple[Replaced, ...]:
    """Replace the Fréchet distance of the named projects by ours; without names, of all installed.

    Names are those that one imports (``pytorch_fid``) or installs (``pytorch-fid``). The signature
    and the type of what is returned stay as they were. Every module of the project that holds the
    function gets ours; a copy that your own code took before (``from pytorch_fid.fid_score import
    calculate_frechet_distance``) stays as it is, so patch first.

    Returns one record for each function that this call replaced, and logs a line for each: a
    project that is patched already is left alone, and has no record.

    Raises ImportError for a project that is not installed or cannot be imported, RuntimeError for a
    version whose function is not the one we know, and then nothing is patched.
    """
    projects = _named(names) if names else [p for p in PROJECTS.values() if p.installed()]
    # Every project is checked before the first is changed: all of them or none.
    found = [(project, project.find()) for project in projects]
    return tuple(
        _replace(project, theirs) for project, theirs in found if theirs is not project.replacement
    )


def unpatch(*names: str) -> None:
    """Give the named projects their own function back, the very same object; without names, all."""
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
    for name in names:
        if name not in known:
            raise InputError(f"unknown project {name!r}: known are {', '.join(PROJECTS)}")
    return list(dict.fromkeys(known[name] for name in names))
