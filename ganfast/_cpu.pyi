# What csrc/cpu offers: each function as its own documentation begins (tests/test_cpu_module.py).

from collections.abc import Sequence
from typing import Any, SupportsIndex

from torch import Tensor

PANEL: int

def adam(optimizer: Any, /) -> None: ...
def adam_refused(optimizer: Any, /) -> Any: ...
def ball_count(
    x: tuple[Tensor, Tensor],
    y: tuple[Tensor, Tensor],
    products: Tensor,
    row: int,
    column: int,
    scale: float,
    around_x: tuple[Tensor, tuple[Tensor, Tensor]],
    around_y: tuple[Tensor, tuple[Tensor, Tensor]],
    /,
) -> bool: ...
def batch_sqrtm(
    a: Tensor, tolerance: float, sweeps: int, roots: Tensor, definite: Tensor, /
) -> list[int]: ...
def batch_trace_sqrtm(
    a: Tensor,
    b: Tensor,
    tolerance_a: float,
    tolerance_b: float,
    sweeps: int,
    traces: Tensor,
    definite: Tensor,
    /,
) -> list[int]: ...
def centre_rows(n: int, count: int, packed: Tensor, high: Tensor, low: Tensor, /) -> None: ...
def clip_weights(tensors: Any, bound: float, count: bool, /) -> int: ...
def count_steps(counters: Any, /) -> None: ...
def distance_gradient(
    square: bool,
    weights: Sequence[float],
    real: Sequence[Tensor],
    fake: Sequence[Tensor],
    grad: Tensor,
    outs: Sequence[Tensor | None],
    /,
) -> None: ...
def distance_value(
    square: bool,
    weights: Sequence[float],
    real: Sequence[Tensor],
    fake: Sequence[Tensor],
    out: Tensor,
    /,
) -> None: ...
def evaluate(phi: int, order: int, x: float, t: float, /) -> float: ...
def interpolate(
    key: SupportsIndex, group: int, real: Tensor, fake: Tensor, out: Tensor, /
) -> None: ...
def interpolate_gradient(
    key: SupportsIndex, group: int, grad: Tensor, of_real: Tensor | None, of_fake: Tensor | None, /
) -> None: ...
def isa() -> str: ...
def kept_launch(
    function: int,
    grid: int,
    threads: int,
    shared: int,
    current_stream: Any,
    numbers: Sequence[int],
    places: Sequence[int],
    tensors: Any,
    /,
) -> Any: ...
def launch(launches: Any, tensors: Any, /) -> bool: ...
def loss(
    phi: int,
    reduction: str,
    heads: int,
    targets: Sequence[float],
    flip: float,
    noise: float,
    paired: bool,
    /,
) -> Any: ...
def loss_gradient(
    loss: Any,
    key: SupportsIndex | None,
    logits: Sequence[Tensor],
    grads: Sequence[Tensor],
    outs: Sequence[Tensor | None],
    /,
) -> None: ...
def loss_value(
    loss: Any,
    key: SupportsIndex | None,
    logits: Sequence[Tensor],
    outs: Sequence[Tensor],
    statistics: Tensor | None,
    /,
) -> None: ...
def nearest_add(
    x: tuple[Tensor, Tensor],
    products: Tensor,
    row: int,
    column: int,
    scale: float,
    k: int,
    intervals: Tensor,
    index: Tensor,
    filled: Tensor,
    limit: Tensor,
    /,
) -> bool: ...
def nearest_take(
    x: tuple[Tensor, Tensor],
    scale: float,
    k: int,
    intervals: Tensor,
    index: Tensor,
    filled: Tensor,
    limit: Tensor,
    out: Tensor,
    /,
) -> bool: ...
def pack_rows(n: int, first: int, rows: Tensor, packed: Tensor, /) -> bool: ...
def penalty(
    rows: int,
    target: float,
    one_sided: bool,
    weight: float,
    x: Tensor,
    norms: Tensor,
    out: Tensor,
    /,
) -> None: ...
def penalty_gradient(
    rows: int,
    target: float,
    one_sided: bool,
    weight: float,
    x: Tensor,
    norms: Tensor,
    grad: Tensor,
    out: Tensor,
    /,
) -> None: ...
def penalty_second_order(
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
) -> None: ...
def pivoted_panel(
    rest: Tensor,
    order: Tensor,
    panel: Tensor,
    factor: Tensor,
    start: int,
    cut: float,
    floor: float,
    many: int,
    /,
) -> int: ...
def preprocess(
    images: Sequence[Tensor],
    down: Sequence[tuple[Tensor, Tensor]],
    across: Sequence[tuple[Tensor, Tensor]],
    scale: float,
    shift: float,
    clip: bool,
    out: Tensor,
    /,
) -> None: ...
def rmsprop(optimizer: Any, /) -> None: ...
def rmsprop_refused(optimizer: Any, /) -> Any: ...
def step_table(first: Tensor, params: Any, state: Any, arrays: Any, /) -> Any: ...
def supported_isas() -> list[str]: ...
def symmetry(a: Tensor, out: Tensor, /) -> None: ...
def syrk(n: int, count: int, packed: Tensor, matrix: Tensor, /) -> None: ...
def tensor_table(tensors: Any, /) -> Any: ...
def unpack_rows(n: int, packed: Tensor, out: Tensor, /) -> None: ...
def use_driver(library: str, /) -> bool: ...
def use_exchange_api(wanted: bool, /) -> bool: ...
def use_isa(name: str, /) -> None: ...
