"""What a user calls images -> a source of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ganfast import _checks
from ganfast._remote import is_url, name_of, shown
from ganfast.errors import InputError, InputTypeError
from ganfast.metrics.choices import BACKGROUNDS, DECODERS, ON_ERROR
from ganfast.metrics.images.archives import OPENERS
from ganfast.metrics.images.arrays import ArrayImages, npy_images, npz_images
from ganfast.metrics.images.choose import by_name, some_of
from ganfast.metrics.images.decode import Decoder
from ganfast.metrics.images.encoded import EncodedFiles
from ganfast.metrics.images.formats import IMAGE_ENDINGS, is_image_name
from ganfast.metrics.images.generated import generated, is_generator_and_number
from ganfast.metrics.images.lists import (
    archive_at,
    files_at,
    files_in_folder,
    files_of_list,
    is_list_of_paths,
    is_pattern,
    matching_files,
)
from ganfast.metrics.images.reader import FileImages
from ganfast.metrics.images.source import ImageSource
from ganfast.metrics.images.stream import StreamImages

KINDS = "a folder, .zip, .tar (.gz, .bz2, .xz), .npz, .npy, or a .txt or .csv of paths"


def open_images(
    source: Any,
    *,
    name: str = "images",
    background: str = "white",
    exif: bool = False,
    on_error: str = "raise",
    max_pixels: int | None = None,
    decoder: str = "auto",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    num: int | None = None,
    shuffle_seed: int | None = None,
    key: str | None = None,
) -> ImageSource:
    """The images that ``source`` holds, uint8 RGB in a fixed order, of any sizes.

    ``source`` is one of

    * a path to a folder (read with all that is under it; without images, the archives in it are
      read as one), a .zip, or a .tar, also compressed by
      gzip, bzip2 or xz: nothing is unpacked. Files are images by the ending of their names, sorted
      by relative name (in a compressed .tar: as they lie there); hidden ones are left out;
    * a pattern, ``"out/*_fake_B.png"``: the files that a shell would put for it, sorted, ``**``
      being any number of folders, ``{00..12}`` all of these numbers; also of .zip or .tar shards;
    * a list of paths, or the path of a .txt (one path a line) or .csv of them, in its order;
    * a path to an .npy or .npz of uint8 images, (n, h, w, 3) or (n, 3, h, w), read as needed; a
      folder, pattern or list of these is one array;
    * a tensor or array of these shapes;
    * a DataLoader, dataset, or any iterable of batches or images, or a function without arguments
      that returns an iterator (see StreamImages);
    * a pair (function, N) with a function that takes a number and returns so many new images: N of
      them (see GeneratedImages);
    * an ImageSource, which is returned as it is.

    A path may be a URL that fsspec knows: s3://, gs://, hf://, http(s)://, memory:// (``pip
    install 'ganfast[remote]'``). What is read is held in blocks, never the whole file; of a server
    that gives no part of a file, a temporary copy is made. A lost connection ends the reading,
    whatever ``on_error`` says.

    Args:
        name: how messages call ``source``.
        background: "white" or "black", which transparent images are composited on.
        exif: whether to apply the EXIF orientation; see Decoder for all that is decided in
            decoding.
        max_pixels: of the largest file that is decoded; 0 for no limit, None for Pillow's.
        decoder: "auto" lets others than Pillow decode plain files, where they are installed and
            give the same pixels; "pillow" does not.
        include, exclude: patterns of names, or one. Of files, only those are taken that match one
            of the first, if there are any, and none of the second; "*_B.png" is about the last
            part of a name, "val/*" about all of it.
        num: take so many images, the first ones.
        shuffle_seed: with ``num``, choose them at random, the same for the same seed.
        key: of batches that are dicts, which item has the images; None for the only one of a usual
            name (image, img, pixel_values, jpg, png: see StreamImages).
        on_error: "raise" ends with InputError at the first file that can't be read, "skip" names it
            in Batch.skipped.

    Raises:
        ValueError: (an InputError of one line that says what to do) a path that doesn't exist or is
            of no known kind, an empty source, pixels that are not uint8, a shape that is not
            images', or Pillow missing.
    """
    _checks.one_of("background", background, BACKGROUNDS)
    _checks.one_of("on_error", on_error, ON_ERROR)
    _checks.one_of("decoder", decoder, DECODERS)
    include, exclude = ((x,) if isinstance(x, str) else tuple(x) for x in (include, exclude))
    opened: EncodedFiles | ImageSource
    if isinstance(source, (str, os.PathLike)):
        path = _checks.place(name, source)
        label = shown(path)
        opened = _at_path(path, name)
        if isinstance(opened, ArrayImages):
            opened.name = label
    elif is_generator_and_number(source):
        opened, num = generated(source, num, name, background, key), None
    elif is_list_of_paths(source):
        label = name
        opened = files_at([_checks.place(name, path) for path in source], name)
    else:
        label = name
        opened = _in_memory(source, name, background, key)
    if isinstance(opened, EncodedFiles):
        opened = by_name(opened, include, exclude, name)
        pixels = Decoder(background, exif, max_pixels, decoder)
        opened = FileImages(opened, pixels, on_error, label, name)
    elif include or exclude:
        raise InputError(
            f"{name}: got no files, of which include and exclude could choose by name; leave them "
            "out"
        )
    return opened if num is None else some_of(opened, num, shuffle_seed, name)


def _in_memory(source: Any, name: str, background: str, key: str | None) -> ImageSource:
    if isinstance(source, ImageSource):
        return source
    if isinstance(source, (Tensor, np.ndarray)):
        return ArrayImages(source, name, name)
    if isinstance(source, (bytes, dict, set, frozenset)):
        pass
    elif isinstance(source, Iterable) or _is_dataset(source):
        return StreamImages(lambda: source, name, background, key)
    elif callable(source):
        return StreamImages(_checked(source, name), name, background, key)
    raise InputTypeError(
        f"{name}: got a {type(source).__name__}; give a path, a tensor or array, an iterable of "
        "batches, or a function that returns an iterator"
    )


def _at_path(path: str, what: str) -> EncodedFiles | ImageSource:
    low = name_of(path).lower()
    if is_pattern(path):
        return matching_files(path, what)
    if is_url(path):
        files = (*IMAGE_ENDINGS, ".zip", *OPENERS, ".npz", ".txt", ".csv")
        return _of_file(path, low, what) if low.endswith(files) else files_in_folder(path, what)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in it
        raise InputError(f"{what}: {path!r} does not exist{_meant(path)}") from None
    except OSError as error:
        raise InputError(f"{what}: cannot open {path!r}: {error.strerror}") from None
    if os.path.isdir(path):
        return files_in_folder(path, what)
    if not os.path.isfile(path):
        raise InputError(f"{what}: {path!r} is neither a file nor a folder; give {KINDS}")
    return _of_file(path, low, what)


def _of_file(path: str, low: str, what: str) -> EncodedFiles | ImageSource:
    """What is in a file, by ``low``: its name in lower case."""
    if low.endswith((".zip", *OPENERS)):
        return archive_at(path, what)
    if low.endswith(".npz"):
        return npz_images(path, path, what)
    if low.endswith(".npy"):
        return npy_images(path, path, what)
    if low.endswith((".txt", ".csv")):
        return files_of_list(path, what)
    path = shown(path)
    if is_image_name(low):
        raise InputError(f"{what}: {path!r} is a single image; give the folder that holds them")
    raise InputError(f"{what}: {path!r} is of no known kind; give {KINDS}")


def _meant(path: str) -> str:
    """Its nearest neighbour in the folder where it should be."""
    parent, wanted = os.path.split(os.path.abspath(path))
    while not os.path.isdir(parent):
        parent, wanted = os.path.split(parent)
    try:
        near = _checks.nearest(wanted, os.listdir(parent))
    except OSError:
        near = None
    return f"; did you mean {os.path.join(parent, near)!r}?" if near else ""


def _is_dataset(source: Any) -> bool:
    return hasattr(source, "__getitem__") and hasattr(source, "__len__")


def _checked(source: Callable[[], Any], name: str) -> Callable[[], Iterable[Any]]:
    def make() -> Iterable[Any]:
        items = source()
        if not isinstance(items, Iterable):
            raise InputTypeError(
                f"{name}: got a {type(items).__name__} from the function; return an iterator of "
                "images"
            )
        return items

    return make
