"""THE SPECIFICATION: every op of ganfast in eager PyTorch, for any device, dtype and order of
gradient.

The kernels are tested against these functions in float64, torch.compile traces them, and they serve
wherever no kernel does. Half precision is computed in float32 and rounded once, at the end.
Nothing here is fast; everything here is meant to be read. One file for each noun.
"""

from ganfast.reference.linalg import (
    BATCH_LIMIT,
    batch_sqrtm,
    batch_trace_sqrtm,
    pivoted_panel,
    symmetry,
)
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
from ganfast.reference.optim import NO_STATE, adam, clip_weights_, rmsprop
from ganfast.reference.penalty import (
    PenaltySpec,
    epsilon,
    interpolate,
    interpolate_gradient,
    penalty,
    penalty_gradient,
    penalty_second_order,
)
from ganfast.reference.preprocess import PreprocessSpec, Taps, preprocess, resize_taps
from ganfast.reference.row_buffer import RowBuffer, add_squares, column_panels

__all__ = [
    "BATCH_LIMIT",
    "FEW",
    "NO_STATE",
    "PHI",
    "PenaltySpec",
    "PreprocessSpec",
    "Taps",
    "RowBuffer",
    "accumulation_dtype",
    "adam",
    "add_squares",
    "adversarial_loss",
    "adversarial_loss_gradient",
    "batch_sqrtm",
    "batch_trace_sqrtm",
    "clip_weights_",
    "column_panels",
    "epsilon",
    "interpolate",
    "interpolate_gradient",
    "mean_score",
    "penalty",
    "penalty_gradient",
    "penalty_second_order",
    "pivoted_panel",
    "preprocess",
    "resize_taps",
    "rmsprop",
    "symmetry",
    "targets",
    "weight",
]
