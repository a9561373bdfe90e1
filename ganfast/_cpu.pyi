# What csrc/cpu/module.cpp offers. Addresses are data_ptr(), counts are elements; a dtype is
# 0 float32, 1 float64, 2 float16 or 3 bfloat16.

class Loss:
    def __init__(
        self,
        phi: int,
        dtype: int,
        mean: bool,
        heads: int,
        targets: list[float],
        flip: float,
        noise: float,
        /,
    ) -> None: ...
    def reduced(
        self,
        logits: tuple[int, ...],
        counts: tuple[int, ...],
        key: int,
        out: int,
        out_dtype: int,
        threads: int,
        /,
    ) -> None: ...
    def values(
        self,
        logits: tuple[int, ...],
        counts: tuple[int, ...],
        key: int,
        outs: tuple[int, ...],
        out_dtype: int,
        threads: int,
        /,
    ) -> None: ...
    def reduced_gradient(
        self,
        logits: tuple[int, ...],
        counts: tuple[int, ...],
        key: int,
        grad: int,
        grad_dtype: int,
        outs: tuple[int, ...],
        threads: int,
        /,
    ) -> None: ...
    def values_gradient(
        self,
        logits: tuple[int, ...],
        counts: tuple[int, ...],
        key: int,
        grads: tuple[int, ...],
        grad_dtype: int,
        outs: tuple[int, ...],
        threads: int,
        /,
    ) -> None: ...

def evaluate(phi: int, order: int, x: float, t: float) -> float: ...
def isa() -> str: ...
def supported_isas() -> list[str]: ...
def use_isa(name: str, /) -> None: ...
