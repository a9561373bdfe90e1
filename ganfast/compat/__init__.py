"""The Fréchet distance of the tools you already use, replaced by ours.

    import ganfast.compat

    ganfast.compat.patch("pytorch_fid", "torch_fidelity", "cleanfid", "torchmetrics")
    ganfast.compat.patch("monai", "ignite", "piq", "torcheval")
    ganfast.compat.patch("scipy")  # sqrtm(..., disp=False) for scripts, on any SciPy

``python -m ganfast.compat pytorch_fid A B`` runs a project's own command line patched.

Only the distance between two Gaussians is replaced: images, networks and statistics stay theirs.
Ours needs no ``scipy.linalg.sqrtm``, so the tools that pass it ``disp=False`` also work with
SciPy 1.18, which drops that argument.

Importing this package imports none of the projects; ``patch`` imports those that it is asked for.
"""

from ganfast.compat.patching import Replaced, patch, patched, unpatch

__all__ = ["Replaced", "patch", "patched", "unpatch"]
