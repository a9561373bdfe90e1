"""Which files count as images, by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

IMAGE_ENDINGS = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif")
    + (".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".qoi", ".npy")
)
"""In lower case. Not here: icons, vector formats, and those whose content can't be told from
anything else's (.tga). ``.npy`` holds one image, uint8 (h, w), (h, w, 1), (h, w, 3) or (h, w, 4).
"""

PILLOW_FORMATS = (
    ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")  # the commonest first
    + ("JPEG2000", "AVIF", "QOI")
)
"""What a file may be, whatever its name says. Not all that Pillow knows: for some, such as EPS, it
starts other programs, and a .png from the internet must not."""

FAST_KINDS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WEBP",
}
"""Formats that fast_decode.py may read, by the usual endings of their files."""

LEFT_OUT = frozenset(
    ("__macosx", "icon\r", "network trash folder", "temporary items")  # macOS
    + ("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler")
    + ("system volume information", "lost+found", "__pycache__")
    + ("@eadir", "@tmp", "#recycle", "#snapshot")  # Synology
    + ("@recycle", "@recently-snapshot", "@__thumb")  # QNAP
    + ("~snapshot",)  # NetApp
)
"""What systems, servers and file managers leave in folders, in lower case, beside all that is
hidden: .DS_Store, .AppleDouble, .Trash-1000, .snapshot, .zfs, .thumbnails, .git."""

RUN_CHART = "losses.png"
RUN_FILES = frozenset(("config.json", "log.jsonl", "checkpoint.safetensors"))
"""What `ganfast train`, and other trainers, leave in a folder beside each other."""


def ending(name: str) -> str:
    """``a/B.JPG`` -> ``.jpg``."""
    return PurePosixPath(name).suffix.lower()


def is_image_name(name: str) -> bool:
    return ending(name) in IMAGE_ENDINGS


def is_left_out(part: str) -> bool:
    """Whether a file or folder of this name is the system's or an editor's, not the user's:
    hidden (``.ipynb_checkpoints``, ``._photo.jpg``), or one of LEFT_OUT (``@eaDir``)."""
    return part.startswith(".") or is_the_systems(part)


def is_the_systems(part: str) -> bool:
    """Whether a name is in LEFT_OUT."""
    return part.lower() in LEFT_OUT


def is_of_a_run(name: str) -> bool:
    """Whether a file of this name says that its folder is a training run's."""
    return name.rpartition("/")[2] in RUN_FILES


def count_endings(names: Iterable[str]) -> dict[str, int]:
    """How many names have which ending, the commonest first; a name without one counts as
    ``(none)``."""
    return dict(Counter(ending(name) or "(none)" for name in names).most_common())
