"""A page to look at: photographs against blurred ones, with interval, precision and recall.

    python examples/report.py           # under two minutes; writes report.html and report.json

The network is a random one from this file, so that nothing is downloaded: the numbers mean little,
the page is the real one. Leave `extractor` out for the published FID Inception.
"""

from __future__ import annotations

import argparse
import json

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from ganfast.metrics import evaluate


class Features(nn.Module):
    """What ganfast asks of a network: pictures in about [-1, 1] -> features (n, d)."""

    input_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 5, 2), nn.ReLU(), nn.Conv2d(32, 16, 5, 2), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(self.layers(x), 2).flatten(1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return Features()


def crops(n: int, seed: int, side: int = 64) -> Tensor:
    """uint8, (n, 3, side, side)."""
    draw = torch.Generator().manual_seed(seed)
    made = []
    for number in range(n):
        picture = torch.tensor(load_sample_images().images[number % 2]).permute(2, 0, 1)
        top = int(torch.randint(picture.shape[1] - side, (), generator=draw))
        left = int(torch.randint(picture.shape[2] - side, (), generator=draw))
        made.append(picture[:, top : top + side, left : left + side])
    return torch.stack(made)


def blurred(images: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(images.float(), 5, 1, 2).round().to(torch.uint8)


def main(images: int) -> None:
    result = evaluate(
        crops(images, seed=0),
        blurred(crops(images, seed=1)),
        extractor="report:network",
        inception_score=False,
        prdc=True,
        interval=True,
        report="report.html",
        progress=False,
    )
    with open("report.json", "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
    low, high = result["fid_interval"]
    print(f"Fréchet distance {result['fid']:.3f}, 95 % interval {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a page of an evaluation")
    parser.add_argument("--images", type=int, default=500)
    main(**vars(parser.parse_args()))
