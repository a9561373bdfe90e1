"""What fp32, tf32 and bf16 mean, and that they mean it on every machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from ganfast.errors import InputError

PRECISIONS = ("fp32", "tf32", "bf16")
"""fp32: products and sums in float32. tf32: products of 10 bits, on NVIDIA GPUs since Ampere.
bf16: products of 8 bits, sums in float32."""


def check_precision(precision: str, device: torch.device) -> None:
    """Raise InputError for a precision that there is not, or not on ``device``."""
    if precision not in PRECISIONS:
        raise InputError(f"precision: got {precision!r}; give one of {', '.join(PRECISIONS)}")
    if precision == "tf32" and device.type != "cuda":
        raise InputError(
            f"precision: tf32 exists on CUDA devices only, got device {device}; use fp32 or bf16"
        )


def find_device(device: torch.device | str) -> torch.device:
    """``device`` where it can be used, or InputError that says why not."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"device: got {device!r}; give cpu, cuda or cuda:N") from None
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"device: got {device}, but PyTorch finds no CUDA GPU here; give cpu")
        if found.index is not None and found.index >= torch.cuda.device_count():
            raise InputError(
                f"device: got {device}, but there are only {torch.cuda.device_count()} CUDA GPUs"
            )
    return found


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
