"""What fp32, tf32 and bf16 mean, and that they mean it on every machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Float32 convolutions and products take TF32 (for ``"tf32"``) or full float32 (for all else).

    Whatever the program has chosen, PyTorch's default included, which is TF32 for convolutions on
    GPUs: a number must not depend on the machine. All is as it was before when the block ends.
    """
    cuda = "tf32" if precision == "tf32" else "ieee"
    wanted = (
        (torch.backends.cuda.matmul, cuda),
        (torch.backends.cudnn.conv, cuda),  # type: ignore[attr-defined]
        # On CPUs oneDNN may be allowed bfloat16 for float32, by set_float32_matmul_precision too.
        (torch.backends.mkldnn.matmul, "ieee"),  # type: ignore[attr-defined]
        (torch.backends.mkldnn.conv, "ieee"),  # type: ignore[attr-defined]
    )
    before = [setting.fp32_precision for setting, _ in wanted]
    try:
        for setting, value in wanted:
            setting.fp32_precision = value
        yield
    finally:
        for (setting, _), value in zip(wanted, before, strict=True):
            setting.fp32_precision = value
