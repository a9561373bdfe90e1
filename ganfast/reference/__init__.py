"""THE SPECIFICATION: every op of ganfast in eager PyTorch, for any device, dtype and order of
gradient.

The kernels are tested against these functions in float64, torch.compile traces them, and they serve
wherever no kernel does. Half precision is computed in float32 and rounded once, at the end.
Nothing here is fast; everything here is meant to be read. One file for each noun.
"""

from ganfast.reference.linalg import pivoted_panel, symmetry
from ganfast.reference.losses import (
    FEW,
    PHI,
    accumulation_dtype,
    adversarial_loss,
    adversarial_loss_gradient,
    mean_score,
    targets,
    weight,
)
from ganfast.reference.waiting_rows import WaitingRows, add_squares, column_panels

__all__ = [
    "FEW",
    "PHI",
    "WaitingRows",
    "accumulation_dtype",
    "add_squares",
    "adversarial_loss",
    "adversarial_loss_gradient",
    "column_panels",
    "mean_score",
    "pivoted_panel",
    "symmetry",
    "targets",
    "weight",
]
