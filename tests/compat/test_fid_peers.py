"""The whole evaluation against the peers' own, where they are installed: the same files, the same
random weights, their own programs."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.fid import pipeline
from ganfast import compat, metrics
from ganfast.metrics.extractors import Extractor
from ganfast.metrics.inception.network import CLASSES, FEATURES, build_network
from ganfast.metrics.inception.weights import load_weights
from testing import pictures
from testing.inception_weights import save_random_weights
from testing.torchvision_stub import import_torchvision

COUNT = 24
PROTOCOLS = {
    pipeline.PYTORCH_FID: "pytorch-fid",
    pipeline.TORCH_FIDELITY: "torch-fidelity",
    pipeline.CLEAN_FID: "clean",
}
MODULES = {
    "pytorch-fid": "pytorch_fid",
    "torch-fidelity": "torch_fidelity",
    "clean-fid": "cleanfid",
}


class Theirs(NamedTuple):
    protocol: str
    own: float
    """FID by the peer's program as it is."""
    exact: float
    """And with our distance in place of its own, all else as it is."""


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return pictures.folders("32x32 PNG", COUNT, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    save_random_weights(path)
    return path


@pytest.fixture(scope="module", params=PROTOCOLS)
def theirs(request, folders, weights) -> Theirs:
    """One peer's numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_torchvision()
            importlib.import_module(MODULES[request.param])
        except ImportError as error:
            pytest.skip(str(error))
        run = pipeline.PROVIDERS[request.param](str(folders.real), str(folders.fake), str(weights))
        own = run()["fid"]
        compat.patch(MODULES[request.param])
        try:
            exact = run()["fid"]
        finally:
            compat.unpatch()
        return Theirs(PROTOCOLS[request.param], own, exact)


def unfolded(weights: Path, protocol: str) -> Extractor:
    """The network layer by layer, as the peers run it."""
    network = build_network(load_weights(weights).state)
    return Extractor(
        network,
        name="unfolded",
        identity="unfolded",
        dim=FEATURES,
        classes=CLASSES,
        protocol=metrics.PROTOCOLS[protocol],
    )


def test_the_unfolded_network_gives_the_peers_number(theirs, folders, weights):
    extractor = unfolded(weights, theirs.protocol)
    ours = metrics.evaluate(folders.real, folders.fake, extractor=extractor)["fid"]
    assert ours == pytest.approx(theirs.exact, rel=1e-6)


def test_the_fast_form_does_to_four_digits(theirs, folders, weights):
    ours = metrics.evaluate(
        folders.real, folders.fake, weights=weights, protocol=theirs.protocol, device="cpu"
    )["fid"]
    assert ours == pytest.approx(theirs.exact, rel=1e-4)


def test_what_is_left_is_the_peers_root_of_a_singular_product(theirs):
    """Of 2048 eigenvalues 23 are not 0. Round-off of 1e-16 in the others has roots of 1e-8."""
    assert theirs.own == pytest.approx(theirs.exact, rel=3e-5)
    assert theirs.own < theirs.exact
