"""Prints what one project makes of two folders, and what it took, as one JSON object.

    python -m benchmarks.fid.pipeline PROVIDER REAL FAKE WEIGHTS THREADS

A process of its own for each: a high-water mark of memory never falls, and no project meets another
one's threads, caches or patched functions. What is timed is that whole process, as a user waits for
it: starting, imports, the network and its weights, decoding, statistics, the distance. All get the
same file of weights.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import peak_kib

PYTORCH_FID, TORCH_FIDELITY, CLEAN_FID = "pytorch-fid", "torch-fidelity", "clean-fid"
PUBLISHED_NAME = "pt_inception-2015-12-05-6726825d.pth"
WORKERS = 2

SEPARATE = (PYTORCH_FID, "torch-fidelity all", "prdc")
"""What gives together, one after the other, most of what ganfast gives in one pass."""

Run = Callable[[], dict[str, Any]]


def pytorch_fid(real: str, fake: str, weights: str) -> Run:
    """`python -m pytorch_fid REAL FAKE`: it takes its weights from torch.hub's folder."""
    from pytorch_fid import fid_score

    def run() -> dict[str, Any]:
        with as_published(weights):
            found = fid_score.calculate_fid_given_paths([real, fake], 50, "cpu", 2048, WORKERS)
        return {"fid": found}

    return run


def torch_fidelity(real: str, fake: str, weights: str) -> Run:
    """`fidelity --fid`, without its cache of features."""
    import torch_fidelity as fidelity

    def run() -> dict[str, Any]:
        found = fidelity.calculate_metrics(
            input1=real,
            input2=fake,
            cuda=False,
            fid=True,
            cache=False,
            verbose=False,
            feature_extractor_weights_path=weights,
        )
        return {"fid": found["frechet_inception_distance"]}

    return run


def torch_fidelity_all(real: str, fake: str, weights: str) -> Run:
    """`fidelity --isc --kid --prc` of FAKE and REAL: what is generated comes first in it."""
    import torch_fidelity as fidelity

    def run() -> dict[str, Any]:
        found = fidelity.calculate_metrics(
            input1=fake,
            input2=real,
            cuda=False,
            feature_extractor="inception-v3-compat",  # its own for precision is VGG16
            isc=True,
            kid=True,
            kid_subset_size=min(1000, *(len(list(Path(x).iterdir())) for x in (real, fake))),
            prc=True,
            cache=False,
            verbose=False,
            feature_extractor_weights_path=weights,
        )
        return {name: found[name] for name in ("precision", "recall")}

    return run


def prdc(real: str, fake: str, weights: str) -> Run:
    """`prdc.compute_prdc` of features, which it leaves to others to make: pytorch-fid's."""
    from prdc import compute_prdc
    from pytorch_fid.fid_score import get_activations
    from pytorch_fid.inception import InceptionV3

    def run() -> dict[str, Any]:
        with as_published(weights):
            network = InceptionV3([3]).eval()
        sides = [
            get_activations(sorted(map(str, Path(x).iterdir())), network, num_workers=WORKERS)
            for x in (real, fake)
        ]
        found = compute_prdc(*sides, nearest_k=5)
        return {name: float(found[name]) for name in ("density", "coverage")}

    return run


def clean_fid(real: str, fake: str, weights: str) -> Run:
    """`fid.compute_fid` of two folders. Its own network is a TorchScript file from the net, so
    pytorch-fid's, with the same weights, stands in; resizing, loading and all else are its own."""
    from cleanfid import fid
    from pytorch_fid.inception import InceptionV3

    device = torch.device("cpu")

    def run() -> dict[str, Any]:
        with as_published(weights):
            network = InceptionV3([3], resize_input=False, normalize_input=False).eval()

        def features(images: torch.Tensor) -> torch.Tensor:
            return network((images - 128) / 128)[0].flatten(1)

        found = fid.compare_folders(
            real, fake, features, "clean", num_workers=WORKERS, batch_size=32, device=device
        )
        return {"fid": found}

    return run


def ganfast(**options: Any) -> Callable[[str, str, str], Run]:
    """`ganfast fid REAL FAKE --weights WEIGHTS`."""

    def prepare(real: str, fake: str, weights: str) -> Run:
        from ganfast.metrics import evaluate

        # The others compute no Inception Score, and know no image from before.
        given = {"inception_score": False, "cache": False, **options}
        return lambda: evaluate(real, fake, weights=weights, **given)

    return prepare


def everything(real: str, fake: str, weights: str) -> Run:
    """`ganfast fid` with all that its pass can give of two folders, and its report."""
    from ganfast.metrics import evaluate

    numbers = ("kid", "cmmd", "prdc", "swd", "memorisation", "sfid", "fid_infinity")

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="ganfast-bench-") as place:
            report = Path(place) / "out.html"
            asked = dict.fromkeys(numbers, True) | {"cache": False, "report": report}
            found = evaluate(real, fake, weights=weights, **asked)
        manifold = ("precision", "recall", "density", "coverage")
        return {**found, **{name: found[f"prdc_{name}"] for name in manifold}}

    return run


PROVIDERS: dict[str, Callable[[str, str, str], Run]] = {
    PYTORCH_FID: pytorch_fid,
    TORCH_FIDELITY: torch_fidelity,
    CLEAN_FID: clean_fid,
    "torch-fidelity all": torch_fidelity_all,
    "prdc": prdc,
    "ganfast": ganfast(),
    "ganfast everything": everything,
    "ganfast bf16": ganfast(precision="bf16"),
    "ganfast torch-fidelity": ganfast(protocol="torch-fidelity"),
    "ganfast clean": ganfast(protocol="clean"),
}


@contextlib.contextmanager
def as_published(weights: str | Path) -> Iterator[None]:
    """Let torch.hub find the file under the name of the published one."""
    with tempfile.TemporaryDirectory(prefix="ganfast-bench-") as home:
        before = torch.hub.get_dir()
        torch.hub.set_dir(home)
        place = Path(home) / "checkpoints" / PUBLISHED_NAME
        place.parent.mkdir()
        place.symlink_to(weights)
        try:
            yield
        finally:
            torch.hub.set_dir(before)


def main(provider: str, real: str, fake: str, weights: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    with contextlib.redirect_stdout(sys.stderr):  # some print while they work
        with contextlib.suppress(ImportError):
            from testing.torchvision_stub import import_torchvision

            import_torchvision()
        run = PROVIDERS[provider](real, fake, weights)
        found = run()
    names = ("fid", "precision", "recall", "density", "coverage")
    told = {name: float(found[name]) for name in names if found.get(name) is not None}
    told["peak_mb"] = peak_kib() * 1024 / 1e6
    print(json.dumps({**told, "stages": found.get("stages", {})}))


if __name__ == "__main__":
    main(*sys.argv[1:])
