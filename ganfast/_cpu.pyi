# What csrc/cpu/module.cpp offers. `loss` is a handle; a dtype is 0 float32, 1 float64, 2 float16 or
# 3 bfloat16. The functions on tensors return False, having done nothing, if one is not contiguous.

from typing import Any

from torch import Generator, Tensor

_Numbers = tuple[int, int, int, int]

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
    loss: int, key: int, dtype: int, threads: int, logits: tuple[Tensor, ...], out: Tensor, /
) -> bool: ...
def reduced_gradient(
    loss: int,
    key: int,
    dtype: int,
    threads: int,
    logits: tuple[Tensor, ...],
    outs: tuple[Tensor | None, ...],
    grad: Tensor,
    /,
) -> bool: ...
def values(
    loss: int,
    key: int,
    dtype: int,
    threads: int,
    logits: tuple[Tensor, ...],
    outs: tuple[Tensor, ...],
    /,
) -> bool: ...
def values_gradient(
    loss: int,
    key: int,
    dtype: int,
    threads: int,
    logits: tuple[Tensor, ...],
    outs: tuple[Tensor | None, ...],
    grads: tuple[Tensor, ...],
    /,
) -> bool: ...
def rmsprop(
    param_groups: list[dict[str, Any]],
    state: dict[Tensor, Any],
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
    threads: int,
    /,
) -> int: ...
def adam(
    param_groups: list[dict[str, Any]],
    state: dict[Tensor, Any],
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
    threads: int,
    /,
) -> int: ...
def clip_weights(
    tensors: list[Tensor], bound: float, count: bool, threads: int, /
) -> int | None: ...
def reads_tensors() -> bool: ...
def interpolate(
    key: int,
    threads: int,
    group: int,
    real: Tensor,
    fake: Tensor,
    out: Tensor,
    /,
) -> bool: ...
def draw_and_interpolate(
    spare_words: list[Tensor],
    generator: Generator | None,
    threads: int,
    group: int,
    real: Tensor,
    fake: Tensor,
    /,
) -> Tensor | None: ...
def interpolate_gradient(
    key: int,
    threads: int,
    group: int,
    grad: Tensor,
    of_real: Tensor | None,
    of_fake: Tensor | None,
    /,
) -> bool: ...
def penalty(
    threads: int,
    rows: int,
    target: float,
    one_sided: bool,
    weight: float,
    x: Tensor,
    norms: Tensor,
    out: Tensor,
    /,
) -> bool: ...
def penalty_gradient(
    threads: int,
    rows: int,
    target: float,
    one_sided: bool,
    weight: float,
    x: Tensor,
    norms: Tensor,
    grad: Tensor,
    out: Tensor,
    /,
) -> bool: ...
def penalty_second_order(
    threads: int,
    rows: int,
    target: float,
    one_sided: bool,
    weight: float,
    x: Tensor,
    norms: Tensor,
    grad: Tensor,
    v: Tensor,
    of_grad: Tensor,
    of_x: Tensor,
    /,
) -> bool: ...
def pivoted_panel(
    rest: int,
    order: int,
    panel: int,
    factor: int,
    n: int,
    start: int,
    width: int,
    cut: float,
    floor: float,
    many: int,
) -> int: ...
def symmetry(a: int, count: int, n: int, threads: int, out: int) -> None: ...
def batch_sqrtm(
    a: int,
    out: int,
    definite: int,
    count: int,
    n: int,
    tolerance: float,
    sweeps: int,
    threads: int,
) -> list[int]: ...
def batch_trace_sqrtm(
    a: int,
    b: int,
    out: int,
    definite: int,
    count: int,
    n: int,
    tolerance_a: float,
    tolerance_b: float,
    sweeps: int,
    threads: int,
) -> list[int]: ...

PANEL: int

def pack_rows(
    at: int,
    capacity: int,
    n: int,
    first: int,
    x: int,
    is_double: bool,
    stride: int,
    k: int,
    threads: int,
) -> bool: ...
def unpack_rows(at: int, capacity: int, n: int, k: int, out: int) -> None: ...
def centre_rows(
    at: int, capacity: int, n: int, k: int, high: int, low: int, threads: int
) -> None: ...
def syrk(at: int, capacity: int, n: int, k: int, c: int, threads: int) -> None: ...
def preprocess(
    groups: list[tuple[int, int, _Numbers, _Numbers, _Numbers]],
    out: int,
    dtype: int,
    height: int,
    width: int,
    scale: float,
    shift: float,
    clip: bool,
    threads: int,
) -> None: ...
def evaluate(phi: int, order: int, x: float, t: float) -> float: ...
def isa() -> str: ...
def supported_isas() -> list[str]: ...
def use_isa(name: str, /) -> None: ...
