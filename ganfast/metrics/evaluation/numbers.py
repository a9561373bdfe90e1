"""What a finished evaluation tells, number by number."""

from __future__ import annotations

import math
from typing import Any

from ganfast.errors import InputError
from ganfast.metrics.distances.bootstrap import bootstrap_interval
from ganfast.metrics.distances.cmmd import cmmd
from ganfast.metrics.distances.extrapolation import fid_infinity
from ganfast.metrics.distances.frechet import frechet_terms
from ganfast.metrics.distances.influence import fid_gradients, influence_by
from ganfast.metrics.distances.kid import kernel_inception_distance
from ganfast.metrics.distances.manifold import MANIFOLD, manifold_metrics
from ganfast.metrics.distances.memorisation import memorisation
from ganfast.metrics.distances.sliced import sliced_wasserstein
from ganfast.metrics.evaluation.findings import Findings
from ganfast.metrics.evaluation.per_class import fid_per_class, manifold_per_class
from ganfast.metrics.options import EvaluationOptions
from ganfast.metrics.statistics import Statistics
from ganfast.metrics.summary import Summary


def numbers(findings: Findings) -> dict[str, Any]:
    """All that is known by one extractor."""
    options, notes = findings.options, list(findings.notes)
    real, fake = findings.known("real"), findings.known("fake")
    for name, side in (("real", real), ("fake", fake)):
        notes += _on_the_number(name, side)
        beside = findings.images_beside(name)
        if beside is not None:
            notes.append(
                f"{name} is statistics, beside which its file has {beside.count:,} images: from "
                "these are precision, recall, density and coverage"
            )
    with findings.step("distance", "FID from the moments"):
        terms = frechet_terms(real, fake)
    return {
        "fid": terms.fid,
        "mean_term": terms.mean_term,
        "covariance_term": terms.covariance_term,
        "n_real": _count(real),
        "n_fake": _count(fake),
        **_spatial(findings),
        **_score(options, fake, notes),
        **_kernel(findings, notes),
        **_cmmd(findings, notes),
        **_manifold(findings, notes),
        **_sliced(findings),
        **_memorised(findings, notes),
        **_uncertainty(findings, real, fake, notes),
        **_per_class(findings, real, fake, notes),
        **findings.provenance(),
        "notes": notes,
    }


def _count(side: Summary | Statistics) -> int | None:
    return side.n if isinstance(side, Statistics) else side.count


def _on_the_number(name: str, side: Summary | Statistics) -> list[str]:
    """What few images do to FID."""
    count = _count(side)
    if count is None or count > side.dim:
        return []
    return [
        f"{name} has {count} images, fewer than {side.dim + 1}: its covariance of {side.dim} "
        "features is singular and FID comes out too high; compare it only at equal numbers"
    ]


def _score(
    options: EvaluationOptions, fake: Summary | Statistics, notes: list[str]
) -> dict[str, Any]:
    mean = std = None
    if options.inception_score and isinstance(fake, Summary) and fake.classes is not None:
        try:
            mean, std = fake.inception_score()
        except InputError:
            notes.append(
                f"no Inception Score: {fake.count} images leave one of {options.splits} splits "
                "empty; give fewer (--splits)"
            )
    std = _known("inception_score_std", std, f"{options.splits} split has one score", notes)
    return {"inception_score_mean": mean, "inception_score_std": std}


def _known(name: str, deviation: float | None, why: str, notes: list[str]) -> float | None:
    """``deviation``, or None with a note where nothing is known of it."""
    if deviation is None or not math.isnan(deviation):
        return deviation
    notes.append(f"{name} is not known: {why}")
    return None


def _spatial(findings: Findings) -> dict[str, Any]:
    there = findings.extractor is None or findings.extractor.spatial is not None
    if not findings.options.sfid or not there:
        return {"sfid": None}
    with findings.step("distance", "sFID from the moments"):
        return {"sfid": frechet_terms(*map(findings.spatial, ("real", "fake"))).fid}


def _kernel(findings: Findings, notes: list[str]) -> dict[str, Any]:
    mean = std = None
    if findings.options.kid:
        real, fake = (findings.sampled(name) for name in ("real", "fake"))
        with findings.step("kernel", "KID of subsets"):
            mean, std = kernel_inception_distance(
                real.sample, fake.sample, seed=findings.options.seed
            )
        why = f"the {real.count} and {fake.count} images make one subset"
        std = _known("kid_std", std, why, notes)
    return {"kid_mean": mean, "kid_std": std}


def _manifold(findings: Findings, notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys((*MANIFOLD, "n_real", "n_fake"))
    if findings.options.prdc:
        sides = [findings.compared(name, "prdc")[0] for name in ("real", "fake")]
        try:
            with findings.step("manifold", "precision and recall: nearest neighbours"):
                metrics = manifold_metrics(*sides)
        except InputError as error:  # known only after the pass, whose FID must not be lost
            notes.append(f"no precision and recall: {error}")
        else:
            found = {name: getattr(metrics, name) for name in MANIFOLD}
            found |= {"n_real": len(sides[0]), "n_fake": len(sides[1])}
    return {f"prdc_{name}": value for name, value in found.items()}


def _cmmd(findings: Findings, notes: list[str]) -> dict[str, Any]:
    value = error = None
    if findings.options.cmmd:
        try:
            with findings.step("kernel", "CMMD"):
                value, error = cmmd(*map(findings.sample, ("real", "fake")))
        except InputError as fault:  # known only after the pass, whose FID must not be lost
            notes.append(f"no CMMD: {fault}")
    return {"cmmd": value, "cmmd_error": error}


def _sliced(findings: Findings) -> dict[str, Any]:
    value = error = None
    if findings.options.swd:
        real, fake = (findings.compared(name, "swd")[0] for name in ("real", "fake"))
        with findings.step("sliced", "sliced Wasserstein distance: projections"):
            value, error = sliced_wasserstein(real, fake, seed=findings.options.seed)
    return {"swd": value, "swd_error": error}


def _memorised(findings: Findings, notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(("memorised", "memorised_expected", "memorised_pairs"))
    if findings.options.memorisation:
        held_out = findings.held_out
        beside = None if held_out is None else held_out.sample
        try:
            with findings.step("memorisation", "near copies: nearest neighbours"):
                sides = map(findings.sample, ("real", "fake"))
                copies = memorisation(*sides, held_out=beside)
        except InputError as error:
            notes.append(f"nothing on memorisation: {error}")
        else:
            real, fake = (findings.sampled_names(name) for name in ("real", "fake"))
            pairs = [[fake(i), real(j), ratio] for i, j, ratio in copies.pairs]
            found = dict(zip(found, (copies.share, copies.expected, pairs), strict=True))
            if beside is not None:
                notes.append(
                    "memorised are the fake images that are nearer to a real one than any of "
                    f"{len(beside):,} held-out ones is"
                )
    return found


def _per_class(findings: Findings, real: Any, fake: Any, notes: list[str]) -> dict[str, Any]:
    keys = ("intra_fid", "fid_per_class", "vanished_classes")
    more = ("intra_precision", "intra_recall", "prdc_per_class")
    result: dict[str, Any] = dict.fromkeys((*keys, *more))
    if not findings.classes:
        return result
    sides = {"real": real, "fake": fake}
    with findings.step("distance", f"FID of {len(findings.classes['real'].names)} classes"):
        found, mean, sentences = fid_per_class(sides, findings.classes)
    vanished = [name for name in findings.classes["real"].names if name not in found]
    result |= {"intra_fid": mean, "fid_per_class": found}
    notes += sentences
    if findings.options.prdc:
        compared = {name: findings.compared(name, "prdc") for name in sides}
        with findings.step("manifold", "precision and recall of each class"):
            prdc, sentences = manifold_per_class(compared, findings.classes)
        notes += sentences
        known = [of for of in prdc.values() if of is not None]
        vanished += [name for name, of in prdc.items() if of is not None and not of["recall"]]
        for name in ("precision", "recall") if known else ():
            result[f"intra_{name}"] = sum(of[name] for of in known) / len(known)
        result["prdc_per_class"] = prdc
    return {**result, "vanished_classes": sorted(vanished)}


def _uncertainty(findings: Findings, real: Any, fake: Any, notes: list[str]) -> dict[str, Any]:
    options = findings.options
    interval = limit = error = costly = points = None
    images = isinstance(real, Summary) or isinstance(fake, Summary)
    if options.interval and (images or options.report is None):
        interval, costly = _by_influence(findings, real, fake)
        few = [name for name, side in (("real", real), ("fake", fake))
               if isinstance(side, Summary) and side.count <= side.dim]  # fmt: skip
        if few:
            notes.append(
                f"interval: FID's gradient is unbounded where {' and '.join(few)} has fewer images "
                "than features, and is taken in the directions that these span"
            )
    if options.bootstrap:
        with findings.step("bootstrap", f"interval: {options.bootstrap} FIDs of half the images"):
            interval = list(
                bootstrap_interval(real, fake, replicates=options.bootstrap, seed=options.seed)
            )
    if options.fid_infinity:
        with findings.step("extrapolation", "FID-infinity: FIDs of parts of the images"):
            extrapolated = fid_infinity(real, fake, seed=options.seed)
        limit, error = extrapolated.fid, extrapolated.standard_error
        points = [list(pair) for pair in zip(extrapolated.counts, extrapolated.fids, strict=True)]
    return {
        "fid_interval": interval,
        "costly_images": costly,
        "fid_infinity": limit,
        "fid_infinity_error": error,
        "fid_by_number": points,
    }


_COSTLY = 10
"""Images that are named."""


def _by_influence(findings: Findings, real: Any, fake: Any) -> tuple[Any, Any]:
    """The interval of FID, and the fake images without which it would fall most."""
    if isinstance(real, Statistics) and isinstance(fake, Statistics):
        raise InputError("interval: got statistics of both sides; give the images of one")
    with findings.step("influence", "interval: the influence of each image"):
        findings.gradients = fid_gradients(real, fake)
        found = influence_by(findings.gradients, real, fake)
    if found.fake is None:
        return [found.low, found.high], None
    called = findings.sampled_names("fake")
    order = found.fake.argsort(stable=True)[:_COSTLY].tolist()
    costly = [[called(i), float(found.fake[i])] for i in order if found.fake[i] < 0]
    return [found.low, found.high], costly
