"""What fp32, tf32 and bf16 mean, and that they mean it on every machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.choices import PRECISIONS


def check_precision(precision: str, device: torch.device) -> None:
    """Raise InputError for a precision that there is not, or not on ``device``."""
    _checks.one_of("precision", precision, PRECISIONS)
    if precision == "tf32" and device.type != "cuda":
        raise InputError(
            f"precision: got 'tf32', which exists on CUDA devices only, for device {device}; give "
            "fp32 or bf16"
        )


_SETTINGS = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn,
    # On CPUs oneDNN may be allowed bfloat16 for float32, by set_float32_matmul_precision too.
    torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
    torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
)


def _set(values: Iterable[str]) -> None:
    for setting, value in zip(_SETTINGS, values, strict=True):
        setting.fp32_precision = value


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Float32 convolutions and products take TF32 (for ``"tf32"``) or full float32 (for all else).

    Whatever the program has chosen, PyTorch's default included, which is TF32 for convolutions on
    GPUs: a number must not depend on the machine. torch's older switches (``allow_tf32``,
    ``set_float32_matmul_precision``) say the same inside, for it raises where they are read and do
    not. All is as it was before when the block ends.
    """
    tf32 = precision == "tf32"
    before = [setting.fp32_precision for setting in _SETTINGS]
    try:
        _set(["ieee"] * 5)  # with which the older ones can be read
        products, convolutions = torch.get_float32_matmul_precision(), _allows_tf32()
        try:
            torch.set_float32_matmul_precision("high" if tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = tf32
            _set([*["tf32" if tf32 else "ieee"] * 3, "ieee", "ieee"])
            yield
        finally:
            torch.set_float32_matmul_precision(products)
            torch.backends.cudnn.allow_tf32 = convolutions
    finally:
        _set(before)


def _allows_tf32() -> bool:
    """cudnn.allow_tf32 while its newer settings are "ieee": it raises instead of saying True."""
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return True
