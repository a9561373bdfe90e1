# What csrc/cpu/module.cpp offers. `loss` is a handle, addresses are data_ptr(), counts elements.
# A dtype is 0 float32, 1 float64, 2 float16 or 3 bfloat16. What follows `threads` comes per tensor.

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
    @property
    def handle(self) -> int: ...

def reduced(
    loss: int, key: int, out: int, out_dtype: int, threads: int, /, *logits_count: int
) -> None: ...
def reduced_gradient(
    loss: int, key: int, grad: int, grad_dtype: int, threads: int, /, *logits_count_out: int
) -> None: ...
def values(
    loss: int, key: int, out_dtype: int, threads: int, /, *logits_count_out: int
) -> None: ...
def values_gradient(
    loss: int, key: int, grad_dtype: int, threads: int, /, *logits_count_out_grad: int
) -> None: ...
def evaluate(phi: int, order: int, x: float, t: float) -> float: ...
def isa() -> str: ...
def supported_isas() -> list[str]: ...
def use_isa(name: str, /) -> None: ...
