"""What a critic returned, and which of it are scores."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.compiler import is_compiling

from ganfast.errors import InputError, InputTypeError

Scores = str | int | Sequence[str | int] | None
"""Which of a critic's outputs are its scores: keys, names or indices; None for all of them."""


def scores_of(outputs: Any, scores: Scores = None, *, depth: int = 4) -> list[Tensor]:
    """Every tensor in what a critic returned, or in those of its outputs that ``scores`` names.

    ``depth`` is the stacklevel of a warning, for the user's own line.
    """
    if scores is not None:
        names: Any = scores if isinstance(scores, (list, tuple)) else [scores]
        outputs = {name: _named(outputs, name) for name in names}
    elif isinstance(outputs, Tensor):
        return [_score(outputs, "", outputs)]
    found = [_score(x, where, outputs) for where, x in _leaves(outputs)]
    if not found:
        raise InputError("critic: it returned no tensor; return its scores, one or more a sample")
    if scores is None and not is_compiling():
        _warn_of_features(outputs, depth)
    return found


def _named(outputs: Any, name: Any) -> Any:
    if isinstance(outputs, (dict, list, tuple)):
        with contextlib.suppress(KeyError, IndexError, TypeError):
            return outputs[name]
    if isinstance(name, str) and not isinstance(outputs, Tensor) and hasattr(outputs, name):
        return getattr(outputs, name)  # a NamedTuple or a dataclass
    known = [*getattr(outputs, "_fields", ()), *(repr(name) for name, _ in _items(outputs))]
    there = f" with outputs {', '.join(known)}" if known else ", which has no outputs by name"
    raise InputError(f"scores: got {name!r}; the critic returned a {type(outputs).__name__}{there}")


def _items(outputs: Any) -> list[tuple[str | int, Any]]:
    """Each output of a critic, and what ``scores`` calls it."""
    if isinstance(outputs, dict):
        return list(outputs.items())
    return list(enumerate(outputs)) if isinstance(outputs, (list, tuple)) else []


def _leaves(outputs: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(outputs, (dict, list, tuple)):
        for name, item in _items(outputs):
            yield from _leaves(item, f"{where}[{name!r}]")
    else:
        yield where, outputs


def _score(x: Any, where: str, outputs: Any) -> Tensor:
    """``x`` itself, if it can be a score."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return x
    got = str(x.dtype) if isinstance(x, Tensor) else f"a {type(x).__name__}"
    at = f" as output {where}" if where else ""
    likely = next((name for name, x in _items(outputs) if _is_score(x)), None)
    cure = f"; name the scores alone, scores={likely!r}" if likely is not None else ""
    if isinstance(x, Tensor):
        raise InputError(f"critic: it returned {got}{at}; scores are real numbers{cure}")
    cure = cure or "; give a tensor of scores, or a list, tuple or dict of them"
    raise InputTypeError(f"critic: it returned {got}{at}{cure}")


def _is_score(x: Any) -> bool:
    """Whether it has one number for each sample, or for each place of a map as PatchGAN's."""
    return (
        isinstance(x, Tensor)
        and x.is_floating_point()
        and (x.dim() == 1 or (x.dim() > 1 and x.shape[1] == 1))
    )


def _is_features(x: Any) -> bool:
    """Whether it is a map of several channels. (n, k) may be the flattened scores of k patches."""
    return isinstance(x, Tensor) and x.dim() > 2 and x.shape[1] > 1 and x.requires_grad


def _warn_of_features(outputs: Any, depth: int) -> None:
    """Says which of several outputs is penalised as scores are and looks like none."""
    leaves = list(_leaves(outputs))
    features = [where for where, x in leaves if _is_features(x)]
    if not features or len(features) == len(leaves):
        return
    likely = [
        name for name, x in _items(outputs) if not any(_is_features(y) for _, y in _leaves(x))
    ]
    cure = f"name the scores alone, scores={(likely[0] if len(likely) == 1 else likely)!r}"
    warnings.warn(
        f"critic: its output {features[0]} has the shape of features, and the penalty is about the "
        f"sum of all outputs; {cure if likely else 'give a function that returns scores alone'}",
        stacklevel=depth,
    )
