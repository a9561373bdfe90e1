"""Two folders of pictures, cut from the two photographs that scikit-learn carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

FORMATS = {"32x32 PNG": (32, "png"), "256x256 JPEG": (256, "jpg")}


@dataclass
class Folders:
    place: Path

    @property
    def real(self) -> Path:
        return self.place / "real"

    @property
    def fake(self) -> Path:
        return self.place / "fake"


def folders(kind: str, count: int, place: Path) -> Folders:
    """``count`` crops a side, in ``place``; the fake ones are blurred a little and noisy."""
    from PIL import Image, ImageFilter
    from sklearn.datasets import load_sample_images

    side, ending = FORMATS[kind]
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    draw = np.random.default_rng(0)
    made = Folders(place)
    for folder in (made.real, made.fake):
        folder.mkdir()
        for number in range(count):
            photograph = photographs[number % len(photographs)]
            # Crops of many scales, or all pictures of a side would have the same few textures.
            span = int(draw.integers(64, 400))
            left, top = (int(draw.integers(0, size - span)) for size in photograph.size)
            crop = photograph.crop((left, top, left + span, top + span)).resize((side, side))
            if folder == made.fake:
                crop = crop.filter(ImageFilter.GaussianBlur(side / 128))
                noisy = np.asarray(crop) + draw.normal(0, 6, (side, side, 3))
                crop = Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))
            crop.save(folder / f"{number:05}.{ending}")
    return made
