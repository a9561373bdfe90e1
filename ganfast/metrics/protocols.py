"""The protocols of FID: what happens to an image before the network.

Two FIDs may be compared only if they were measured by the same protocol; each of these is that of
one widely used tool. The covariance of N features is divided by N - 1 in all of them. Importing
this imports neither torch nor NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

from ganfast import _checks

__all__ = ["PROTOCOLS", "Protocol", "find_protocol"]


@dataclass(frozen=True)
class Protocol:
    """How a tool turns uint8 images into the network's input."""

    name: str
    """As the command line and a statistics file have it."""

    resize: str
    """The interpolation; an image of the network's size already stays as it is in all of them.

    "bilinear": of the nearest two pixels at (i + 1/2) in / out - 1/2, whatever the scale:
    torch.nn.functional.interpolate(..., align_corners=False, antialias=False).
    "tf1": of the nearest two pixels at i in / out: TensorFlow 1's resize_bilinear, whose grid is
    half a pixel off.
    "pil-bicubic": Pillow's bicubic (a = -1/2) in floating point, whose support grows with the scale
    where images shrink, so that nothing aliases.
    """

    scale: float
    """The network's input is scale * value + shift, of values 0..255."""

    shift: float

    clip: bool
    """Whether values are brought back to 0..255 after the resize (only a bicubic one leaves it).
    None of these protocols rounds them to whole numbers."""


_ROWS = (
    Protocol("pytorch-fid", "bilinear", 2 / 255, -1.0, clip=False),  # shrunk images alias
    Protocol("torch-fidelity", "tf1", 1 / 128, -1.0, clip=False),  # and the TensorFlow original
    Protocol("clean", "pil-bicubic", 1 / 128, -1.0, clip=True),  # clean-fid
)

PROTOCOLS: dict[str, Protocol] = {row.name: row for row in _ROWS}
"""Every protocol by its name."""


def find_protocol(name: str | Protocol) -> Protocol:
    """The protocol of that name; one that is a Protocol already is given back.

    Raises:
        InputError: there is none of that name.
    """
    if isinstance(name, Protocol):
        return name
    return PROTOCOLS[_checks.one_of("protocol", name, PROTOCOLS)]
