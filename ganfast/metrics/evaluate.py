"""The whole evaluation: two sets of images in, FID and what the same pass gives beside it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ganfast.metrics.evaluation.evaluation import Evaluation
from ganfast.metrics.evaluation.findings import findings
from ganfast.metrics.evaluation.options import Options
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.statistics import Statistics


def evaluate(
    real: Any,
    fake: Any,
    *,
    extractor: str | Extractor = "inception",
    weights: str | Path | None = None,
    protocol: str = "pytorch-fid",
    precision: str = "fp32",
    device: str | torch.device | None = None,
    batch_size: int = 50,
    workers: int | None = None,
    compile: bool = False,
    inception_score: bool = True,
    splits: int = 10,
    kid: bool = False,
    bootstrap: int = 0,
    fid_infinity: bool = False,
    seed: int = 0,
    background: str = "white",
    exif: bool = False,
    on_error: str = "raise",
    state: str | Path | None = None,
    allow_mismatch: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Fréchet Inception Distance (Heusel et al. 2017, arXiv:1706.08500) of ``fake`` from ``real``,
    and all else that one pass over the images gives.

    Memory does not grow with the number of images: no features are kept, and images are decoded a
    few batches ahead. Where torch.distributed is initialised, all processes must call this; they
    share the images without duplicates or padding, and each gets the result.

    Args:
        real, fake: a folder, a .zip or .tar archive, a .npy or .npz file (uint8, NHWC); a .npz
            file of statistics (``mu`` and ``sigma``: ours, pytorch-fid's) or a Statistics; a uint8
            tensor or array (n, h, w, 3) or (n, 3, h, w); a DataLoader or another iterable of
            batches; a function that returns an iterator of batches. ``images.open_images`` has
            the details of each.
        extractor: whose features: "inception" (the published FID network), "digits" (the demo's
            classifier), "module:factory", or an Extractor, which then has its own weights,
            protocol, precision and device.
        weights: file of the Inception weights; looked for in torch.hub's folder and downloaded
            if None.
        protocol: "pytorch-fid", "torch-fidelity" or "clean": which project's resizing and scaling.
        precision: of the network: "fp32", "tf32" (CUDA only) or "bf16".
        device: where the network runs; CUDA if there is one, if None.
        batch_size: images that go through the network at once.
        workers: processes that decode; 0 decodes in this one.
        compile: put the network through torch.compile: minutes of compiling for some speed.
        inception_score: also compute the Inception Score of ``fake`` (arXiv:1606.03498).
        splits: parts of the images over which it is averaged; image i is in part i modulo splits.
        kid: also compute the Kernel Inception Distance (arXiv:1801.01401), from up to 10,000
            images of each side that ``seed`` picks.
        bootstrap: this many resamplings of 20 parts of each side give a 95 % interval of FID.
            0: none. It and ``fid_infinity`` need 1 GB a side.
        fid_infinity: extrapolate FID to infinitely many fake images (arXiv:1911.07023).
        seed: of whatever is drawn.
        background: "white" or "black": what shows through transparent pixels.
        exif: turn photographs as their EXIF orientation says.
        on_error: what a file that cannot be read does: "raise" or "skip" (then it is named in
            ``skipped``).
        state: file that keeps the pass's moments and position, so that the same call goes on from
            there after an interruption, to the identical result. Removed when the result is out.
        allow_mismatch: compare with statistics that another protocol or network made.
        progress: show progress bars on stderr.

    Returns:
        a dict: ``fid``, ``mean_term`` |mu_r - mu_f|^2 and ``covariance_term`` Tr(S_r + S_f -
        2 (S_r S_f)^1/2), whose sum it is; ``n_real``, ``n_fake`` (None where a statistics file
        does not say); ``inception_score_mean``, ``inception_score_std``, ``kid_mean``,
        ``kid_std``, ``fid_interval`` [low, high], ``fid_infinity``, ``fid_infinity_error`` (None
        where not asked for or not to be had); ``protocol``, ``extractor``, ``precision``;
        ``skipped``, names of files left out; ``notes``, sentences on what to keep in mind;
        ``images_per_second``, ``seconds``, ``stages`` (seconds in each).

    Raises:
        ValueError: an argument that cannot be used, images that cannot be read, weights that are
            not to be had, statistics that do not compare, fewer than 2 images. The message is one
            line that says what to do.
        KeyboardInterrupt: Ctrl-C, at the end of a batch; with ``state`` all is kept.
    """
    options = Options(
        extractor=extractor,
        weights=weights,
        protocol=protocol,
        precision=precision,
        device=device,
        batch_size=batch_size,
        workers=workers,
        compile=compile,
        inception_score=inception_score,
        splits=splits,
        kid=kid,
        bootstrap=bootstrap,
        fid_infinity=fid_infinity,
        seed=seed,
        background=background,
        exif=exif,
        on_error=on_error,
        state=state,
        allow_mismatch=allow_mismatch,
        progress=progress,
    )
    evaluation = Evaluation(options, {"real": real, "fake": fake})
    evaluation.look()
    mine = findings(evaluation) if evaluation.ranks.first else None
    found = evaluation.ranks.from_first(mine)
    evaluation.end()
    return found


def image_statistics(
    source: Any,
    *,
    extractor: str | Extractor = "inception",
    weights: str | Path | None = None,
    protocol: str = "pytorch-fid",
    precision: str = "fp32",
    device: str | torch.device | None = None,
    batch_size: int = 50,
    workers: int | None = None,
    compile: bool = False,
    background: str = "white",
    exif: bool = False,
    on_error: str = "raise",
    state: str | Path | None = None,
    progress: bool = False,
) -> Statistics:
    """Mean and covariance of the features of one set of images, with how they were made.

    ``image_statistics("photos").save("photos.npz")`` makes a file that :func:`evaluate` takes in
    place of the images, as pytorch-fid does. Arguments, errors and torch.distributed as in
    :func:`evaluate`; files left out are in ``skipped`` of what is returned.
    """
    options = Options(
        extractor=extractor,
        weights=weights,
        protocol=protocol,
        precision=precision,
        device=device,
        batch_size=batch_size,
        workers=workers,
        compile=compile,
        background=background,
        exif=exif,
        on_error=on_error,
        state=state,
        progress=progress,
    )
    evaluation = Evaluation(options, {"images": source})
    evaluation.look()
    found = evaluation.statistics("images")
    evaluation.end()
    return found
