"""THE SPECIFICATION: every op of ganfast in eager PyTorch, for any device, dtype and order of
gradient.

The kernels are tested against these functions in float64, torch.compile traces them, and they serve
wherever no kernel does. Half precision is computed in float32 and rounded once, at the end.
Nothing here is fast; everything here is meant to be read. One file for each noun.
"""

from ganfast.reference import (
    features,
    linalg,
    losses,
    neighbours,
    optim,
    penalty,
    preprocess,
    row_buffer,
)

__all__ = [
    "features",
    "linalg",
    "losses",
    "neighbours",
    "optim",
    "penalty",
    "preprocess",
    "row_buffer",
]
