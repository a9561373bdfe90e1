"""The whole evaluation: two sets of images in, FID and what the same pass gives beside it out."""

from __future__ import annotations

from typing import Any

from ganfast._options import with_options
from ganfast.metrics.evaluation.evaluation import Evaluation
from ganfast.metrics.evaluation.results import results
from ganfast.metrics.options import EvaluationOptions, ImageOptions
from ganfast.metrics.statistics import Statistics


@with_options(EvaluationOptions)
def evaluate(real: Any, fake: Any, options: EvaluationOptions) -> dict[str, Any]:
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
        {options}
            An ``extractor`` may also be an Extractor, which has its own weights, protocol,
            precision and device.

    Returns:
        a dict: ``fid``, ``mean_term`` |mu_r - mu_f|^2 and ``covariance_term`` Tr(S_r + S_f -
        2 (S_r S_f)^1/2), whose sum it is; ``n_real``, ``n_fake`` (None where a statistics file
        does not say); ``inception_score_mean``, ``inception_score_std``, ``kid_mean``,
        ``kid_std``, ``fid_interval`` [low, high], ``fid_infinity``, ``fid_infinity_error`` (None
        where not asked for or not to be had); ``protocol``, ``extractor``, ``precision``;
        ``skipped``, names of files left out; ``notes``, sentences on what to keep in mind;
        ``images_per_second``, ``seconds``, ``stages`` (seconds in each).

    Raises:
        ValueError: (an InputError) an argument that cannot be used, images that cannot be read,
            weights that are not to be had, statistics that do not compare, fewer than 2 images.
            The message is one line that says what to do.
        TypeError: a keyword that there is not.
        KeyboardInterrupt: Ctrl-C, at the end of a batch; with ``state`` all is kept.
    """
    evaluation = Evaluation(options, {"real": real, "fake": fake})
    evaluation.scan()
    result = evaluation.ranks.from_first(results(evaluation) if evaluation.ranks.first else None)
    evaluation.finish()
    return result


@with_options(ImageOptions)
def image_statistics(source: Any, options: ImageOptions) -> Statistics:
    """Mean and covariance of the features of one set of images, with how they were made.

    ``image_statistics("photos").save("photos.npz")`` makes a file that :func:`evaluate` takes in
    place of the images, as pytorch-fid does. Errors and torch.distributed as in :func:`evaluate`;
    files left out are in ``skipped`` of what is returned.

    Args:
        source: the images, in any of the forms that :func:`evaluate` takes.
        {options}
    """
    evaluation = Evaluation(
        EvaluationOptions(**vars(options), inception_score=False), {"images": source}
    )
    evaluation.scan()
    statistics = evaluation.statistics("images")
    evaluation.finish()
    return statistics
