"""How often the Triton backend launches and compiles, seen by a driver that only writes it down."""

import pytest
import torch
import triton

from ganfast.backends.triton import losses
from ganfast.backends.triton import why_not as triton_why_not
from ganfast.backends.triton.losses import (
    adversarial_loss,
    adversarial_loss_gradient,
)
from ganfast.games import PHIS, LossSpec

KERNELS = [k for k in vars(losses).values() if isinstance(k, triton.JITFunction)]


def spec_of(heads=1, reduction="mean", target=1.0, flip=0.0, noise=0.0):
    targets = (target,) * heads + (0.0,) * heads
    return LossSpec(PHIS["cross_entropy"], targets, heads, reduction, flip, noise)


def play(sizes, spec, key=None, needed=None):
    """Forward and backward; nothing is computed."""
    logits = tuple(torch.zeros(n) for n in sizes)
    values = adversarial_loss(logits, spec, key, torch.float32)
    grads = tuple(values) if isinstance(values, tuple) else (values,)
    adversarial_loss_gradient(grads, logits, spec, key, needed or (True,) * len(logits))


def compiled():
    return sum(len(kernel.device_caches[0][0]) for kernel in KERNELS if kernel.device_caches)


@pytest.mark.parametrize("n", [64, 65_536])
@pytest.mark.parametrize("heads", [1, 3, 4])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_one_launch_each_way(driver, n, heads, reduction):
    play([n] * (2 * heads), spec_of(heads, reduction))
    pair = "_pair" if heads == 1 else ""
    forward = f"sum{pair}_kernel" if reduction == "mean" else f"map{pair}_kernel"
    assert [launch.kernel for launch in driver.launches] == [forward, f"map{pair}_kernel"]


def test_more_tensors_than_a_launch_takes(driver):
    play([2000] * 10, spec_of(5))
    assert [launch.kernel for launch in driver.launches] == ["sum_kernel"] * 2 + ["map_kernel"] * 2
    first, second = (launch.values for launch in driver.launches[:2])
    assert first["counter"] is second["counter"] and first["partials"] is second["partials"]
    assert (first["first_program"], second["first_program"]) == (0, 16)
    assert first["programs"] == second["programs"] == 20


def test_the_grid_of_a_large_sum_is_bounded(driver):
    play([2**24, 2**24 + 1], spec_of())
    forward, backward = driver.launches
    assert forward.grid == 4097 and forward.values["loops_log2"] == 3
    assert backward.grid == 2**15 + 1


def test_nothing_is_launched_for_nothing(driver):
    play([0, 0], spec_of(reduction="none"))
    play([5, 5], spec_of(), needed=(False, False))
    assert [launch.kernel for launch in driver.launches] == ["sum_pair_kernel"]


def test_only_a_new_kind_of_loss_compiles(driver):
    """Not a new size, count of 1, key, rate or combination of gradients."""
    for n in (16, 20_000):
        play([n, n], spec_of(noise=0.1), key=5)
        play([n, n, n, n], spec_of(2, noise=0.1), key=5)
    before = compiled()
    for key, n, target, flip, noise in [
        (1, 1, 1.0, 0.0, 0.1),
        (16, 17, 0.9, 0.3, 0.2),
        (2**40 + 1, 33_000, 0.0, 1.0, 0.0),
        (2**63 + 7, 3_000_001, 0.25, 0.5, 1e-9),
    ]:
        for needed in [(True, True), (False, True), (True, False)]:
            play([n, 3], spec_of(1, "mean", target, flip, noise), key, needed)
            play([n, 3, n, 3], spec_of(2, "mean", target, flip, noise), key, needed * 2)
    assert compiled() == before


def test_types_of_the_arguments(driver):
    for sizes, heads in (([20_000, 5], 1), ([20_000, 5, 3, 3], 2)):
        driver.launches.clear()
        play(sizes, spec_of(heads, noise=0.1), key=torch.tensor(3))
        forward, backward = driver.launches
        for made in (forward, backward):
            assert made.types["key_pointer"] == "*i64"
            for name in ("n0", "n1", "t0", "flip", "noise", "key", "heads", "first_stream"):
                assert made.types[name] == "i64", name
            assert made.types["x1"] == "*fp32"
            if heads == 2:
                assert made.types["x4"] == "constexpr" and made.types["n7"] == "i64"
        assert forward.types["counter"] == "*i32"


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("n", [64, 65_536])
def test_a_second_launch_gives_the_compiled_kernel_what_the_first_did(driver, n, heads):
    spec = spec_of(heads, noise=0.1)
    for _ in range(2):
        play([n] * (2 * heads), spec, key=7)
    first, second = driver.launches[:2], driver.launches[2:]
    for a, b in zip(first, second, strict=True):
        assert (a.kernel, a.grid, a.types) == (b.kernel, b.grid, b.types)
        numbers = ({k: v for k, v in x.values.items() if not torch.is_tensor(v)} for x in (a, b))
        assert next(numbers) == next(numbers)


def test_a_profiler_is_told_of_every_launch(driver, monkeypatch):
    """Triton's hooks are called by Triton's own way of launching."""
    calls = []
    run = triton.JITFunction.run

    def counted(self, *arguments, **options):
        calls.append(self)
        return run(self, *arguments, **options)

    monkeypatch.setattr(triton.JITFunction, "run", counted)

    def hook(_):
        pass

    spec = spec_of()
    play([64, 64], spec)
    play([64, 64], spec)
    assert len(calls) == 2
    triton.knobs.runtime.launch_enter_hook.add(hook)
    try:
        play([64, 64], spec)
    finally:
        triton.knobs.runtime.launch_enter_hook.remove(hook)
    assert len(calls) == 4 and len(driver.launches) == 6


def test_unaligned_addresses_and_dtypes_are_kinds_of_their_own(driver):
    """They come to the same memo and the same sizes: only the compiled kernel differs."""
    spec = spec_of()

    def types(x):
        driver.launches.clear()
        adversarial_loss((x, x), spec, None, torch.float32)
        return driver.launches[0].types["x0"]

    both = torch.zeros(65)
    assert [types(both[:64]) for _ in range(2)] == ["*fp32"] * 2
    before = compiled()
    types(both[1:])
    assert compiled() == before + 1
    assert types(both[:64].half()) == "*fp16" and types(both[:64].bfloat16()) == "*bf16"
    assert compiled() == before + 3


def test_a_new_size_at_each_step_does_not_fill_memory(driver):
    spec = spec_of()
    for n in range(1, 600):
        adversarial_loss((torch.zeros(n), torch.zeros(n)), spec, None, torch.float32)
    assert len(spec.memo) <= 256


def test_why_not():
    assert triton_why_not("cuda") is None
    assert "CUDA device" in triton_why_not("cpu")
