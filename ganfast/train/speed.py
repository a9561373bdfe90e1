"""How the networks run, which is no part of the game: compiled, in half precision, in another
layout, both sides in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganfast.errors import InputError, one_line


@dataclass(frozen=True)
class Speed:
    """Losses and penalties are in float32 in any case, and penalties go through the networks as
    they are: what torch.compile has made has no second derivative."""

    compile: bool = False
    precision: str = "fp32"
    channels_last: bool = False
    merge: bool = False
    capture: bool = False

    def lay_out(self, *modules: nn.Module) -> None:
        """Bring the weights of convolutions into channels_last, in place, if so asked for."""
        for module in modules if self.channels_last else ():
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward_of(self, module: nn.Module) -> Callable[..., Tensor]:
        """What to call in place of ``module`` where no penalty is taken; float32 out."""
        run: Callable[..., Tensor] = module
        if self.compile:
            run = _explained(torch.compile(module))
        if self.precision == "fp32":
            return run

        def in_half(x: Tensor, **size: Any) -> Tensor:
            with torch.autocast(x.device.type, dtype=torch.bfloat16):
                return run(x, **size)

        return lambda x, **size: in_half(x, **size).float()


def _explained(compiled: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A compiler that fails is told in one line: mostly there is none for C++ on the machine."""

    def run(*inputs: Any, **size: Any) -> Tensor:
        try:
            return compiled(*inputs, **size)
        except Exception as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise InputError(
                    f"compile: torch.compile can't here ({one_line(error)}); leave it out"
                ) from error
            raise

    return run
