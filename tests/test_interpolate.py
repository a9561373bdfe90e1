"""Points between samples: one eps for each sample, the same on every backend, in any layout."""

from __future__ import annotations

import pytest
import torch
import truth
from torch.autograd import gradcheck, gradgradcheck

import ganfast
import ganfast.functional as GF
from ganfast import _philox, reference

KERNELS = truth.backends()
SHAPES = [(1,), (7,), (64, 2), (5, 1), (300, 3), (9, 3, 5, 7), (4, 3, 31, 31), (2, 3, 4, 5, 6)]
LAYOUTS = ["contiguous", "channels_last", "batch_inside", "slice", "expanded", "negative"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def laid_out(shape, layout, dtype=torch.float32):
    x = torch.randn(shape).to(dtype)
    if layout == "channels_last":
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        return x.to(memory_format=formats[x.dim()]) if x.dim() in formats else x
    if layout == "batch_inside":
        return x.movedim(0, -1).contiguous().movedim(-1, 0)
    if layout == "slice":
        return torch.randn((*shape[:-1], 2 * shape[-1])).to(dtype)[..., ::2]
    if layout == "expanded":
        return torch.randn((1, *shape[1:])).to(dtype).expand(shape)
    if layout == "negative":
        return torch.complex(x.float(), x.float()).conj().imag.to(dtype)  # a pending negation
    return x


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("dtype", truth.DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_gradient(shape, dtype, backend):
    real, fake, grad = (torch.randn(shape).to(dtype) for _ in range(3))
    eps = reference.penalty.epsilon(real.double(), 77, 1)
    truths = eps * real.double() + (1 - eps) * fake.double()
    with ganfast.backend(backend):
        module = ganfast._dispatch.serve("interpolate", (real,))
        ours = module.interpolate(real, fake, 77, 1)
        of_real, of_fake = module.interpolate_gradient(grad, 77, 1, (True, True))
    torchs = eps.to(dtype) * real + (1 - eps.to(dtype)) * fake
    size = real.abs().max() + fake.abs().max()
    truth.assert_as_good_as_torch(ours, torchs, truths, size)
    for got, scale in ((of_real, eps), (of_fake, 1 - eps)):
        expected = scale * grad.double()
        truth.assert_as_good_as_torch(got, scale.to(dtype) * grad, expected, grad.abs().max())


@pytest.mark.parametrize("backend", [*KERNELS, "reference"])
@pytest.mark.parametrize("other", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(6, 4), (4, 3, 8, 6), (1, 2, 3, 3), (3, 1, 4, 4)])
def test_layouts(shape, layout, other, backend):
    real, fake = laid_out(shape, layout), laid_out(shape, other)
    eps = reference.penalty.epsilon(real, _philox.new_key(real.device, seeded()), 1)
    expected = eps * real + (1 - eps) * fake
    with ganfast.backend(backend):
        leaf = real.detach().requires_grad_()
        got = GF.interpolate(leaf, fake, generator=seeded())
        torch.testing.assert_close(got, expected)
        grad = laid_out(shape, other)
        torch.testing.assert_close(torch.autograd.grad(got, leaf, grad)[0], eps * grad)
    if backend != "reference":
        assert got.stride() == torch.empty_like(real).stride(), "in real's layout"


@pytest.mark.parametrize("backend", [*KERNELS, "reference"])
def test_one_eps_per_sample_uniform_and_independent(backend):
    """Not one per batch (torchgan), not one per pixel (PyTorch-GAN #5), not N(0, 1) (keras-io)."""
    n = 20_000
    with ganfast.backend(backend):
        points = GF.interpolate(torch.ones(n, 3, 2), torch.zeros(n, 3, 2), generator=seeded())
    eps = points[:, 0, 0]
    assert torch.equal(points, eps[:, None, None].expand(n, 3, 2))
    assert eps.unique().numel() > 0.99 * n
    assert eps.min() >= 0 and eps.max() < 1
    assert abs(eps.mean() - 0.5) < 4 * (1 / 12 / n) ** 0.5
    assert abs(eps.var() - 1 / 12) < 0.02 / 12
    assert abs(torch.corrcoef(torch.stack((eps[1:], eps[:-1])))[0, 1]) < 4 / n**0.5


def test_the_same_eps_on_every_backend_and_after_a_resume():
    real, fake = torch.ones(65, 2), torch.zeros(65, 2)

    def draw(backend, generator):
        with ganfast.backend(backend):
            return GF.interpolate(real, fake, generator=generator)

    expected = draw("reference", seeded(3))
    for backend in KERNELS:
        assert torch.equal(draw(backend, seeded(3)), expected)
        assert not torch.equal(draw(backend, seeded(4)), expected)
        generator = seeded(3)
        draw(backend, generator)
        state = generator.get_state()
        second = draw(backend, generator)
        assert not torch.equal(second, expected), "each call draws anew"
        resumed = torch.Generator()
        resumed.set_state(state)
        assert torch.equal(draw(backend, resumed), second)
    torch.manual_seed(5)
    first = GF.interpolate(real, fake)
    torch.manual_seed(5)
    assert torch.equal(GF.interpolate(real, fake), first), "the default generator is torch's own"


def allocated(run):
    """The sizes in bytes of what each operation of torch within ``run`` has allocated."""
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    sizes = [event.self_cpu_memory_usage for event in profile.events()]
    return [size for size in sizes if size > 0]


@pytest.mark.skipif("cpu" not in KERNELS, reason="the reference is made of torch's operations")
@pytest.mark.filterwarnings("ignore")  # torch 2.11's profiler warns by itself
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("differentiated", [False, True])
def test_eps_is_not_expanded(differentiated, layout):
    """StudioGAN and mimicry draw it on the CPU and expand it to the size of the images."""
    real, fake = (laid_out((16, 3, 64, 64), layout) for _ in range(2))
    real.requires_grad_(differentiated)
    image = 4 * real.numel()
    points = []
    with ganfast.backend("cpu"):
        sizes = allocated(lambda: points.append(GF.interpolate(real, fake)))
        assert sum(size >= image for size in sizes) == 1 and sum(sizes) < 1.1 * image
        if differentiated:
            sizes = allocated(lambda: torch.autograd.grad(points[0], real, fake))
            assert sum(size >= image for size in sizes) == 1 and sum(sizes) < 1.1 * image


@pytest.mark.parametrize("backend", [*KERNELS, "reference"])
@pytest.mark.parametrize("size", [2, 3, 12])
def test_groups_share_eps(size, backend):
    with ganfast.backend(backend):
        eps = GF.interpolate(
            torch.ones(12, 5), torch.zeros(12, 5), group_size=size, generator=seeded()
        )
    groups = eps.view(12 // size, size * 5)
    assert torch.equal(groups, groups[:, :1].expand_as(groups))
    assert groups[:, 0].unique().numel() == 12 // size


@pytest.mark.parametrize("backend", [*KERNELS, "reference"])
@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True), (False, False)])
def test_gradcheck(needs, backend):
    real, fake = (torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=need) for need in needs)

    def call(real, fake):
        return GF.interpolate(real, fake, group_size=2, generator=seeded())

    with ganfast.backend(backend):
        out = call(real, fake)
        assert out.requires_grad == any(needs)
        if any(needs):
            assert gradcheck(call, (real, fake))
            assert gradgradcheck(call, (real, fake))


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("shape", [(64, 2), (3, 70_000), (200, 900)])
def test_threads_change_no_bit(shape, backend):
    real, fake = torch.randn(shape), torch.randn(shape)
    results = []
    for count in (1, 2):
        with truth.threads(count), ganfast.backend(backend):
            results.append(GF.interpolate(real, fake, generator=seeded()))
    assert torch.equal(*results)


@pytest.mark.parametrize("backend", [*KERNELS, "reference"])
def test_nothing_and_special_values(backend):
    with ganfast.backend(backend):
        assert GF.interpolate(torch.empty(0, 3), torch.empty(0, 3)).shape == (0, 3)
        assert GF.interpolate(torch.empty(3, 0), torch.empty(3, 0)).shape == (3, 0)
        real = torch.tensor([[1.0, float("inf")], [float("nan"), 1.0]])
        points = GF.interpolate(real, torch.zeros(2, 2))
    assert points.isfinite().tolist() == [[True, False], [False, True]]


def test_large_results():
    """Past the size from which memory is mapped by hand."""
    real, fake = torch.randn(5, 2_000_000), torch.randn(5, 2_000_000)
    eps = reference.penalty.epsilon(real, _philox.new_key(real.device, seeded()), 1)
    got = GF.interpolate(real, fake, generator=seeded())
    torch.testing.assert_close(got, eps * real + (1 - eps) * fake)


def test_mixed_dtypes_go_to_the_wider():
    real, fake = torch.randn(4, 3), torch.randn(4, 3).half().requires_grad_()
    points = GF.interpolate(real, fake)
    assert points.dtype == torch.float32
    points.sum().backward()
    assert fake.grad.dtype == torch.float16


def test_inputs_are_not_touched():
    real, fake = torch.randn(6, 4), torch.randn(6, 4)
    kept, versions = (real.clone(), fake.clone()), (real._version, fake._version)
    GF.interpolate(real.requires_grad_(), fake).sum().backward()
    assert torch.equal(real, kept[0]) and torch.equal(fake, kept[1])
    assert (real._version, fake._version) == versions


@pytest.mark.parametrize(
    ("real", "fake", "options", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2, 3), {}, r"real, fake: got shapes \(3, 2\) and \(2, 3\)"),
        (torch.zeros(3, 2), torch.zeros(3, 2, device="meta"), {}, "fake: is on meta"),
        (torch.zeros(3, 2).long(), torch.zeros(3, 2), {}, "real: got torch.int64"),
        (torch.zeros(3, 2), torch.zeros(3, 2).int(), {}, "fake: got torch.int32"),
        (torch.zeros(()), torch.zeros(()), {}, "real: got a tensor without dimensions"),
        (torch.zeros(4), torch.zeros(4), {"group_size": 3}, "group_size: got 3 for 4 samples"),
        (torch.zeros(4), torch.zeros(4), {"group_size": 0}, "group_size: got 0"),
        (torch.zeros(4), torch.zeros(4), {"group_size": 2.0}, "group_size: got 2.0"),
        (torch.zeros(4), torch.zeros(4), {"group_size": True}, "group_size: got True"),
    ],
)
def test_bad_input(real, fake, options, message):
    with pytest.raises(ValueError, match=message):
        GF.interpolate(real, fake, **options)


def test_not_a_tensor():
    with pytest.raises(TypeError, match="fake: got a list"):
        GF.interpolate(torch.zeros(3), [0.0])
