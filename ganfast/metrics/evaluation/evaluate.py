"""The whole evaluation: two sets of images in, FID and what the same pass gives beside it out."""

from __future__ import annotations

from typing import Any

from ganfast._atomic_file import require_writable
from ganfast._options import with_options
from ganfast.metrics.evaluation.evaluation import Evaluation
from ganfast.metrics.evaluation.gallery import grids
from ganfast.metrics.evaluation.numbers import numbers
from ganfast.metrics.evaluation.page import write_page
from ganfast.metrics.options import EvaluationOptions, StatisticsOptions
from ganfast.metrics.statistics import Statistics


@with_options(EvaluationOptions)
def evaluate(real: Any, fake: Any, options: EvaluationOptions) -> dict[str, Any]:
    """Fréchet Inception Distance (Heusel et al. 2017, arXiv:1706.08500) of ``fake`` from ``real``,
    and all else that one pass over the images gives.

    Memory does not grow with the number of images: no features are kept but those of a sample (of
    all, in a file, with ``prdc_full`` or ``swd_full``), and images are decoded a few batches ahead.
    Where torch.distributed is initialised, all processes must call this; they share the images
    without duplicates or padding, and each gets the result. A loader or iterable that gives each
    process a share of its own already (by a DistributedSampler, say) is taken whole in each; which
    it was is in the notes.

    Args:
        real, fake: a folder, a .zip or .tar archive, a .npy or .npz file (uint8, NHWC); a .npz
            file of statistics (``mu`` and ``sigma``: ours, pytorch-fid's; other tools' .npz, .npy
            and .pt too) or a Statistics; such a file of features (n, d), of which all is made
            that is not about pixels or logits; a list of paths, or a .txt or
            .csv of them, or a pattern (``"out/*_fake_B.png"``), each of these also as a URL
            (``"s3://..."``); a uint8 tensor or array (n, h, w, 3) or (n, 3, h, w); a DataLoader or
            another iterable of batches; a function that returns an iterator of batches; a pair
            (function, N), whose function takes a number and returns so many new images, N in all,
            and has a stage of its own, "generate". ``images.open_images`` has the details of each.
        {options}

    An Extractor itself may be given as ``extractor``; it then brings its own weights, protocol,
    precision and device.

    Returns:
        a dict, in which what was not asked for or is not known is None:

        - ``fid``, ``mean_term`` |mu_r - mu_f|^2 and ``covariance_term`` Tr(S_r + S_f -
          2 (S_r S_f)^1/2), whose sum it is; ``sfid``; ``n_real``, ``n_fake`` (a statistics file may
          not say);
        - ``inception_score_mean``, ``inception_score_std``; ``kid_mean``, ``kid_std``; ``cmmd``,
          ``cmmd_error``; ``swd``, ``swd_error``;
        - ``prdc_precision``, ``prdc_recall``, ``prdc_density``, ``prdc_coverage``, and of how many
          images these are, ``prdc_n_real`` and ``prdc_n_fake``;
        - ``memorised``, the share of fake images that are near copies, ``memorised_expected``, that
          of real images which the others never saw, or of the held-out ones, ``memorised_pairs``
          [[fake name, real name, ratio], ...];
        - ``fid_interval`` [low, high], ``costly_images`` [[fake name, change of FID without it],
          ...], ``fid_infinity``, ``fid_infinity_error``, ``fid_by_number``
          [[fake images, FID], ...];
        - ``intra_fid`` and ``fid_per_class`` {name: FID}; with prdc ``intra_precision``,
          ``intra_recall`` and ``prdc_per_class`` {name: {precision: ..., n_fake: ...}};
          ``vanished_classes``, those of real without a fake image, or with a recall of 0;
        - ``protocol``, ``extractor``, ``precision``, ``dims`` (features of an image),
          ``batch_size``; ``by_extractor`` {name: all of the above that is known}, of the others if
          there are several;
        - ``decoders`` of files that others than Pillow may have read {format: package and version};
          ``skipped``, names of files left out; ``notes``, sentences on what to keep in mind;
          ``images_per_second``, ``seconds``, ``stages`` (seconds in each).

    Raises:
        ValueError: (an InputError) an argument that cannot be used, images that cannot be read,
            weights that are not to be had, statistics that do not compare, fewer than 2 images.
            The message is one line that says what to do.
        TypeError: a keyword that there is not.
        KeyboardInterrupt: Ctrl-C, at the end of a batch; with ``state`` all is kept.
    """
    if options.report is not None:
        require_writable(options.report, "report")
    evaluation = Evaluation(options, {"real": real, "fake": fake})
    evaluation.scan()
    result = evaluation.ranks.from_first(_result(evaluation) if evaluation.ranks.first else None)
    evaluation.finish()
    return result


@with_options(StatisticsOptions)
def image_statistics(source: Any, options: StatisticsOptions) -> Statistics:
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
    statistics = evaluation.found.statistics("images")
    evaluation.finish()
    return statistics


def _result(evaluation: Evaluation) -> dict[str, Any]:
    first, *rest = evaluation.findings()
    result, others = numbers(first), {}
    for findings in rest:
        assert findings.extractor is not None
        found = numbers(findings)
        others[findings.extractor.name] = {key: x for key, x in found.items() if x is not None}
    result |= {"by_extractor": others or None, **evaluation.told()}
    if evaluation.options.report is not None:
        every = [(first, result), *zip(rest, others.values(), strict=True)]
        write_page(evaluation.options.report, [(found, grids(one, found)) for one, found in every])
    return {**result, **evaluation.timed()}
