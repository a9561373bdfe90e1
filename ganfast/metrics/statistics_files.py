"""Statistics and features in the files of other tools, read without running what is in them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfast import _checks
from ganfast._remote import Location, RemoteError, is_url, name_of, shown
from ganfast.errors import InputError, one_line
from ganfast.metrics.arrays_file import ArraysFile
from ganfast.metrics.images.arrays import BAD_ZIP, FileRows, npy_rows, npz_members
from ganfast.metrics.images.lists import is_pattern
from ganfast.metrics.statistics import Statistics, fault
from ganfast.metrics.summary import Moments

PAIRS = (("mu", "sigma"), ("mean", "cov"), ("mean", "covariance"), ("m2", "s2"), ("m", "s"))
"""What mean and covariance are called: pytorch-fid and its kin, chainer-gan-lib,
denoising-diffusion-pytorch."""

FEATURES = ("pool_3", "features", "feats", "activations")
"""What features (n, d) are called: score_sde, clean-fid; the only array needs no name."""

PIECE = 4096
"""Features of a file that are in memory at once."""

PICKLES = (".pkl", ".pickle", ".joblib")


def statistics_at(source: Any) -> Statistics | None:
    """The statistics that the file ``source`` holds, or those of the features in it; None if it is
    no path, or holds neither.

    Of a .npz: mean and covariance under one of PAIRS, or floats (n, d); of a .npy: floats (n, d),
    or a dict with a pair; of a .pt, as torch-fidelity caches it: a tensor (n, d), or such a dict.

    Raises:
        InputError: it holds them and they can't be used, or it is a pickle.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = _checks.place("source", source)
    kind = os.path.splitext(name_of(path))[1].lower()
    if is_pattern(path) if is_url(path) else not os.path.isfile(path):
        return None
    if kind == ".npz":
        return _of_npz(path)
    if kind == ".npy":
        return _of_npy(path)
    if kind in (".pt", ".pth"):
        return _of_torch(path)
    if kind in PICKLES:
        raise _refusal(
            path,
            "it is a pickle, which can run any code when it is read; load it where you trust it, "
            "and write its statistics by np.savez(path, mu=..., sigma=...)",
        )
    return None


def _of_npz(path: str) -> Statistics | None:
    place = Location(path)
    try:
        names = npz_members(place)
        if {"mu", "sigma"} <= set(names):
            return Statistics.load(path)
        pair = next((pair for pair in PAIRS if set(pair) <= set(names)), None)
        if pair is not None:
            with ArraysFile(path, "statistics", "a statistics file") as file:
                return _of_pair(path, {name: file[name] for name in pair})
        name = next((name for name in FEATURES if name in names), None)
        if name is None and len(names) == 1:
            (name,) = names
        if name is None:
            return None
        opened = partial(FileRows, place, names[name])
        rows = opened()
    except BAD_ZIP as error:
        if isinstance(error, InputError):
            raise
        return None  # open_images says what is wrong with it
    if not _are_features(rows) or rows.fortran_order:
        return None
    return _of_features(path, rows, opened)


def _of_npy(path: str) -> Statistics | None:
    place = Location(path)
    try:
        with place.open() as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(file)
            else:
                header = np.lib.format.read_array_header_2_0(file)
            held = _Arrays(file).load() if header[2].hasobject else None
        rows: Any = None
        remote = is_url(path)
        opened = partial(FileRows, place) if remote else partial(npy_rows, place, "statistics")
        if held is None:
            rows = opened()
    except pickle.UnpicklingError as error:
        raise _refusal(path, f"it is a pickle of more than arrays: {one_line(error)}") from None
    except (OSError, ValueError, EOFError):
        return None
    if rows is not None:
        return _of_features(path, rows, opened) if _are_features(rows) else None
    held = held.item() if isinstance(held, np.ndarray) and held.ndim == 0 else held
    return _of_mapping(path, held)


class _Arrays(pickle.Unpickler):
    """Reads a pickle of plain objects and arrays; anything else, which could run code, is refused
    before it does."""

    def find_class(self, module: str, name: str) -> Any:
        wanted = module.replace("numpy._core", "numpy.core"), name
        if wanted == ("numpy.core.multiarray", "_reconstruct"):
            return _reconstruct()
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _reconstruct() -> Any:
    """What NumPy pickles arrays with; its module has no public name."""
    return np.zeros(1).__reduce__()[0]


def _of_torch(path: str) -> Statistics | None:
    safe = [np.ndarray, np.dtype, _reconstruct()]
    safe += [type(np.dtype(x)) for x in (np.float64, np.float32, np.float16, np.int64)]
    names = [(safe[2], f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals([*safe, *names]):
            held = torch.load(Location(path).source(), map_location="cpu", weights_only=True)
    except (InputError, FileNotFoundError, RemoteError) as error:
        raise InputError(f"statistics: {shown(one_line(error))}") from None
    except Exception as error:  # whatever a damaged or hostile file leads to
        reason = one_line(error).split(". ")[0]
        raise _refusal(
            path,
            f"it can't be read as tensors and arrays alone ({reason[:200]}); save a dict with mu "
            "and sigma, or a tensor (n, d) of features",
        ) from None
    if isinstance(held, (Tensor, np.ndarray)) and _are_features(held):
        return _of_features(path, held, lambda: held)
    return _of_mapping(path, held)


def _of_mapping(path: str, held: Any) -> Statistics:
    if isinstance(held, Mapping):
        pair = next((pair for pair in PAIRS if set(pair) <= set(held)), None)
        if pair is not None:
            return _of_pair(path, {name: held[name] for name in pair})
        keys = ", ".join(map(str, list(held)[:8])) or "none"
        held = f"a dict with the keys {keys}"
    else:
        held = f"an object of type {type(held).__name__}"
    raise _refusal(path, f"it holds {held}; give a dict with mu and sigma, or features (n, d)")


def _of_pair(path: str, arrays: Mapping[str, Any]) -> Statistics:
    try:
        mu, sigma = (
            value if isinstance(value, Tensor) else torch.from_numpy(_native(np.asarray(value)))
            for value in arrays.values()
        )
    except (TypeError, ValueError) as error:
        raise _refusal(path, f"its {' or '.join(arrays)} is no array: {one_line(error)}") from None
    wrong = fault(mu, sigma)
    if wrong:
        raise _refusal(path, wrong)
    return Statistics(mu, sigma)


def _are_features(rows: Any) -> bool:
    floats = rows.is_floating_point() if isinstance(rows, Tensor) else rows.dtype.kind == "f"
    return floats and len(rows.shape) == 2


def _of_features(path: str, rows: Any, opened: Callable[[], Any]) -> Statistics:
    count, dim = rows.shape
    if count < 2 or not dim:
        raise _refusal(path, f"got features of shape ({count}, {dim}); give at least 2 rows")
    moments = Moments(dim)
    try:
        for part in feature_pieces(rows):
            moments.update(part)
    except InputError as error:  # NaN or inf
        raise _refusal(path, str(error)) from None
    return Statistics(moments.mean, moments.covariance, n=count, features=opened)


def feature_pieces(rows: Any) -> Iterator[Tensor]:
    """The features (n, d) of a tensor, of an array or of a file, which is closed then, so many at a
    time as memory has for sure."""
    try:
        for start in range(0, rows.shape[0], PIECE):
            part = rows[start : start + PIECE]
            yield part if isinstance(part, Tensor) else torch.from_numpy(_native(part))
    finally:
        if isinstance(rows, FileRows):
            rows.close()


def _native(part: Any) -> Any:
    """A copy in the machine's byte order that may be written to, as torch wants it."""
    return np.array(part, dtype=part.dtype.newbyteorder("="))


def _refusal(path: str, reason: str) -> InputError:
    return InputError(f"statistics: {shown(path)!r} can't be used as a statistics file: {reason}")
