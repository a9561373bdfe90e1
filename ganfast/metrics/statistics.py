"""Mean and covariance of a set of images, and how they were made."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast.errors import InputError
from ganfast.metrics.arrays_file import ArraysFile, save_arrays
from ganfast.metrics.summary import Moments

_ASYMMETRY = 1e-5
"""Relative to the largest entry: files of other tools were often computed in float32."""


_FACTS = ("n", "extractor", "protocol", "precision", "version", "layer")
"""What a file says beside mu and sigma, where it is known."""

_SPATIAL = ("mu_s", "sigma_s")


@dataclass(frozen=True, eq=False)
class Statistics:
    """What FID needs of one side: ``mu`` (d,) and ``sigma`` (d, d), both float64 on the CPU.

    ``mu_s`` and ``sigma_s`` are those of the features of sFID, under the names that ADM's reference
    files have for them; None where they were not made.

    The other fields say how they were made and are None where that is not known, as in the files of
    pytorch-fid, clean-fid and edm, which hold mu and sigma alone: ``n`` images, ``extractor`` (the
    identity: a hash of architecture and weights), ``protocol`` (of preprocessing), ``precision``
    (of the network), ``layer`` (of the Inception network, by its number of features) and
    ``version`` (of ganfast). ``skipped`` names the files that could not be
    read when these were made, and ``notes`` says why and what else to know; ``features`` opens, of
    a file of features, the rows (n, d), a tensor or what slices can be taken of. These are not kept
    in the file.

    Raises:
        ValueError: (an InputError) a shape or dtype that doesn't fit, values that are not finite,
            or a sigma that is no covariance.
    """

    mu: Tensor
    sigma: Tensor
    n: int | None = None
    extractor: str | None = None
    protocol: str | None = None
    precision: str | None = None
    version: str | None = None
    skipped: tuple[str, ...] = ()
    layer: int | None = None
    notes: tuple[str, ...] = ()
    mu_s: Tensor | None = None
    sigma_s: Tensor | None = None
    features: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        wrong = fault(self.mu, self.sigma)
        if not wrong and self.mu_s is not None and self.sigma_s is not None:
            wrong = fault(self.mu_s, self.sigma_s, _SPATIAL)
        if not wrong and (self.mu_s is None) != (self.sigma_s is None):
            wrong = "got one of mu_s and sigma_s; give both, or none"
        if wrong:
            raise InputError(f"statistics: {wrong}")
        for name, array in self._arrays().items():
            value = array.detach().to("cpu", torch.float64).contiguous()
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        known = {name: value for name, value in self._facts().items() if value is not None}
        return f"Statistics(dim={self.dim}, {', '.join(f'{k}={v!r}' for k, v in known.items())})"

    @property
    def dim(self) -> int:
        return len(self.mu)

    @property
    def spatial(self) -> Statistics | None:
        """Of the features of sFID, if there are any."""
        if self.mu_s is None or self.sigma_s is None:
            return None
        return Statistics(self.mu_s, self.sigma_s, n=self.n)

    @classmethod
    def from_moments(
        cls,
        moments: Moments,
        *,
        spatial: Moments | None = None,
        extractor: str | None = None,
        protocol: str | None = None,
        precision: str | None = None,
        layer: int | None = None,
        skipped: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> Statistics:
        """Of at least two images; the covariance divides by n - 1."""
        if moments.count < 2:
            raise InputError(f"statistics: got {moments.count} images; give at least 2 images")
        return cls(
            mu=moments.mean,
            sigma=moments.covariance,
            n=moments.count,
            extractor=extractor,
            protocol=protocol,
            precision=precision,
            version=version_of("ganfast"),
            skipped=tuple(skipped),
            notes=tuple(notes),
            layer=layer,
            mu_s=None if spatial is None else spatial.mean,
            sigma_s=None if spatial is None else spatial.covariance,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz that np.load, and with it pytorch-fid and its kin, can read.

        It holds ``mu`` and ``sigma`` in float64, ``mu_s`` and ``sigma_s`` where they were made, the
        fields that are known as arrays without axes, and ``sha256``, a hash of all that. The file
        is there whole or not at all.

        Raises:
            ValueError: (an InputError) another ending than .npz, by which other tools tell
                statistics from images, or a place that can't be written.
        """
        if Path(path).suffix.lower() != ".npz":
            raise InputError(f"path: got {str(path)!r}; give one that ends in .npz")
        known = {name: value for name, value in self._facts().items() if value is not None}
        save_arrays(
            path,
            "statistics",
            {
                **{name: array.numpy() for name, array in self._arrays().items()},
                **{name: np.array(value) for name, value in known.items()},
                "sha256": np.array(self._content_hash()),
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Statistics:
        """Read what ``save`` wrote, or any .npz with a ``mu`` and a ``sigma`` of floating dtype.

        Nothing in the file is executed.

        Raises:
            ValueError: (an InputError of one line that names the file) it is missing, damaged,
                changed since it was written, or holds something else.
        """
        with ArraysFile(path, "statistics", "a statistics file") as file:
            absent = [name for name in ("mu", "sigma") if name not in file]
            if absent:
                there = ", ".join(file.names[:8]) or "none"
                raise file.refusal(f"it has no {' and no '.join(absent)}; its entries are: {there}")
            present = ("mu", "sigma", *(_SPATIAL if set(_SPATIAL) <= set(file.names) else ()))
            arrays = {name: file[name] for name in present}
            for name, array in arrays.items():
                if array.dtype.kind != "f":
                    raise file.refusal(f"its {name} is of {array.dtype}, not of floats")
            facts: dict[str, Any] = {
                name: torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
                for name, array in arrays.items()
            }
            for names in [("mu", "sigma"), _SPATIAL][: len(facts) // 2]:
                wrong = fault(facts[names[0]], facts[names[1]], names)
                if wrong:
                    raise file.refusal(wrong)
            for name in _FACTS:
                if name in file:
                    facts[name] = _fact(file, name)
            read = cls(**facts)
            if "sha256" in file and _fact(file, "sha256") != read._content_hash():
                raise file.refusal(
                    "its content is not what was written (the hash differs): make it anew"
                )
            return read

    def check_comparable(
        self,
        other: Statistics | None = None,
        *,
        extractor: str | None = None,
        protocol: str | None = None,
        precision: str | None = None,
        allow_mismatch: bool = False,
    ) -> list[str]:
        """Whether a distance to ``other``, or to features made as the arguments say, has a meaning.

        Returns:
            sentences for the report: on what is not known, on a precision that differs (a small
            effect), and with ``allow_mismatch`` on what else differs.

        Raises:
            ValueError: (an InputError) extractor or protocol differ, or the numbers of features
                (whatever ``allow_mismatch``).
        """
        theirs = {"extractor": extractor, "protocol": protocol, "precision": precision}
        if other is not None:
            if other.dim != self.dim:
                raise InputError(
                    f"statistics: got {self.dim} features on one side and {other.dim} on the "
                    "other; use the same extractor, and the same layer of it (--dims), for both"
                )
            theirs = {name: getattr(other, name) for name in theirs}
        notes, unknown = [], []
        for name, value in theirs.items():
            own = getattr(self, name)
            if own is None or value is None:
                unknown.append(name)
            elif own != value:
                sentence = f"The sides differ in {name}: {_short(own)} against {_short(value)}."
                if name != "precision" and not allow_mismatch:
                    raise InputError(
                        f"the sides differ in {name} ({_short(own)} against {_short(value)}), so "
                        "their distance means nothing; make both with the same, or give "
                        "--allow-mismatch (allow_mismatch=True) to compute it all the same"
                    )
                notes.append(sentence)
        if unknown:
            notes.append(
                f"The statistics don't say with which {', '.join(unknown)} they were made; that it "
                "is the same on both sides is taken on trust."
            )
        return notes

    def _arrays(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        arrays = {name: getattr(self, name) for name in ("mu", "sigma", *_SPATIAL)}
        return {name: array for name, array in arrays.items() if array is not None}

    def _facts(self) -> dict[str, Any]:
        facts = {name: getattr(self, name) for name in _FACTS}
        if self.layer is None:  # as in files from before there was one, whose hash has none
            del facts["layer"]
        return facts

    def _content_hash(self) -> str:
        content = hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode())
        for x in self._arrays().values():
            content.update(np.ascontiguousarray(x.numpy(), dtype="<f8").data)
        return content.hexdigest()


def fault(mu: Tensor, sigma: Tensor, names: tuple[str, str] = ("mu", "sigma")) -> str | None:
    """What is wrong with these moments."""
    first, second = names
    if mu.dim() != 1 or not len(mu) or tuple(sigma.shape) != (len(mu), len(mu)):
        return (
            f"got {first} of shape {tuple(mu.shape)} and {second} of shape {tuple(sigma.shape)}; "
            "give (d,) and (d, d)"
        )
    for name, x in ((first, mu), (second, sigma)):
        if not x.is_floating_point():
            return f"got {name} of {x.dtype}; give floats"
        if not bool(torch.isfinite(x).all()):
            return f"got NaN or inf in {name}"
    largest = float(sigma.abs().max())
    off = float((sigma - sigma.T).abs().max())
    if off > _ASYMMETRY * largest:
        return f"{second} is not symmetric: an entry differs from its mirror by {off:.3g}"
    if float(sigma.diagonal().min()) < -_ASYMMETRY * largest:
        return f"{second} has a negative variance, {float(sigma.diagonal().min()):.3g}"
    return None


def _fact(file: ArraysFile, name: str) -> int | str:
    value = file[name]
    number = name in ("n", "layer")
    if value.shape != () or value.dtype.kind not in ("iu" if number else "U"):
        raise file.refusal(f"its {name} is not one {'number' if number else 'word'}")
    return int(value) if number else str(value)


def _short(value: str) -> str:
    """A hash by its first digits, which are enough to tell two apart."""
    return value if len(value) <= 24 else f"{value[:12]}..."


def version_of(package: str) -> str | None:
    """None if it is not installed, as a tree on the path isn't."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
