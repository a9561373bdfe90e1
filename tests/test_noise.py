"""Noisy and flipped labels: Philox, the same targets on every backend, their distribution."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import truth

import ganfast
import ganfast.functional as GF
from ganfast import _philox

KERNELS = truth.backends()
OPTIONS = {"label_smoothing": 0.1, "label_noise": 0.3, "label_flip": 0.2}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def targets(n, game="least_squares", generator=None, dtype=torch.float64, **options):
    """The drawn targets of each side, read off the slope: d/dx (x - t)^2/2 = x - t at x = 0."""
    real, fake = (torch.zeros(n, dtype=dtype, requires_grad=True) for _ in range(2))
    outs = GF.discriminator_loss(
        real, fake, game=game, reduction="none", generator=generator or seeded(), **options
    )
    grads = torch.autograd.grad(outs, (real, fake), [torch.ones_like(x) for x in outs])
    return tuple(-g for g in grads)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        # The known answers of Random123, the authors' own implementation.
        ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF, 0xFFFFFFFF),
            (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0),
            None,  # our fourth word is always 0, so only the equality below is asked
        ),
    ],
)
def test_philox_known_answers(key, counter, expected):
    whole_key = key[0] | key[1] << 32
    whole_key -= (whole_key >> 63) << 64  # as a signed integer
    index = torch.tensor([counter[0] | (counter[1] & 0x7FFFFFFF) << 32])
    words = [int(w) for w in _philox.philox(whole_key, index, counter[2])]
    assert words == plain_philox(key, (counter[0], counter[1] & 0x7FFFFFFF, counter[2], 0))
    if expected:
        assert tuple(words) == expected


def plain_philox(key, counter):
    """Philox4x32-10 on Python's unbounded integers, as the paper writes it."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ c3 ^ k1, a & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("game", ["least_squares", "nonsaturating"])
def test_the_same_targets_on_every_backend(game, dtype, kernel):
    for n in (1, 2, 31, 2048, 2049, 10_001):
        with ganfast.backend("reference"):
            expected = targets(n, game, dtype=dtype, **OPTIONS)
        with ganfast.backend(kernel):
            got = targets(n, game, dtype=dtype, **OPTIONS)
        torch.testing.assert_close(got, expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_heads_have_streams_of_their_own(kernel):
    real = [torch.randn(100) for _ in range(3)]
    fake = [torch.randn(50) for _ in range(3)]
    values = []
    for name in ("reference", kernel):
        with ganfast.backend(name):
            unreduced = GF.discriminator_loss(
                real, fake, game="lsgan", reduction="none", generator=seeded(), **OPTIONS
            )
            values.append([t for side in unreduced for t in side])
    torch.testing.assert_close(*values)
    with ganfast.backend(kernel):
        one, other = GF.discriminator_loss(
            [torch.zeros(100)] * 2, [torch.zeros(100)] * 2, game="lsgan", reduction="none",
            label_noise=0.5, generator=seeded(),
        )[0]  # fmt: skip
    assert not torch.equal(one, other)


@pytest.mark.parametrize("backend", [*KERNELS, "reference"])
def test_distribution(backend):
    n = 40_000
    with ganfast.backend(backend):
        real, fake = targets(n, **OPTIONS)
    noiseless = [side.sub(0.5).sign().mul(0.5).add(0.5) for side in (real, fake)]
    flipped = (1 - noiseless[0]).mean(), noiseless[1].mean()
    for share in flipped:
        assert abs(share - 0.2) < 4 * (0.2 * 0.8 / n) ** 0.5
    # A real target is 0.9, or 0.1 if flipped; a fake one 0, or 1. Then U(-0.3, 0.3).
    for side, low, high in ((real, 0.1, 0.9), (fake, 0.0, 1.0)):
        centre = torch.where(side > 0.5, high, low).double()
        noise = side - centre
        assert noise.abs().max() <= 0.3 + 1e-12
        assert abs(noise.mean()) < 4 * 0.3 / 3**0.5 / n**0.5
        assert abs(noise.var() - 0.3**2 / 3) < 0.02 * 0.3**2 / 3
    assert abs(torch.corrcoef(torch.stack((real - real.round(), fake - fake.round())))[0, 1]) < 0.03


@pytest.mark.parametrize("backend", [*KERNELS, "reference"])
def test_seeds(backend):
    x = torch.randn(1000)

    def loss(generator=None, **options):
        return GF.discriminator_loss(x, x, label_noise=0.2, generator=generator, **options)

    with ganfast.backend(backend):
        assert loss(seeded(1)) == loss(seeded(1)) != loss(seeded(2))
        same = seeded(3)
        assert loss(same) != loss(same), "each call draws anew"
        torch.manual_seed(5)
        first = loss()
        torch.manual_seed(5)
        assert loss() == first, "the default generator is torch's own"
        state = torch.get_rng_state()
        GF.discriminator_loss(x, x)
        assert torch.equal(state, torch.get_rng_state()), "without noise nothing is drawn"


@pytest.mark.parametrize("backend", [*KERNELS, "reference"])
def test_certain_flip_swaps_the_sides(backend):
    real, fake = torch.randn(100), torch.randn(100)
    with ganfast.backend(backend):
        flipped = GF.discriminator_loss(real, fake, label_flip=1.0)
        torch.testing.assert_close(flipped, GF.discriminator_loss(fake, real))


def test_key_on_a_device_is_read_there():
    """A key that is a tensor, as a CUDA generator gives it, means the same as the int."""
    key = 0x0123456789ABCDEF
    tensor = torch.tensor(key)
    for a, b in zip(
        _philox.uniform_pair(key, 101, 1, torch.device("cpu"), torch.float32),
        _philox.uniform_pair(tensor, 101, 1, torch.device("cpu"), torch.float32),
        strict=True,
    ):
        assert torch.equal(a, b)
        assert a.min() >= 0 and a.max() < 1


def test_a_seed_gives_one_key_wherever_it_is_drawn():
    """In eager mode, under torch.func, in a compiled graph, in inference mode, in C++."""
    cpu = torch.device("cpu")
    expected = _philox.new_key(cpu, seeded(1))
    torch.manual_seed(1)
    assert _philox.new_key(cpu, None) == expected

    compiled = torch.compile(
        lambda x: _philox.new_key(x.device, None), backend="aot_eager", fullgraph=True
    )
    torch.manual_seed(1)
    assert int(compiled(torch.zeros(1))) == expected

    found = []
    torch.manual_seed(1)
    torch.func.grad(lambda x: found.append(_philox.new_key(cpu, None)) or x)(torch.zeros(()))
    assert found == [expected]

    def inside_and_outside():
        with torch.inference_mode():
            inside = _philox.new_key(cpu, seeded(1))
        return inside, _philox.new_key(cpu, seeded(1))

    with ThreadPoolExecutor(1) as new_thread:  # which draws its first key in inference mode
        assert new_thread.submit(inside_and_outside).result() == (expected, expected)

    real, fake = torch.ones(5, 1), torch.zeros(5, 1)
    eps = GF.interpolate(real, fake, generator=seeded(1))
    assert torch.equal(eps, ganfast.reference.penalty.epsilon(real, expected, 1))


def test_threads_draw_their_own_keys():
    """No two of them may draw into one tensor at a time."""

    def draw(seed):
        generator = seeded(seed)
        real, fake = torch.ones(4, 1), torch.zeros(4, 1)
        keys = [_philox.new_key(real.device, generator) for _ in range(200)]
        return keys, [GF.interpolate(real, fake, generator=generator) for _ in range(200)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, range(4)))
    for seed, (keys, points) in enumerate(together):
        alone_keys, alone_points = draw(seed)
        assert keys == alone_keys
        assert all(torch.equal(a, b) for a, b in zip(points, alone_points, strict=True))


def draws_of_real(x, **options):
    """The targets of the real side: the root of what a square loss is at x = 0, drawn above 0."""
    return GF.discriminator_loss(x, x, game="lsgan", reduction="none", **options)[0].mul(2).sqrt()


DRAWS = {
    "label noise": lambda x: draws_of_real(x, label_noise=0.5),
    "smooth labels with noise": lambda x: draws_of_real(x, label_smoothing=0.1, label_noise=0.5),
    "label flips": lambda x: draws_of_real(x, label_flip=0.5),
    "module": lambda x: ganfast.GANLoss("lsgan", label_noise=0.5)(x, True).expand(x.shape),
    "interpolate": lambda x: GF.interpolate(x + 1, x),
    "interpolate several": lambda x: GF.interpolate([x, x + 1], [x, x])[1],
    "gradient penalty": lambda x: GF.gradient_penalty(
        lambda points: points.square().sum(), x + 1, x
    ).expand(x.shape),
    "finite differences": lambda x: GF.finite_difference_penalty(
        lambda points: points, x[:, None], sigma=1.0
    ).expand(x.shape),
}

OF = ("a batched tensor", "a shared tensor")
RANDOMNESS = ("same", "different", "error")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("compiled", "draw", "of", "randomness"),
    [(False, draw, of, how) for draw in DRAWS for of in OF for how in RANDOMNESS]
    # A graph takes a second: every draw compiled with each randomness, of either kind of tensor.
    + [
        (True, draw, OF[(i + j) % 2], how)
        for i, draw in enumerate(("label noise", "label flips", "interpolate"))
        for j, how in enumerate(RANDOMNESS)
    ],
)
def test_vmap_draws_as_its_randomness_says(compiled, draw, of, randomness):
    """Torch's own draws do the same."""
    shared = torch.zeros(64)

    def call(x):
        function = DRAWS[draw]
        if of == "a shared tensor":
            return torch.func.vmap(lambda x: function(shared) * x[0], randomness=randomness)(x + 1)
        return torch.func.vmap(function, randomness=randomness)(x)

    if compiled:
        torch.compiler.reset()
        call = torch.compile(call, fullgraph=True, backend="aot_eager")
    if randomness == "error":
        with pytest.raises(RuntimeError, match="randomness error mode"):
            call(torch.zeros(8, 64))
        return
    drawn = call(torch.zeros(8, 64))
    assert drawn.shape == (8, 64)
    assert len(drawn.unique(dim=0)) == {"same": 1, "different": 8}[randomness]


def test_vmap_draws_independent_uniform_noise():
    n, samples = 500, 40
    noise = torch.func.vmap(DRAWS["label noise"], randomness="different")(torch.zeros(samples, n))
    noise = (noise - 1).double()
    assert noise.abs().max() <= 0.5
    assert abs(noise.mean()) < 4 * 0.5 / 3**0.5 / (n * samples) ** 0.5
    assert abs(noise.var() - 0.25 / 3) < 0.05 * 0.25 / 3
    across = torch.corrcoef(noise) - torch.eye(samples)
    assert across.abs().max() < 5 / n**0.5


def test_vmap_within_vmap_and_under_grad():
    def nested(outer, inner):
        within = torch.func.vmap(DRAWS["label noise"], randomness=inner)
        return torch.func.vmap(within, randomness=outer)(torch.zeros(2, 3, 16))

    rows = {
        (outer, inner): len(nested(outer, inner).flatten(0, 1).unique(dim=0))
        for outer in ("same", "different")
        for inner in ("same", "different")
    }
    assert rows == {
        ("same", "same"): 1,
        ("same", "different"): 3,
        ("different", "same"): 2,
        ("different", "different"): 6,
    }
    gradient = torch.func.grad(lambda x: GF.discriminator_loss(x, x, game="lsgan", label_noise=0.5))
    each = torch.func.vmap(gradient, randomness="different")(torch.zeros(5, 16))
    assert len(each.unique(dim=0)) == 5


def test_a_seed_gives_the_same_noise_under_a_transform_as_without():
    x = torch.zeros(16)
    plain = draws_of_real(x, label_noise=0.5, generator=seeded(3))
    mapped = torch.func.vmap(
        lambda x: draws_of_real(x, label_noise=0.5, generator=seeded(3)), randomness="same"
    )(x.expand(2, 16))
    torch.testing.assert_close(mapped, plain.expand(2, 16))
