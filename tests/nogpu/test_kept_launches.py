"""A launch that is kept gives the driver what Triton's own launcher gives it, bit for bit.

Both launch on a library that stands in for the driver's, on CPU tensors.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import triton
from fake_driver import Driver
from stub_driver import StubDriver
from triton.backends.nvidia import driver as of_triton

from ganfast.backends.triton import kept, launch, losses
from ganfast.backends.triton.losses import adversarial_loss, adversarial_loss_gradient
from ganfast.games import PHIS, LossSpec

pytest.importorskip("ganfast._cpu")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the driver is there itself")

KERNELS = [k for k in vars(losses).values() if isinstance(k, triton.JITFunction)]
FUNCTION, STREAM = 0x1234, 0x5678


class Launching(StubDriver):
    """Kernels are compiled; Triton's own launcher launches them on the driver that stands in."""

    def __init__(self, utils) -> None:
        super().__init__()
        instead = {
            "load_binary": lambda *_: (object(), FUNCTION, 32, 0, 1024),
            "unload_module": lambda *_: None,
            "get_device_properties": lambda _: {"max_shared_mem": 2**17},
        }
        self.utils = SimpleNamespace(**{**vars(utils), **instead})
        self.launcher_cls = of_triton.CudaLauncher

    def get_current_stream(self, device):
        return STREAM + (device or 0)


@pytest.fixture(scope="module")
def library():
    return Driver()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Of Triton: what it compiles here for its launcher is for here only."""
    return str(tmp_path_factory.mktemp("triton"))


@pytest.fixture
def driver(library, monkeypatch, cache):
    monkeypatch.setenv("TRITON_LIBCUDA_PATH", str(library.path.parent))
    monkeypatch.setenv("TRITON_CACHE_DIR", cache)
    monkeypatch.setattr(of_triton, "libcuda_dirs", lambda: [str(library.path.parent)])
    monkeypatch.setattr(of_triton, "library_dirs", lambda: [str(library.path.parent)])
    monkeypatch.setattr(triton.runtime.driver, "_active", Launching(of_triton.CudaUtils()))
    monkeypatch.setattr(launch, "_compiled", {})
    monkeypatch.setattr(kept, "LIBRARY", str(library.path))
    forget()
    library.set_device(0)
    yield library
    forget()


def forget():
    kept._driver.cache_clear()
    for kernel in KERNELS:
        kernel.device_caches.clear()


POINTERS = {f"*{kind}" for kind in ("fp32", "fp64", "bf16")}
CASES = {
    "discriminator": ("cross_entropy", (1.0, 0.0), {}, 2),
    "smoothed hinge": ("hinge", (0.9, 0.0), {}, 2),
    "generator": ("cross_entropy", (1.0,), {}, 1),
    "relativistic": ("cross_entropy", (1.0,), {"compares": "pairs"}, 2),
}


def spec_of(phi, targets, options):
    return LossSpec(PHIS[phi], targets, 1, "mean", **options)


def numbers(library, tensors):
    """What the last launch was given, with the places of tensors in place of their addresses."""
    given = library.last()
    places = {x.data_ptr().to_bytes(8, "little"): i for i, x in enumerate(tensors)}
    return given._replace(parameters=tuple(places.get(each, each) for each in given.parameters))


def both_ways(library, spec, logits, grad):
    """A forward and a backward launch, and how many of them were no launches of Triton's."""
    done = []
    out = adversarial_loss(logits, spec, None, torch.float32)
    done.append(numbers(library, (out, *logits)))
    found = adversarial_loss_gradient((grad,), logits, spec, None, (True,) * len(logits))
    done.append(numbers(library, (grad, *logits, *found)))
    return done


@pytest.fixture
def ran(monkeypatch):
    """Of each launch that was looked for, whether it was there."""
    found = []
    run = kept.Kept.run

    def looked(self, given):
        found.append(run(self, given))
        return found[-1]

    monkeypatch.setattr(kept.Kept, "run", looked)
    return found


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        *((case, torch.float32) for case in CASES),
        *(("discriminator", dtype) for dtype in (torch.float64, torch.bfloat16)),
    ],
)
def test_the_driver_gets_what_triton_gives_it(driver, ran, case, dtype):
    phi, targets, options, count = CASES[case]
    spec = spec_of(phi, targets, options)
    sizes = (64, 64) if spec.paired else (64, 300)
    logits = tuple(torch.zeros(n, dtype=dtype) for n in sizes[:count])
    grad = torch.ones((), dtype=torch.float32)
    both_ways(driver, spec, logits, grad)
    for compiled in launch._compiled.values():
        assert set(compiled.types.values()) <= {"constexpr", "i64", *POINTERS}
    driver.expect(*[8] * 7)
    theirs = both_ways(driver, spec, logits, grad)
    before = driver.launches
    ours = both_ways(driver, spec, logits, grad)
    assert ran == [True, True] and driver.launches == before + 2
    assert ours == theirs
    for given in ours:
        assert given.function == FUNCTION and given.stream == STREAM and given.attributes == 0
        assert given.dimensions[3:6] == (128, 1, 1)
        assert any(isinstance(each, int) for each in given.parameters)


def halves(x):
    return torch.stack([x, x], 1)[:, 0]


def one_on(x):
    return torch.cat([x[:1], x])[1:]


@pytest.mark.parametrize("change", [lambda x: x[:32], torch.Tensor.double, halves, one_on])
def test_other_tensors_are_launched_by_triton(driver, ran, change):
    spec = spec_of(*CASES["discriminator"][:3])
    logits = torch.zeros(64), torch.zeros(64)
    grad = torch.ones(())
    for _ in range(2):
        both_ways(driver, spec, logits, grad)
    ran.clear()
    before = driver.launches
    both_ways(driver, spec, tuple(map(change, logits)), grad)
    both_ways(driver, spec, logits, grad)
    assert ran == [False, False, True, True] and driver.launches == before + 4


def test_where_triton_has_more_to_do(driver, ran, monkeypatch):
    """Another device is current, or none; a profiler wants to be told; nobody knows this Triton."""
    spec = spec_of(*CASES["discriminator"][:3])
    logits = torch.zeros(64), torch.zeros(64)

    def play():
        ran.clear()
        before = driver.launches
        both_ways(driver, spec, logits, torch.ones(()))
        assert driver.launches == before + 2
        return ran[-2:]

    play()
    assert play() == [] and play() == [True, True]
    for device in (1, -1):
        driver.set_device(device)
        assert play() == [False, False]
    driver.set_device(0)
    hooks = triton.knobs.runtime.launch_enter_hook
    told = []
    hooks.add(told.append)
    try:
        assert play() == [False, False] and len(told) == 2
    finally:
        hooks.remove(told.append)
    assert play() == [True, True]
    spec.memo.clear()
    kept._driver.cache_clear()
    monkeypatch.setattr(triton, "__version__", "3.10.0")
    for _ in range(3):
        assert not any(play())


def test_an_error_of_the_driver_is_raised(driver, ran):
    spec = spec_of(*CASES["generator"][:3])
    for _ in range(2):
        both_ways(driver, spec, (torch.zeros(64),), torch.ones(()))
    driver.fail(700)
    try:
        with pytest.raises(RuntimeError, match="cuLaunchKernel: CUDA error 700"):
            both_ways(driver, spec, (torch.zeros(64),), torch.ones(()))
    finally:
        driver.fail(0)


def test_what_needs_more_than_its_arguments_is_not_kept(driver):
    spec = spec_of(*CASES["discriminator"][:3])
    for _ in range(2):
        both_ways(driver, spec, (torch.zeros(64), torch.zeros(64)), torch.ones(()))
    (compiled, *_) = launch._compiled.values()
    assert kept._simple(compiled)
    for name in ("global_scratch_size", "profile_scratch_size", "launch_pdl", "gsan_enabled"):
        run = SimpleNamespace(**{**vars(compiled.run), name: 1})
        assert not kept._simple(compiled._replace(run=run))
    assert not kept._simple(compiled._replace(run=SimpleNamespace()))
    assert not kept._simple(compiled._replace(function=object()))


def test_sizes_without_end_are_not_kept(driver):
    spec = spec_of(*CASES["generator"][:3])
    for _ in range(2):
        for n in range(1, 60):
            both_ways(driver, spec, (torch.zeros(n),), torch.ones(()))
    for each in spec.memo.values():
        if isinstance(each, kept.Kept):
            assert len(each.launches) == 16
