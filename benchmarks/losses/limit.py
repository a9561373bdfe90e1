"""The time that moving the bytes alone would take.

Forward reads each logit (4 bytes), backward reads it again and writes its gradient: 12 bytes per
logit that no implementation with a separate backward can avoid. The gradient of a linear loss does
not depend on the logit, so there it is 8. The bandwidth is that of torch's own copy, measured in
the same rounds, with the same threads, on as many bytes as the loss touches.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.losses.cases import Case


def bytes_per_logit(case: Case) -> int:
    return 8 if case.phi == "linear" else 12


def bytes_moved(case: Case) -> int:
    return bytes_per_logit(case) * case.sides * case.size


def copy_step(case: Case, device: str = "cpu") -> tuple[Callable[[], object], int]:
    """A copy with the footprint of logits and gradients, and the bytes it moves."""
    source = torch.zeros(case.sides * case.size, device=device)
    target = torch.ones_like(source)
    return lambda: target.copy_(source), 2 * source.nbytes


def seconds(case: Case, copy_seconds: float, copied: int) -> float:
    """The limit, from the time of a copy of ``copied`` bytes."""
    return bytes_moved(case) * copy_seconds / copied
