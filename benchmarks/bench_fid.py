"""The FID evaluation, whole and by its stages.

Two folders of pictures, cut from scikit-learn's two photographs, with random weights of the
network's shape: whole programs, each in a process of its own, timed from start to number. The error
is the relative difference from the peer's own FID, or for the stages the largest difference; behind
it the peak of memory of the main process. clean-fid's network is a TorchScript file that has to be
downloaded: pytorch-fid's, with the same weights, stands in for it. Each row is by the protocol of
its peer; peers are float32 always. The limit is the network's flops at the rate of torch's float32
matrix product (which oneDNN's convolutions, and bfloat16, can exceed), or the bytes of a stage at
that of a copy. Decoding is on one core, by simplejpeg and imagecodecs where they are installed;
its error is the share of files in which any pixel differs.

Everything is FID, sFID, IS, KID, CMMD, precision, recall, density, coverage, sliced Wasserstein,
near copies, FID-infinity, an interval and the report, in one pass; the separate tools give FID
(pytorch-fid), IS, KID, precision and recall (torch-fidelity), density and coverage (prdc, of
pytorch-fid's features), each in a process of its own, one after the other.

On a GPU: the network against the plain one in both layouts, and evaluations of 50,000 against
50,000 images with a network that is loaded. Their error is 0 if all images were seen.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.fid import on_gpu as gpu
from benchmarks.fid.decoding import decoding
from benchmarks.fid.network import network, pillow
from benchmarks.fid.pipeline import CLEAN_FID, PYTORCH_FID, TORCH_FIDELITY
from benchmarks.fid.whole import everything, to_fid
from benchmarks.harness import Harness
from ganfast.bench.case import COMPILED, Case, without
from ganfast.bench.evaluation import preprocessing

PILLOW = ("Pillow, channel by channel", pillow)
SIZES = ((50, 32), (50, 256), (16, 512))


def cases(quick: bool, device: str) -> list[Case]:
    if device != "cpu":
        return on_gpu(quick)
    if quick:
        return [preprocessing(2, 32), network("fp32", 2), decoding("JPEG", 32, 4)]
    return [
        *(decoding(kind, side) for kind in ("JPEG", "PNG", "WEBP") for side in (32, 256)),
        *(preprocessing(*size) for size in SIZES),
        *(preprocessing(*size, "clean", PILLOW) for size in SIZES),
        *(network(precision, 50) for precision in ("fp32", "bf16")),
        *(
            to_fid(kind, peer, provider)
            for kind in ("32x32 PNG", "256x256 JPEG")
            for peer, provider in (
                (PYTORCH_FID, "ganfast"),
                (PYTORCH_FID, "ganfast bf16"),
                (TORCH_FIDELITY, "ganfast torch-fidelity"),
                (CLEAN_FID, "ganfast clean"),
            )
        ),
        *(everything(kind) for kind in ("32x32 PNG", "256x256 JPEG")),
    ]


def on_gpu(quick: bool) -> list[Case]:
    """The most telling first; the first use of torch.compile takes a minute."""
    if quick:
        return [
            preprocessing(2, 8),
            gpu.network("fp32", 1),
            gpu.network("fp32", 1, compiled=True),
            *(gpu.whole(kind, 4, "fp32", dims=64) for kind in (gpu.TENSORS, gpu.JPEGS)),
        ]
    return [
        gpu.whole(gpu.TENSORS, 50_000, "bf16"),
        *(gpu.network(precision, 256) for precision in ("bf16", "tf32", "fp32")),
        gpu.whole(gpu.JPEGS, 50_000, "bf16"),
        replace(preprocessing(*SIZES[1]), seconds=1.0),
        *(replace(without(preprocessing(*size), COMPILED), seconds=1.0) for size in SIZES[::2]),
        gpu.network("bf16", 256, compiled=True),
    ]


def test_fid(benchmark, harness: Harness, case: Case, graph: bool, provider: str) -> None:
    harness.record(benchmark, case, graph, provider)
