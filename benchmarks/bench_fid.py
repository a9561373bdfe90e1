"""The FID evaluation, whole and by its stages.

Two folders of pictures, cut from scikit-learn's two photographs, with random weights of the
network's shape: whole programs, each in a process of its own, timed from start to number. The error
is the relative difference from the peer's own FID, or for the stages the largest difference; behind
it the peak of memory of the main process. clean-fid's network is a TorchScript file that has to be
downloaded: pytorch-fid's, with the same weights, stands in for it. Each row is by the protocol of
its peer; peers are float32 always. The limit is the network's flops at the rate of torch's float32
matrix product (which oneDNN's convolutions, and bfloat16, can exceed), or the bytes of a stage at
that of a copy.
"""

from __future__ import annotations

from benchmarks.contest import Case, hold
from benchmarks.fid.network import Network
from benchmarks.fid.pipeline import CLEAN_FID, PYTORCH_FID, TORCH_FIDELITY
from benchmarks.fid.preprocessing import Preprocessing
from benchmarks.fid.whole import ToFid


def chosen(quick: bool) -> list[Case]:
    if quick:
        return [Preprocessing("pytorch-fid", 2, 32), Network("fp32", 2)]
    return [
        *(
            Preprocessing(protocol, count, side)
            for protocol in ("pytorch-fid", "clean")
            for count, side in ((50, 32), (50, 256), (16, 512))
        ),
        *(Network(precision, 50) for precision in ("fp32", "bf16")),
        *(
            ToFid(kind, peer, ours)
            for kind in ("32x32 PNG", "256x256 JPEG")
            for peer, ours in (
                (PYTORCH_FID, "ganfast"),
                (PYTORCH_FID, "ganfast bf16"),
                (TORCH_FIDELITY, "ganfast torch-fidelity"),
                (CLEAN_FID, "ganfast clean"),
            )
        ),
    ]


def test_fid(benchmark, case: Case, is_quick: bool) -> None:
    hold(benchmark, case, is_quick)
