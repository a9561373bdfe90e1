"""The published weights of the FID Inception network: found, fetched, checked, read."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ganfast import _checks
from ganfast._remote import fetched, is_url, shown
from ganfast.errors import InputError, one_line
from ganfast.metrics.inception.download import DownloadError, download
from ganfast.metrics.inception.network import expected_state

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BYTES = 95_628_359
URLS = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
)
"""The same bytes at each; the first one's name is what a download is kept under."""


@dataclass(frozen=True)
class Weights:
    """``state``: the float32 tensors of ``expected_state()`` by name; ``path``: where they were
    read, a URL as text; ``published``: whether that file is the published one, byte for byte."""

    state: dict[str, Tensor]
    path: Path | str
    published: bool


def load_weights(path: str | os.PathLike[str] | None = None, *, progress: bool = False) -> Weights:
    """The weights in ``path`` (a URL too), else those in torch hub's cache, else from the network.

    A file that the user names may hold other weights, as long as every name and shape is that of
    the network; from the cache and the network only the published file is taken. Nothing in a file
    is executed. ``.safetensors`` is read where safetensors is installed.

    Raises:
        ValueError: (an InputError of one line) a file that is not what it should be, or weights
            that can be neither found nor downloaded.
    """
    if path is not None:
        given = _checks.place("weights", path)
        return _read_at(given) if is_url(given) else _read(Path(given))
    cached = find_weights()
    return _read(_fetched(progress) if cached is None else cached)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def weights_folder() -> Path:
    """Torch hub's cache, where the weights are looked for and a download is put."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _names() -> list[str]:
    return [url.rsplit("/", 1)[-1] for url in URLS]


def find_weights() -> Path | None:
    """The first file of either name in torch hub's cache that is the published one."""
    for name in _names():
        path = weights_folder() / name
        if path.is_file() and file_sha256(path) == SHA256:
            return path
    return None


def _fetched(progress: bool) -> Path:
    path = weights_folder() / _names()[0]
    try:
        download(URLS, path, sha256=SHA256, size=BYTES, progress=progress)
    except (DownloadError, InputError, OSError) as error:
        raise InputError(
            f"weights: the FID Inception weights are not on this machine and could not be fetched "
            f"({one_line(error)}); get {URLS[0]} ({BYTES:,} bytes, sha256 {SHA256}) and put it at "
            f"{path}, "
            f"or name it with --weights PATH (weights=PATH)"
        ) from None
    return path


def _read_at(url: str) -> Weights:
    """Those at a URL, of which a copy is kept no longer than it takes to read it."""
    try:
        with fetched(url) as copy:
            try:
                return replace(_read(Path(copy)), path=shown(url))
            except InputError as error:
                raise InputError(str(error).replace(copy, shown(url))) from None
    except OSError as error:
        raise InputError(f"weights: cannot read {shown(url)!r}: {one_line(error)}") from None


def _read(path: Path) -> Weights:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"weights: {path}: {what}; give the file of the FID Inception weights")
    published = file_sha256(path) == SHA256
    state = _load(path)
    expected = expected_state()
    state = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    wrong = _differences(state, expected)
    if wrong:
        raise InputError(
            f"weights: {path} does not hold the FID Inception network: {wrong}; "
            f"the published file is {URLS[0]}"
        )
    return Weights({name: state[name].float() for name in expected}, path, published)


def _load(path: Path) -> Mapping[str, Tensor]:
    """What the file maps names to, all of it tensors."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of old formats: they load or they don't
                state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise InputError(
            f"weights: {path} needs the safetensors package; pip install safetensors"
        ) from None
    except RuntimeError as error:
        if "TorchScript" not in str(error):
            raise _no_tensors(path, error) from None
        raise InputError(
            f"weights: {path} is a TorchScript program, as StyleGAN, clean-fid and StudioGAN use; "
            f"give the file of the weights, {URLS[0]}"
        ) from None
    # A damaged file fails in its own way at every byte; no failure is another one's fault.
    except Exception as error:
        raise _no_tensors(path, error) from None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(
            f"weights: {path} holds a {type(state).__name__}; give a state_dict of tensors"
        )
    return state


def _no_tensors(path: Path, error: Exception) -> InputError:
    # torch.load's own words for it are a page on how to run what the file says.
    refused = isinstance(error, pickle.UnpicklingError)
    why = "torch.load reads nothing but tensors here" if refused else one_line(error)[:120]
    return InputError(
        f"weights: {path} ({path.stat().st_size:,} bytes; the published file has {BYTES:,}) is "
        f"no file of tensors, or a part of one: {why}"
    )


def _differences(state: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> str:
    """What keeps ``state`` from being ``expected``; empty where nothing does."""
    missing = [name for name in expected if name not in state]
    unknown = [str(name) for name in state if name not in expected]
    shared = [name for name in expected if name in state]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(expected[name])}"
        for name in shared
        if state[name].shape != expected[name]
    ]
    values = [
        name
        for name in shared
        if not state[name].is_floating_point() or not bool(state[name].isfinite().all())
    ]
    faults = (("missing", missing), ("unknown", unknown), ("shape", shapes), ("not finite", values))
    return "; ".join(f"{what}: {_some(names)}" for what, names in faults if names)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
