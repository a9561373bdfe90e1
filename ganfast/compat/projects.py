"""The projects that patch knows: where each keeps its function, and what takes its place."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch

from ganfast.compat import replacements
from ganfast.errors import one_line


@dataclass(frozen=True, eq=False)
class Place:
    """One function of a project, and ours."""

    home: str  # the module that has the function
    replacement: Callable[..., Any]  # has the function's signature
    example: tuple[Any, ...]  # small arguments, on which theirs and ours must agree
    function: str = ""  # its name; that of the replacement if not given
    owner: str = ""  # the class whose method it is
    needs: tuple[str, ...] = ()  # other names of `home` that the replacement uses
    any_signature: bool = False  # the replacement takes what any version of theirs took

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", self.function or self.replacement.__name__)

    @property
    def full_name(self) -> str:
        return ".".join(filter(None, (self.home, self.owner, self.function)))


@dataclass(frozen=True, eq=False)
class Project:
    """A project, by the name that one imports and the name that one installs."""

    name: str
    distribution: str
    places: tuple[Place, ...]
    """Versions differ: those of them that exist are replaced, and one must."""
    command: str = ""
    """The module that is its command line, if it has one."""
    only_by_name: bool = False

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

    def find(self) -> dict[Place, Callable[..., Any]]:
        """Their function (or ours, if it is in place) of each place that this version has, once it
        is sure to be the one we know.
        """
        if not self.installed():
            raise ImportError(
                f"{self.distribution} is not installed: pip install {self.distribution}",
                name=self.name,
            )
        found, missing = {}, []
        for place in self.places:
            try:
                found[place] = self._function(place)
            except LookupError as error:
                missing.append(error.args[0])
        if not found:
            raise self._unknown("; ".join(missing))
        for place, function in found.items():
            if function is not place.replacement:
                self._check(place, function)
        return found

    def rebind(self, place: Place, old: Callable[..., Any], new: Callable[..., Any]) -> list[str]:
        """Put ``new`` wherever a module of the project holds ``old``; the names of those places.

        ``from x import y`` copies the name: replacing it at home alone would miss the copies.
        """
        if place.owner:
            setattr(getattr(sys.modules[place.home], place.owner), place.function, new)
            return [place.full_name]
        held = []
        for name, module in sorted(sys.modules.items()):
            if name != self.name and not name.startswith(self.name + "."):
                continue
            for attribute, value in list(getattr(module, "__dict__", {}).items()):
                if value is old:
                    setattr(module, attribute, new)
                    held.append(f"{name}.{attribute}")
        return held

    def _function(self, place: Place) -> Any:
        """What stands at the place; LookupError if this version has none."""
        try:
            module = importlib.import_module(place.home)
        except Exception as error:  # torchvision, which most of these import, raises RuntimeError
            absent = f"{getattr(error, 'name', None)}."
            if isinstance(error, ModuleNotFoundError) and f"{place.home}.".startswith(absent):
                raise LookupError(f"it has no module {place.home}") from error
            raise ImportError(
                f"{self.label()} is installed but cannot be imported: {one_line(error)}",
                name=self.name,
            ) from error
        owner = getattr(module, place.owner, None) if place.owner else module
        found = vars(owner).get(place.function) if owner is not None else None
        if found is None:
            absent = ".".join(filter(None, (place.owner, place.function)))
            raise LookupError(f"{place.home} has no {absent}")
        for need in place.needs:
            if not hasattr(module, need):
                raise LookupError(f"{place.home} has no {need}")
        return found

    def _check(self, place: Place, function: Any) -> None:
        origin = getattr(function, "__module__", None) or "an unknown module"
        if not isinstance(function, FunctionType) or origin.split(".")[0] != self.name:
            raise self._unknown(
                f"{place.full_name} is not its own function: it comes from {origin}"
            )
        theirs, ours = _parameters(function), _parameters(place.replacement)
        if theirs != ours and not place.any_signature:
            raise self._unknown(f"{place.full_name} takes ({_shown(theirs)}), not ({_shown(ours)})")
        self._compare(place, function)

    def _compare(self, place: Place, theirs: Callable[..., Any]) -> None:
        """The same signature may hide another meaning: try both on the example."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = theirs(*place.example)
        except Exception as error:
            if isinstance(error, TypeError) and "disp" in str(error):
                return  # SciPy 1.18 drops that argument of sqrtm: the very thing that we mend
            raise self._unknown(f"{place.full_name} fails on a small example: {error!r}") from error
        answered = place.replacement(*place.example)
        if not _alike(expected, answered):
            raise self._unknown(
                f"{place.full_name} answers {expected!r} to a small example, not {answered!r}"
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
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-6, atol=0)


_TENSORS = tuple(map(torch.from_numpy, replacements.EXAMPLE))
_MU1, _SIGMA1, _MU2, _SIGMA2 = _TENSORS

PROJECTS = {
    project.name: project
    for project in (
        Project(
            name="pytorch_fid",
            distribution="pytorch-fid",
            command="pytorch_fid",
            places=(
                Place(
                    home="pytorch_fid.fid_score",
                    replacement=replacements.calculate_frechet_distance,
                    example=replacements.EXAMPLE,
                ),
            ),
        ),
        Project(
            name="torch_fidelity",
            distribution="torch-fidelity",
            command="torch_fidelity.fidelity",
            places=(
                Place(
                    home="torch_fidelity.metric_fid",
                    replacement=replacements.fid_statistics_to_metric,
                    example=replacements.fidelity_example(),
                    needs=("KEY_METRIC_FID", "vprint"),
                ),
            ),
        ),
        Project(
            name="cleanfid",
            distribution="clean-fid",
            places=(
                Place(
                    home="cleanfid.fid",
                    replacement=replacements.frechet_distance,
                    example=replacements.EXAMPLE,
                ),
            ),
        ),
        Project(
            name="torchmetrics",
            distribution="torchmetrics",
            places=(
                Place(
                    home="torchmetrics.image.fid",
                    replacement=replacements._compute_fid,
                    example=_TENSORS,
                ),
            ),
        ),
        Project(
            name="monai",
            distribution="monai",
            places=(
                Place(
                    home="monai.metrics.fid",
                    replacement=replacements.compute_frechet_distance,
                    example=_TENSORS,
                ),
            ),
        ),
        Project(
            name="ignite",
            distribution="pytorch-ignite",
            places=(
                Place(
                    home="ignite.metrics.gan.fid",
                    replacement=replacements.fid_score,
                    example=(_MU1, _MU2, _SIGMA1, _SIGMA2),
                ),
            ),
        ),
        Project(
            name="piq",
            distribution="piq",
            places=(
                Place(
                    home="piq.fid",
                    replacement=replacements.compute_fid_of_piq,
                    function="_compute_fid",
                    example=_TENSORS,
                ),
            ),
        ),
        Project(
            name="torcheval",
            distribution="torcheval",
            places=(
                Place(  # 0.0.7 and before
                    home="torcheval.metrics.image.fid",
                    owner="FrechetInceptionDistance",
                    replacement=replacements._calculate_frechet_distance,
                    example=(None, *_TENSORS),
                ),
                Place(  # since
                    home="torcheval.metrics.functional.frechet",
                    replacement=replacements.gaussian_frechet_distance,
                    example=_TENSORS,
                ),
            ),
        ),
        Project(
            name="scipy",
            distribution="scipy",
            only_by_name=True,
            places=(
                Place(
                    home="scipy.linalg",
                    replacement=replacements.sqrtm,
                    example=(replacements.EXAMPLE[1],),
                    any_signature=True,
                ),
            ),
        ),
    )
}
