"""What torchmetrics' image metrics by ganfast have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ganfast import _checks
from ganfast.errors import InputError, InputTypeError, one_line
from ganfast.metrics.batch_features import BatchFeatures, Extract
from ganfast.metrics.choices import DIMS
from ganfast.metrics.frechet_inception_distance import as_side
from ganfast.metrics.inception.network import CLASSES
from ganfast.metrics.no_autograd import no_autograd

NAMES = {True: "real", False: "fake"}


class ImageMetric(Metric):
    """What the metrics have in common.

    The network's weights are in neither ``parameters()`` nor ``state_dict()``, and no dtype but
    that of the result follows ``.to()`` and the like. ``forward`` is ``update``: the metric of one
    batch would mislead.

    Args:
        feature: 64, 192, 768 or 2048: a layer of the FID Inception network, whose weights are
            looked for at the first update. Or what ``extractor`` may be.
        reset_real_features: whether reset() forgets the real side as well.
        normalize: images are floats from 0 to 1; else uint8.
        extractor, feature_extractor_weights_path: as of
            :class:`ganfast.metrics.FrechetInceptionDistance`. The number of features is its ``dim``
            or ``num_features``, or is seen on two images of noise, 299 x 299.
        kwargs: of torchmetrics.Metric.

    Raises:
        ValueError: (an InputError) a mistake in these.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(
        self,
        feature: int | Extract = DIMS[-1],
        reset_real_features: bool = True,
        normalize: bool = False,
        *,
        extractor: Extract | None = None,
        feature_extractor_weights_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reset_real_features = _checks.flag("reset_real_features", reset_real_features)
        self.normalize = _checks.flag("normalize", normalize)
        self._features = BatchFeatures(feature, extractor, feature_extractor_weights_path, None)
        self._result_dtype = torch.float64
        self.own_states()

    def own_states(self) -> None:
        raise NotImplementedError

    @no_autograd
    def update(self, images: Tensor, real: bool) -> None:
        """Take in ``images``, (n, 3, h, w) or (n, h, w, 3), of one side; see
        :meth:`ganfast.metrics.FrechetInceptionDistance.update`."""
        side = NAMES[as_side(real)]
        features, logits = self._features(images, self.normalize)
        if not bool(features.isfinite().all()):
            raise InputError("extractor: got features that are NaN or inf; give finite ones")
        self.take(side, features.to(self.device), logits)

    def take(self, side: str, features: Tensor, logits: Tensor | None) -> None:
        raise NotImplementedError

    def forward(self, images: Tensor, real: bool) -> None:
        """As update()."""
        self.update(images, real)

    def reset(self) -> None:
        """Forget the images: all, or the generated ones alone without ``reset_real_features``."""
        kept = {} if self.reset_real_features else {
            name: getattr(self, name) for name in self._defaults if name.startswith("real")
        }  # fmt: skip
        kept = {name: list(x) if isinstance(x, list) else x for name, x in kept.items()}
        super().reset()
        for name, value in kept.items():
            setattr(self, name, value)
        self._features.forget()

    def set_dtype(self, dst_type: str | torch.dtype) -> ImageMetric:
        """Make it the dtype of what compute() returns; sums are float64 whatever it is."""
        if not isinstance(dst_type, torch.dtype) or not dst_type.is_floating_point:
            raise InputTypeError(
                f"dtype: got {dst_type!r}; give one of floats, such as torch.float32"
            )
        self._result_dtype = dst_type
        return self

    def train(self, mode: bool = True) -> ImageMetric:
        self.training = mode
        return self

    def _apply(
        self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ""
    ) -> nn.Module:
        # A probe of bytes tells the device, and a conversion of floats leaves it as it is.
        held = self.device
        device = fn(torch.empty(0, dtype=torch.uint8, device=held)).device
        if device != held:
            self._features.to(device)
        return super()._apply(lambda x: x.to(device), exclude_state)

    def dim(self) -> int:
        """How many features there are."""
        extractor = self._features.extractor
        if extractor is None:
            return self._features.dims
        known = getattr(extractor, "dim", getattr(extractor, "num_features", None))
        return known if isinstance(known, int) else self._tried()[0].shape[1]

    def classes(self) -> int | None:
        """How many logits there are; None: there are none."""
        extractor = self._features.extractor
        if extractor is None:
            return CLASSES if self._features.dims == DIMS[-1] else None
        if hasattr(extractor, "classes"):
            known: int | None = extractor.classes
            return known
        logits = self._tried()[1]
        return None if logits is None else logits.shape[1]

    def _tried(self) -> tuple[Tensor, Tensor | None]:
        """What two images of noise give."""
        network = self._features.extractor
        weights = network.parameters() if isinstance(network, nn.Module) else ()
        random = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, (2, 3, 299, 299), dtype=torch.uint8, generator=random)
        noise = noise.to(next((x.device for x in weights), "cpu"))
        try:
            return self._features(noise / 255 if self.normalize else noise, self.normalize)
        except InputError:
            raise
        except Exception as error:  # whatever a network of other images raises
            raise InputError(
                f"extractor: it fails on images of 299 x 299 ({one_line(error)}); give it an "
                "attribute num_features, the number of its features"
            ) from error

    def value(self, number: float | Tensor) -> Tensor:
        return torch.as_tensor(number, dtype=torch.float64).to(self.device, self._result_dtype)
