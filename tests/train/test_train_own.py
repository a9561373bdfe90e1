"""People's own networks and samples: what fits is taken, and what does not is named at once."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ganfast.errors import InputError, InputTypeError
from ganfast.train import Penalty, Recipe, TrainConfig, Trainer, as_source, train

IMAGES = torch.randint(
    0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
RECIPE = Recipe("hinge", batch_size=4)


def generator(numbers=16, *end):
    return nn.Sequential(nn.Linear(numbers, 64), nn.Unflatten(1, (1, 8, 8)), nn.Tanh(), *end)


def critic(*layers):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), *layers, nn.Linear(4, 1))


class Returns(nn.Module):
    """``inner``, and what ``change`` makes of its output."""

    def __init__(self, inner, change):
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, x):
        return self.change(self.inner(x))


class Items(Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class NoLength(Dataset):
    def __getitem__(self, i):
        return IMAGES[i]


def shared():
    layer = nn.Linear(64, 64)
    ends = nn.Unflatten(1, (1, 8, 8)), nn.Flatten()
    return {
        "generator": nn.Sequential(nn.Linear(16, 64), layer, ends[0]),
        "critic": nn.Sequential(ends[1], layer, nn.Linear(64, 1)),
    }


BAD_NETWORKS = {
    "shape": ({"generator": nn.Linear(16, 7)}, "generator: got samples of shape .7,.; give one"),
    "noise": ({"generator": generator(5)}, r"generator: it does not take noise \(n, 16\) "),
    "tuple": (
        {"generator": Returns(generator(), lambda x: (x, x))},
        "generator: it returns a tuple; give one that returns a float32 tensor",
    ),
    "half": (
        {"critic": Returns(critic(), torch.Tensor.bfloat16)},
        "critic: it returns a tensor of torch.bfloat16; give one that returns a float32",
    ),
    "mean": (
        {"critic": Returns(critic(), torch.mean)},
        r"critic: got scores of shape \(\) for 2 samples; give one that keeps the batch",
    ),
    "detached scores": (
        {"critic": Returns(critic(), torch.Tensor.detach)},
        "critic: its scores have no gradient with respect to the samples",
    ),
    "detached samples": (
        {"generator": Returns(generator(), torch.Tensor.detach)},
        "generator: its samples have no gradient with respect to its weights",
    ),
    "samples": ({"critic": nn.Linear(3, 1)}, r"critic: it does not take samples \(n, 1, 8, 8\) "),
    "float64": ({"critic": critic().double()}, "critic: got weights of torch.float64; give float"),
    "meta": ({"generator": generator().to("meta")}, r"generator: got weights on no device"),
    "frozen": ({"critic": critic().requires_grad_(False)}, "critic: got a network of which no we"),
    "no weights": ({"generator": nn.Flatten()}, "generator: got a network of which no weight le"),
    "function": ({"generator": torch.tanh}, "generator: got a builtin_function_or_method; give a"),
    "shared": (shared(), "critic: it has weights of the generator"),
}


@pytest.mark.parametrize("name", BAD_NETWORKS)
def test_networks_that_cannot_play(name, tmp_path):
    """By whichever way they come, before the first step; and they stay as they were."""
    networks, words = BAD_NETWORKS[name]
    networks = {"generator": generator(), "critic": critic(), **networks}
    with pytest.raises(InputError, match=f"^{words}") as caught:
        Trainer(**networks, source=IMAGES, recipe=RECIPE)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=f"^{words}"):
        train(TrainConfig(game="hinge", out=tmp_path), source=IMAGES, **networks)
    for network in networks.values():
        assert all(m.training for m in network.modules()) if name != "function" else True


BAD_SOURCES = {
    "text": ("folder", "source: got a str; give images as uint8, a Dataset"),
    "loader": (DataLoader(TensorDataset(IMAGES)), "source: got a DataLoader; .* its dataset"),
    "no length": (NoLength(), "source: got a NoLength; .* that has a length"),
    "empty": (IMAGES[:0], "source: has no images"),
    "floats": (IMAGES / 255, r"source: got torch.float32 .*x.mul\(255\).round\(\).byte\(\)"),
    "numbers": ([1, 2, 3], r"source: got torch.int64 of shape \(3,\)"),
    "sizes": (
        Items(IMAGES[0], IMAGES[0, :, :6]),
        "source: its items can't be stacked as images .* give images of one size",
    ),
    "dictionaries": (Items({"image": IMAGES[0]}), "source: its items can't be stacked"),
    "channels last": (np.zeros((40, 8, 8, 3), np.uint8), "source: .* their channels last"),
    "one argument": (lambda n: torch.zeros(n, 2), "source: a function that does not take .n, gen"),
    "float64": (lambda n, g: torch.zeros((n, 2)).double(), "source: .* gave torch.float64 of"),
    "array": (lambda n, g: np.zeros((n, 2)), "source: a function that gave ndarray for n = 2"),
    "nothing": (lambda n, g: None, "source: a function that gave NoneType"),
    "own number": (lambda n, g: torch.zeros(5, 2), r"source: .* of shape \(5, 2\) for n = 2"),
}


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_samples_that_are_none(name):
    data, words = BAD_SOURCES[name]
    with pytest.raises(InputError, match=f"^{words}") as caught:
        as_source(data)
    assert "\n" not in str(caught.value)


def test_a_function_that_changes_its_mind():
    """As one that reads a last batch, which is smaller."""
    source = as_source(lambda n, generator: torch.zeros((min(n, 3), 2)))
    with pytest.raises(InputError, match=r"^source: .* shape \(3, 2\); give \(4, 2\)$"):
        source.train.batch(4, torch.Generator())


def test_a_mistake_within_ones_own_code_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        as_source(lambda n, generator: n / 0)
    with pytest.raises(ZeroDivisionError):
        Trainer(Returns(generator(), lambda x: 1 / 0), critic(), IMAGES, RECIPE)


@pytest.mark.parametrize(
    "data",
    [
        IMAGES,
        IMAGES.numpy(),
        list(IMAGES),
        TensorDataset(IMAGES, torch.arange(40)),
        Items(*(Image.fromarray(image[0].numpy()) for image in IMAGES)),
        Items(*((Image.fromarray(image[0].numpy()), 3) for image in IMAGES)),
    ],
    ids=["tensor", "array", "list", "dataset", "pictures", "labelled pictures"],
)
def test_images_in_any_form_are_the_same_images(data):
    assert as_source(data).identity == as_source(IMAGES).identity


def test_colour_pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    source = as_source(Items(*map(Image.fromarray, pixels)))
    assert np.array_equal(source.images.numpy(), pixels.transpose(0, 3, 1, 2))


def test_a_trainer_of_ones_own_parts(tmp_path):
    """Lazy layers, a patch critic and plain samples; by hand as by ``train``."""
    lazy = nn.Sequential(nn.LazyLinear(64), nn.Unflatten(1, (1, 8, 8)))
    patches = nn.Conv2d(1, 2, 4, stride=4)
    trainer = Trainer(lazy, patches, IMAGES, RECIPE)
    trainer.step()
    assert trainer.sample(3, seed=0).shape == (3, 1, 8, 8)
    run = train(
        TrainConfig(game="hinge", steps=2, batch_size=4, out=tmp_path),
        source=IMAGES, generator=generator(), critic=patches,
    )  # fmt: skip
    assert run.lines[-1]["step"] == 2


def test_what_is_no_recipe_and_no_device():
    with pytest.raises(InputTypeError, match="^recipe: got 'hinge'; give a Recipe, such as"):
        Trainer(generator(), critic(), IMAGES, "hinge")
    with pytest.raises(InputError, match="^device: got 'nowhere', which can't be used"):
        Trainer(generator(), critic(), IMAGES, RECIPE, device="nowhere")


@pytest.mark.parametrize("kind", ["r1", "wgan-gp"])
def test_batch_norm_in_a_critic_with_a_penalty_is_told(kind):
    recipe = Recipe("hinge", batch_size=4, penalties=(Penalty(kind, 1.0),))
    with pytest.warns(UserWarning, match="'2' is a BatchNorm in training mode, which ties"):
        Trainer(generator(), critic(nn.BatchNorm1d(4)), IMAGES, recipe)


def test_a_sigmoid_at_the_end_of_a_critic_is_told():
    with pytest.warns(UserWarning, match="critic: it ends in a Sigmoid, .*; leave it out"):
        Trainer(generator(), nn.Sequential(critic(), nn.Sigmoid()), IMAGES, RECIPE)


def test_the_callers_random_numbers_stay_his_own():
    torch.manual_seed(3)
    expected = torch.rand(3)
    networks = Returns(generator(), lambda x: x + 0.1 * torch.randn_like(x)), critic()
    torch.manual_seed(3)
    Trainer(*networks, IMAGES, RECIPE)
    assert torch.equal(torch.rand(3), expected)
