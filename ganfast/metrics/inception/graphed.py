"""The Inception network on a GPU as CUDA graphs, one for each shape of batch that comes again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ganfast.captured import CapturedStep, capture
from ganfast.errors import InputError

MOST = 2
"""Graphs that are kept: each holds the memory of its batch's activations."""


class GraphedNetwork:
    """``network``, which launches hundreds of kernels a batch, with one launch a batch.

    The first batch of a shape runs as it is; when the shape comes again the network is captured,
    and replayed from then on: the same kernels, the same bits. So the last, smaller batch of a set
    has no graph, and neither have batches that all differ. Where nothing can be captured (memory
    that does not suffice, a stream that is being captured already, gradients) the network runs as
    it is.

    ``network`` must do the same for every batch of a shape, and nothing else.
    """

    def __init__(self, network: Callable[[Tensor], Any]) -> None:
        self.network = network
        self.impossible: str | None = None
        """Why a capture failed, after which none is tried."""
        self._graphs: dict[tuple[Any, ...], CapturedStep] = {}
        self._seen: set[tuple[Any, ...]] = set()
        # A graph has one memory for its input and one for what comes out.
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"network": self.network}  # a copy captures its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self, images: Tensor) -> Any:
        if torch.is_grad_enabled() or torch.cuda.is_current_stream_capturing():
            return self.network(images)
        stream = torch.cuda.current_stream(images.device).cuda_stream
        form = (images.shape, images.stride(), images.dtype, images.device, stream)
        with self._lock:
            graph = self._graph(form, images)
            # What comes out is overwritten by the next batch.
            return self.network(images) if graph is None else tree_map(_copied, graph(images))

    def _graph(self, form: tuple[Any, ...], images: Tensor) -> CapturedStep | None:
        if form in self._graphs:
            return self._graphs[form]
        again = form in self._seen
        self._seen.add(form)
        if not again or self.impossible is not None or len(self._graphs) >= MOST:
            return None
        try:
            self._graphs[form] = capture(self.network, images, warm_up=2)
        except (InputError, RuntimeError) as error:
            self.impossible = str(error)
            return None
        return self._graphs[form]


def _copied(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x
