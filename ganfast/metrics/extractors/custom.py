"""Any network as an Extractor, by its import path ``module:factory``."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ganfast import _checks
from ganfast.errors import InputError
from ganfast.metrics.choices import EXTRACTOR_FORMS, EXTRACTORS
from ganfast.metrics.extractors.extractor import Extractor, Preprocess, identity, split_output
from ganfast.metrics.extractors.precision import float32_products
from ganfast.metrics.protocols import Protocol
from ganfast.metrics.summary.score_tally import PROBABILITIES, are_probabilities

DEFAULT_SIZE = 299


def load_custom(
    path: str,
    *,
    name: str | None = None,
    protocol: Protocol,
    precision: str = "fp32",
    device: torch.device,
    compile: bool = False,
    preprocess: Preprocess | None = None,
) -> Extractor:
    """The network that ``factory()`` of ``module`` gives, for ``path`` = "module:factory".

    It must be an nn.Module that takes float32 (n, 3, height, width), scaled by the protocol to
    about [-1, 1], and gives features (n, d), or features and logits (n, classes). Its attribute
    ``input_size``, a number or (height, width), says what images are resized to, by default 299.
    It is put in evaluation mode on ``device``, and tried on two images of noise. For "bf16" it runs
    under autocast. The current folder can be imported from, as with ``python -m``. The other
    arguments are those of load_extractor, which has checked them.

    Raises:
        ValueError: (an InputError of one line) whatever is wrong with the path, the factory or the
            output.
    """
    name = name or path
    with _current_folder():
        module = _made(path, name)
        size = _input_size(module, name)
        module.to(device).eval().requires_grad_(False)
        network = as_run(module, precision, device, compile)
        dim, classes = tried(network, size, precision, device, name)
    return Extractor(
        network,
        name=name,
        # As made, not as compiled: that is the same network.
        identity=identity(name, module.state_dict()),
        dim=dim,
        classes=classes,
        protocol=protocol,
        precision=precision,
        device=device,
        size=size,
        preprocess=preprocess,
    )


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """Modules are found in the current folder too, which a console script doesn't look into."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # what was imported may have taken it away
            sys.path.remove(folder)


def _made(path: str, name: str) -> nn.Module:
    factory = _factory(path)
    try:
        made = factory()
    except InputError:
        raise
    # The user's code: what it raises is news of it, not of us; the cause is kept.
    except Exception as error:
        raise InputError(f"extractor {name}: {path}() failed: {described(error)}") from error
    if not isinstance(made, nn.Module):
        raise InputError(
            f"extractor {name}: {path}() gave a {type(made).__name__}; return a torch.nn.Module"
        )
    return made


def _factory(path: str) -> Callable[[], Any]:
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        known = ", ".join(EXTRACTORS)
        raise InputError(
            f"extractor: got {path!r}; give one of {known}, {EXTRACTOR_FORMS}"
            f"{_checks.suggestion(path, EXTRACTORS)}"
        )
    try:
        factory: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Of mine.networks either part may be what is missing; or what those import.
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                f"extractor {path}: there is no module {error.name}; the current folder and "
                f"PYTHONPATH were looked through"
            ) from None
        raise InputError(f"extractor {path}: {module_name} needs {error.name}: {error}") from error
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"extractor {path}: {module_name} fails: {described(error)}") from error
    for part in attribute.split("."):
        if not hasattr(factory, part):
            raise InputError(f"extractor {path}: {module_name} has no {attribute}")
        factory = getattr(factory, part)
    if not callable(factory):
        raise InputError(
            f"extractor {path}: {attribute} is a {type(factory).__name__}; give a function without "
            "arguments that makes the network"
        )
    return factory


def described(error: Exception) -> str:
    """Its type, and the first line of what it says."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _input_size(module: nn.Module, name: str) -> tuple[int, int]:
    size = getattr(module, "input_size", DEFAULT_SIZE)
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    try:
        height, width = (_checks.integer("input_size", side, least=1) for side in pair)
    except ValueError:
        raise InputError(
            f"extractor {name}: got the input_size {size!r}; give a number of pixels or "
            "(height, width)"
        ) from None
    return height, width


def as_run(
    module: nn.Module, precision: str, device: torch.device, compile: bool
) -> Callable[[Tensor], Any]:
    network: Callable[[Tensor], Any] = torch.compile(module) if compile else module
    if precision != "bf16":
        return network

    def autocast(batch: Tensor) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            return network(batch)

    return autocast


def tried(
    network: Callable[[Tensor], Any],
    size: tuple[int, int],
    precision: str,
    device: torch.device,
    name: str,
) -> tuple[int, int | None]:
    """The width of features and logits, seen on noise."""
    noise = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = noise.to(device, memory_format=torch.channels_last)
    try:
        with torch.inference_mode(), float32_products(precision):
            output = network(batch)
    except InputError as error:
        raise InputError(f"extractor {name}: {error}") from None
    except Exception as error:
        raise InputError(
            f"extractor {name}: the network fails on float32 {tuple(batch.shape)}: "
            f"{described(error)}"
        ) from error
    features, logits = split_output(output, name)
    for what, x in (("features", features), ("logits", logits)):
        if x is None:
            continue
        if x.ndim != 2 or len(x) != 2 or not x.shape[1]:
            raise InputError(
                f"extractor {name}: got {what} of shape {tuple(x.shape)} for 2 images; give (2, d)"
            )
        if not x.is_floating_point():
            raise InputError(f"extractor {name}: got {what} of {x.dtype}; give floats")
        if not bool(x.isfinite().all()):
            raise InputError(f"extractor {name}: got {what} that are NaN or inf for finite images")
    if logits is not None and are_probabilities(logits):
        raise InputError(f"extractor {name}: {PROBABILITIES}")
    return features.shape[1], None if logits is None else logits.shape[1]
