"""Putting our function in the place of a project's own, once it is sure to be the one we know."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ganfast._checks import one_of
from ganfast.compat.projects import PROJECTS, Place, Project
from ganfast.compat.replacements import theirs
from ganfast.errors import one_line

log = logging.getLogger(__name__)

_originals: dict[Place, Callable[..., Any]] = {}  # what patch took out


class Replaced(NamedTuple):
    """What patch replaced: the project, its version, and the function with its module."""

    project: str
    version: str
    function: str


def patch(*names: str) -> tuple[Replaced, ...]:
    """Replace the Fréchet distance of the named projects.

    The signature and the type of what it returns stay as they were. Every module of the project
    that holds the function gets ours; a copy that your own code took before (``from
    pytorch_fid.fid_score import calculate_frechet_distance``) stays as it is, so patch first.

    Without names: of all projects that are installed. One that cannot be imported, because
    something that it needs is missing or broken, is then left out, with a warning in the log. SciPy
    is patched by name alone: it is no project with a distance, but ``patch("scipy")`` gives
    ``scipy.linalg.sqrtm`` back the argument ``disp``, for scripts that hold the distance
    themselves.

    Args:
        names: as one imports them (``pytorch_fid``) or installs them (``pytorch-fid``).

    Returns:
        One record for each function that this call replaced; each is logged, too. A project that is
        already patched is left alone and has no record.

    Raises:
        InputError: an unknown name.
        ImportError: a named project that is not installed or cannot be imported.
        RuntimeError: a version whose function is not the one we know. In every case nothing is
            patched.
    """
    # Every project is checked before the first is changed: all of them or none.
    found = {project: project.find() for project in named(names)} if names else _find_installed()
    return tuple(
        _replace(project, place, function)
        for project, functions in found.items()
        for place, function in functions.items()
        if function is not place.replacement
    )


def unpatch(*names: str) -> None:
    """Give the named projects (without names: all) their own function back, the very same object.

    Raises:
        InputError: an unknown name.
    """
    for project in named(names) if names else list(PROJECTS.values()):
        for place in project.places:
            original = _originals.pop(place, None)
            if original is not None:
                project.rebind(place, place.replacement, original)
                log.info("%s: %s is its own again", project.label(), place.function)


@contextmanager
def patched(*names: str) -> Iterator[tuple[Replaced, ...]]:
    """``patch`` for a while; on leaving, what was patched before stays patched."""
    replaced = patch(*names)
    try:
        yield replaced
    finally:
        if replaced:  # unpatch() would undo everything
            unpatch(*(record.project for record in replaced))


def named(names: tuple[str, ...]) -> list[Project]:
    """The projects in the order given, each once."""
    known = {alias: p for p in PROJECTS.values() for alias in (p.name, p.distribution)}
    return list(dict.fromkeys(known[one_of("project", name, known)] for name in names))


def _find_installed() -> dict[Project, dict[Place, Callable[..., Any]]]:
    found = {}
    for project in PROJECTS.values():
        if project.only_by_name or not project.installed():
            continue
        try:
            found[project] = project.find()
        except ImportError as error:
            log.warning("not patched: %s", one_line(error))
    return found


def _replace(project: Project, place: Place, function: Callable[..., Any]) -> Replaced:
    _originals[place] = theirs[project.name] = function
    held = project.rebind(place, function, place.replacement)
    log.info("%s: %s is now ganfast's, in %s", project.label(), place.function, ", ".join(held))
    return Replaced(project.name, project.version(), place.full_name)
