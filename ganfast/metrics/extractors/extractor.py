"""uint8 images in, features and logits out: a network with all that fixes the number."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.extractors.precision import check_precision, float32_products
from ganfast.metrics.protocols import Protocol

Network = Callable[[Tensor], Any]
Preprocess = Callable[..., Tensor]


class Outputs(NamedTuple):
    """What a network sees in n images, float32: (n, dim), (n, classes), (n, spatial)."""

    features: Tensor
    logits: Tensor | None
    spatial: Tensor | None = None


class Extractor:
    """Gives the features (n, dim) and logits (n, classes) of images, as float32.

    Two sets of features may be compared when ``identity``, ``protocol`` and ``precision`` agree.

    Args:
        network: takes float32 (n, 3, height, width), channels_last, scaled by the protocol; gives
            features (n, dim), or features and logits, of any float dtype.
        name: as the user named it.
        identity: sha256 in hex of the architecture's name and the weights.
        dim, classes: of the features; of the logits, None where there are none.
        protocol: how images become the network's input.
        precision: "fp32", "tf32" (CUDA only) or "bf16". What float32 products mean inside the
            network is set by it, whatever the program has set, and put back after each call.
        size: of the network's input: (height, width), or one number for both.
        layer: which of several layers of the network the features are, by their number; None where
            there is no choice.
        spatial: how many features of sFID come third from ``network``; None: there are none.
        preprocess: in place of :func:`ganfast.metrics.preprocess`.
        notes: sentences that a reader of the number should know.

    Raises:
        ValueError: (an InputError) a precision that the device doesn't have.
    """

    def __init__(
        self,
        network: Network,
        *,
        name: str,
        identity: str,
        dim: int,
        classes: int | None,
        protocol: Protocol,
        precision: str = "fp32",
        device: torch.device | str = "cpu",
        size: int | tuple[int, int] = 299,
        layer: int | None = None,
        spatial: int | None = None,
        preprocess: Preprocess | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.device = _checks.device("device", device)
        check_precision(precision, self.device)
        self.network = network
        self.name = name
        self.identity = identity
        self.dim = dim
        self.classes = classes
        self.protocol = protocol
        self.precision = precision
        self.size = size
        self.layer = layer
        self.spatial = spatial
        self.notes = tuple(notes)
        self._preprocess = preprocess or _default_preprocess()

    def __repr__(self) -> str:
        return (
            f"Extractor({self.name!r}, dim={self.dim}, classes={self.classes}, "
            f"protocol={self.protocol.name!r}, precision={self.precision!r}, device={self.device})"
        )

    def __call__(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """uint8 images, (n, h, w, 3) or a sequence of (h, w, 3) -> features (n, dim), logits.

        Both float32 on ``device``; logits are None where the network has none.

        Raises:
            ValueError: (an InputError) what ``preprocess`` refuses, or an output of another shape.
        """
        with torch.inference_mode():
            return self.extract(self.prepare(images))[:2]

    def prepare(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """The first half of a call: the network's input (n, 3, height, width)."""
        return self._preprocess(
            images, self.protocol, size=self.size, device=self.device, dtype=torch.float32
        )

    @torch.inference_mode()
    def extract(self, batch: Tensor) -> Outputs:
        """The second half of a call: all that there is of what ``prepare`` gave."""
        if not len(batch):  # not every network takes an empty batch
            logits, spatial = (
                None if width is None else batch.new_empty(0, width)
                for width in (self.classes, self.spatial)
            )
            return Outputs(batch.new_empty(0, self.dim), logits, spatial)
        with float32_products(self.precision):
            output, spatial = self.network(batch), None
            if self.spatial is not None:
                *output, spatial = output
            features, logits = split_output(output, self.name)
        return Outputs(
            self._checked(features, "features", len(batch), self.dim),
            None if logits is None else self._checked(logits, "logits", len(batch), self.classes),
            spatial,
        )

    def _checked(self, x: Tensor, what: str, n: int, width: int | None) -> Tensor:
        if x.shape != (n, width):
            raise InputError(
                f"extractor {self.name}: got {what} of shape {tuple(x.shape)} for {n} images; give "
                f"({n}, {width})"
            )
        return x.float()


def _default_preprocess() -> Preprocess:
    from ganfast.metrics.preprocessing import preprocess

    return preprocess


def split_output(output: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """Features and logits of what a network gave, or InputError for what is neither."""
    if isinstance(output, Tensor):
        return output, None
    if (
        isinstance(output, (tuple, list))
        and len(output) == 2
        and all(isinstance(part, Tensor) for part in output)
    ):
        return output[0], output[1]
    if isinstance(output, (tuple, list)):
        got = f"a {type(output).__name__} of {', '.join(type(part).__name__ for part in output)}"
    else:
        got = f"a {type(output).__name__}"
    raise InputError(
        f"extractor {name}: got {got} from the network; give a tensor of features (n, d), or "
        "(features, logits)"
    )


def identity(name: str, state: Mapping[str, Tensor]) -> str:
    """sha256, in hex, of ``name`` and of every tensor's name, shape, dtype and values.

    Tensors go by their names' order, and values as little-endian rows whatever the memory format,
    device or file they come from: the same weights have the same identity everywhere.
    """
    digest = hashlib.sha256(name.encode())
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        dtype = str(value.dtype).removeprefix("torch.")
        digest.update(f"\n{key} {tuple(value.shape)} {dtype}\n".encode())
        raw = value.reshape(-1).view(torch.uint8).numpy()  # as bytes: NumPy knows no bfloat16
        if sys.byteorder == "big":
            raw = raw.reshape(-1, value.element_size())[:, ::-1]
        digest.update(raw.tobytes())
    return digest.hexdigest()
