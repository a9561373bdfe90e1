"""Images from wherever they lie, as uint8 RGB batches."""

from ganfast.metrics.images.arrays import is_statistics_file
from ganfast.metrics.images.batch import Batch, Skipped
from ganfast.metrics.images.open import open_images
from ganfast.metrics.images.source import ImageSource

__all__ = ["Batch", "ImageSource", "Skipped", "is_statistics_file", "open_images"]
