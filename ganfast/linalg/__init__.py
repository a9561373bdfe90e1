"""Matrix square roots and the Fréchet distance: symmetric, batched and differentiable.

torch tensors (CPU or CUDA), NumPy arrays and CuPy arrays go in, the same kind comes out. Everything
is computed in float64. Nothing that is given is modified.

Under torch.func (vmap, grad, jvp, ...) and inside torch.compile no value can be looked at: a matrix
that would be refused gives NaN there, and so does a second derivative that does not exist.
"""

from ganfast.linalg.certificate import trace_interval
from ganfast.linalg.frechet import frechet_distance, frechet_distance_from_features
from ganfast.linalg.root import sqrtm
from ganfast.linalg.samples import Gaussian
from ganfast.linalg.trace import trace_sqrtm

__all__ = [
    "Gaussian",
    "frechet_distance",
    "frechet_distance_from_features",
    "sqrtm",
    "trace_interval",
    "trace_sqrtm",
]
