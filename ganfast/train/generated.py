"""Samples of a run that has ended, or that goes on: from its folder, to files or to an
evaluation."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from ganfast import _checks, _room
from ganfast._atomic_file import path_beside, require_writable, write_atomically
from ganfast._terminal import Progress
from ganfast.errors import InputError
from ganfast.metrics.images.arrays import ArrayImages
from ganfast.metrics.images.source import fingerprint
from ganfast.train import checkpoint, networks, pictures
from ganfast.train.config import TrainConfig
from ganfast.train.environment import need
from ganfast.train.players import grow
from ganfast.train.recipe import Recipe
from ganfast.train.watch.patience import best_of

BATCH = 256
OTHER_FILES = (".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".npy", ".pt", ".zip")
"""Ends of names that nobody gives to a folder."""


def generator_of(
    folder: str | Path, *, last: bool = False, name: str = "run"
) -> tuple[nn.Module, Recipe, tuple[int, ...]]:
    """The average generator of the run in ``folder``, on the CPU in eval mode, its recipe and the
    shape of a sample: the weights that the watch found best, or the ``last`` ones, as where
    nothing watched.

    Raises:
        InputError: there is no run, or its generator is one of the user's own.
    """
    place = _checks.path(name, folder)
    tensors, facts = checkpoint.load(checkpoint.located(place)[1], name)
    # Here nothing is measured, wherever the run was and whatever its best is by.
    config = TrainConfig(**{**facts["config"], "device": "cpu", "best_by": "distance"})
    shape = tuple(facts["shape"])
    recipe = config.recipe(points=len(shape) == 1)
    generator, _ = networks.build(shape, recipe.latent_dim, config.width, 0, **recipe.of_networks)
    best = {} if last else checkpoint.under("best", tensors)
    watched = facts["watch"] if best else {}
    step = watched["steps"][best_of(watched["distances"]) or 0] if best else facts["step"]
    grow(step, recipe, generator)
    try:
        generator.load_state_dict(best or checkpoint.under("average", tensors))
    except RuntimeError:
        raise InputError(
            f"{name}: got {str(place)!r}, whose generator is not one of ganfast's; draw from it in "
            "Python, by the run that train() returned"
        ) from None
    return generator.eval().requires_grad_(False), recipe, shape


class Generated:
    """``n`` samples of the run in ``folder`` as rows that are made when they are asked for, the
    same for the same ``seed``: images (n, channels, side, side) uint8, points (n, 2) float32. With
    ``interpolate`` each sample becomes as many rows, on the way to the next one."""

    def __init__(
        self, folder: str | Path, n: int, *, seed: int = 0, last: bool = False, name: str = "run",
        interpolate: int = 0,
    ) -> None:  # fmt: skip
        self._generator, self._recipe, shape = generator_of(folder, last=last, name=name)
        self.columns = interpolate or None
        self.shape = (n * (interpolate or 1), *shape)
        self.dtype = torch.uint8 if len(shape) == 3 else torch.float32
        # The way between samples is computed in float64, with some arrays beside it.
        noise = len(self) * self._recipe.latent_dim * (40 if interpolate else 4)
        _room.require_memory(name, f"the noise of {len(self):,} samples", noise)
        random = torch.Generator().manual_seed(seed)
        self._noise = torch.randn((n, self._recipe.latent_dim), generator=random)
        if interpolate:
            self._noise = on_the_way(self._noise, interpolate)

    def __len__(self) -> int:
        return self.shape[0]

    @torch.no_grad()
    def __getitem__(self, which: Any) -> Tensor:
        samples: Tensor = self._generator(self._noise[which])
        if self.dtype != torch.uint8:
            return samples
        unit = (samples + 1) / 2 if self._recipe.input_range == "tanh" else samples
        return unit.mul(255).round().clamp(0, 255).to(torch.uint8)

    def batches(self) -> Iterator[Tensor]:
        """All rows, ``BATCH`` at a time."""
        return (self[i : i + BATCH] for i in range(0, len(self), BATCH))


def on_the_way(noise: Tensor, steps: int) -> Tensor:
    """From each row of ``noise`` (n, d) to the next one, and from the last to the first, ``steps``
    rows along the great circle (White 2016, arXiv:1609.04468): a straight line would pass through
    lengths that a Gaussian as good as never has. (n * steps, d), float32."""
    a = noise.double()
    b = a.roll(-1, dims=0)
    cosine = nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1)
    angle = cosine.acos().clamp_min(1e-6).view(-1, 1, 1)  # of like directions: a straight line
    t = (torch.arange(steps, dtype=a.dtype) / steps).view(1, -1, 1)
    a, b = a.unsqueeze(1), b.unsqueeze(1)
    rows = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return rows.flatten(0, 1).to(noise.dtype)


def run_images(folder: str, n: int, name: str) -> ArrayImages:
    """``n`` images of the run in ``folder``, for an evaluation; ``name`` is what messages call it.

    Raises:
        InputError: there is no run, or it learned points.
    """
    rows = Generated(folder, n, name=name)
    if rows.dtype != torch.uint8:
        raise InputError(f"{name}: got 'run:{folder}', which makes points; give a run on images")
    images = ArrayImages(rows, f"run:{folder}", name)
    state = checkpoint.located(_checks.path(name, folder))[1].read_bytes()
    images.fingerprint = fingerprint("run", [str(n), hashlib.sha256(state).hexdigest()])
    return images


def save(samples: Generated, out: str | Path, *, progress: bool = False) -> None:
    """Write ``samples`` to ``out``: a .png is one sheet of them (of points a scatter plot), an
    .npz holds ``arr_0`` (images (n, side, side, 3) uint8, which ``ganfast fid`` reads, or points),
    and anything else is a folder of one PNG each. It is there whole or not at all. ``progress``
    shows a bar on stderr.

    Raises:
        InputError: it can't be written, there is no room for it, it is a folder that has something
            in it, or points were to become a folder of images.
    """
    path = _checks.path("out", out)
    if path.suffix.lower() in OTHER_FILES:
        raise InputError(f"out: got {str(path)!r}; give a .png, an .npz or a new folder")
    with Progress("samples", len(samples), unit="samples", show=progress) as bar:
        if path.suffix == ".npz":
            write_atomically(path, "out", lambda file: _save_array(samples, file, path, bar))
        elif path.suffix == ".png":
            _save_sheet(samples, path, bar)
        else:
            _save_folder(samples, path, bar)


def _save_array(samples: Generated, file: BinaryIO, path: Path, bar: Progress) -> None:
    """As numpy.savez_compressed would, with one batch in memory."""
    images = samples.dtype == torch.uint8
    shape = (len(samples), *samples.shape[2:], 3) if images else samples.shape
    dtype = np.dtype("uint8" if images else "float32")
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as entry,
    ):
        np.lib.format.write_array_header_1_0(entry, {**described, "shape": shape})
        for number, batch in enumerate(samples.batches()):
            data = (_rgb(batch) if images else batch).numpy().tobytes()
            if number == 0:
                _require_disk(samples, len(zlib.compress(data)), path)
            entry.write(data)
            bar.advance(len(batch))


def _save_sheet(samples: Generated, path: Path, bar: Progress) -> None:
    require_writable(path, "out")
    if samples.dtype == torch.uint8:
        # Its pixels, of 4 bytes each, and the samples as floats and as what they are made of.
        needed = 4 * pictures.grid_pixels(samples.shape) + 16 * math.prod(samples.shape)
        _room.require_memory("out", f"one sheet of {len(samples):,} samples", needed)
    made = []
    for batch in samples.batches():
        made.append(batch)
        bar.advance(len(batch))
    rows = torch.cat(made)
    if rows.dim() == 4:
        rows = rows / 127.5 - 1
    if samples.columns is not None and rows.dim() == 4:
        columns = samples.columns
        write_atomically(path, "out", lambda file: pictures.save_grid(file, rows, columns))
    else:
        write_atomically(path, "out", lambda file: pictures.save_samples(file, rows))


def _save_folder(samples: Generated, path: Path, bar: Progress) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            f"out: got {str(path)!r}, which is there already; give a new folder, or a .png or .npz"
        )
    if samples.dtype != torch.uint8:
        raise InputError(f"out: got {str(path)!r} for points; give a .png or an .npz file")
    image_module, beside = need("PIL.Image"), path_beside(path, os.getpid())
    try:
        beside.mkdir(parents=True)
        number, digits = 0, max(6, len(str(len(samples) - 1)))
        for batch in samples.batches():
            for picture in _rgb(batch).numpy():
                image_module.fromarray(picture).save(beside / f"{number:0{digits}d}.png")
                number += 1
            bar.advance(len(batch))
            if number == len(batch):
                _require_disk(samples, sum(map(_on_disk, beside.iterdir())), path)
        os.replace(beside, path)
    except OSError as error:
        raise InputError(
            f"out: {str(path)!r} could not be written ({error.strerror or error}); give another"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _require_disk(samples: Generated, first: int, path: Path) -> None:
    """InputError if all samples, as large as a first batch of ``first`` bytes, have no room."""
    needed = first * len(samples) // min(BATCH, len(samples))
    _room.require_disk("out", f"{len(samples):,} samples", needed, path.parent)


def _on_disk(path: Path) -> int:
    """The bytes that the file occupies: whole blocks."""
    facts = path.stat()
    return getattr(facts, "st_blocks", 0) * 512 or facts.st_size


def _rgb(images: Tensor) -> Tensor:
    """(n, 1 or 3, h, w) -> (n, h, w, 3)."""
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()
