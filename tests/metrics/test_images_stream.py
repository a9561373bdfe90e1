"""Images from data loaders, datasets, iterators and functions."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
from image_samples import assert_same_batches, crop, crops, encode, images_in
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ganfast.errors import InputError
from ganfast.metrics import evaluate, image_statistics
from ganfast.metrics.images import open_images

N = 10
IMAGES = torch.from_numpy(crops(N, 12, 16))
FIRST = IMAGES.permute(0, 3, 1, 2)
EXPECTED = list(open_images(IMAGES).batches(4))


class MapStyle(Dataset):
    """Without the IndexError at its end that iter() needs."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        return FIRST[index % N], index


SOURCES = {
    "loader": lambda: DataLoader(TensorDataset(FIRST, torch.arange(N)), batch_size=3),
    "loader of tensors": lambda: DataLoader(FIRST, batch_size=3),
    "batches": lambda: list(IMAGES.split(3)),
    "arrays": lambda: [part.numpy() for part in FIRST.split(7)],
    "single images": lambda: list(FIRST),
    "pairs": lambda: [(image, 5) for image in IMAGES],
    "dicts": lambda: [{"label": 1, "image": image} for image in IMAGES],
    "dicts of batches": lambda: [{"images": [part, 0]} for part in IMAGES.split(6)],
    "lists of images": lambda: [list(part) for part in FIRST.split(4)],
    "pictures": lambda: [Image.fromarray(image.numpy()) for image in IMAGES],
    "pairs with a picture": lambda: [(Image.fromarray(image.numpy()), 1) for image in IMAGES],
    "dataset": MapStyle,
    "iterator": lambda: iter(FIRST.split(3)),
    "function": lambda: lambda: iter(FIRST.split(3)),
    "function of a list": lambda: lambda: list(FIRST.split(3)),
    "with an empty batch": lambda: [IMAGES[:0], IMAGES],
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_gives_the_same_batches(kind):
    source = open_images(SOURCES[kind](), name="fake")
    assert (source.name, source.count, source.resumable) == ("fake", None, False)
    assert_same_batches(list(source.batches(4)), EXPECTED)


class Pairs(MapStyle):
    """Of images: (A, B)."""

    def __getitem__(self, index):
        return FIRST[index % N], FIRST[(index + 1) % N]


PAIRS = {
    "dataset": Pairs,
    "batches": lambda: DataLoader(Pairs(), batch_size=3),
    "no batches": lambda: DataLoader(Pairs(), batch_size=None),
    "workers": lambda: DataLoader(Pairs(), batch_size=None, num_workers=1),
    "iterable": lambda: [Pairs()[i] for i in range(N)],
    "batches as tuples": lambda: [(part, part) for part in FIRST.split(3)],
    "dicts": lambda: [{"images": Pairs()[i]} for i in range(N)],
}


@pytest.mark.parametrize("kind", PAIRS)
def test_of_a_pair_the_first_counts(kind):
    assert_same_batches(list(open_images(PAIRS[kind]()).batches(4)), EXPECTED)


def collated(batch):
    return [image for image, _ in batch]


def test_a_list_that_the_user_collates_is_a_batch():
    loader = DataLoader(MapStyle(), batch_size=3, collate_fn=collated)
    assert_same_batches(list(open_images(loader).batches(4)), EXPECTED)


def first(batch):
    return batch[0]


def test_an_item_that_the_user_collates_may_be_one_image():
    loader = DataLoader(FIRST, batch_size=1, collate_fn=first)
    assert_same_batches(list(open_images(loader).batches(4)), EXPECTED)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_gray_images_without_channels_are_not_taken_for_one_image(size):
    loader = DataLoader(TensorDataset(IMAGES[..., 0]), batch_size=size)
    with pytest.raises(InputError, match=rf"got a batch of shape \({size}, 12, 16\).*gray"):
        images_in(open_images(loader))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_share_the_images(world_size):
    ranks = [
        list(open_images(lambda: iter(FIRST)).batches(4, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert_same_batches(sorted(sum(ranks, []), key=lambda batch: batch.number), EXPECTED)


def test_a_multiple_of_the_batch_size_has_no_empty_last_batch():
    batches = list(open_images(lambda: iter(FIRST[:8])).batches(4))
    assert_same_batches(batches, EXPECTED[:2])


def test_mixed_sizes_come_as_a_list():
    images = [crop(i, 10 + i % 2, 12) for i in range(6)]
    first, second = open_images(images).batches(4)
    assert isinstance(first.images, list) and len(first.images) == 4
    for image, expected in zip([*first.images, *second.images], images, strict=True):
        assert torch.equal(image, torch.from_numpy(expected))


def test_a_function_can_be_read_again_and_an_iterator_says_it_can_not():
    source = open_images(lambda: iter(FIRST))
    assert len(images_in(source)) == len(images_in(source)) == N
    source = open_images(iter(FIRST), name="fake")
    assert len(images_in(source)) == N
    with pytest.raises(InputError, match="fake: got no images .*; an iterator can be read only"):
        images_in(source)


@pytest.mark.parametrize("images", [IMAGES, FIRST])
@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.numpy()])
def test_a_generator_may_fill_one_tensor_again_and_again(images, convert):
    def refilled():
        buffer = torch.empty_like(images[:3])
        for part in images[:9].split(3):
            yield convert(buffer.copy_(part))
            buffer.zero_()

    expected = list(open_images(IMAGES[:9]).batches(4))
    assert_same_batches(list(open_images(refilled).batches(4)), expected)


def test_transparent_pictures_are_composited():
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (images_in(open_images([picture]))[0] == 255).all()
    assert (images_in(open_images([picture], background="black"))[0] == 0).all()
    with pytest.raises(InputError, match="fake: got an image that can't be used: .*floating point"):
        images_in(open_images([Image.new("F", (4, 4))], name="fake"))


def test_gray_is_repeated():
    (image,) = images_in(open_images([IMAGES[0, ..., :1]]))
    assert torch.equal(image, IMAGES[0, ..., :1].expand(-1, -1, 3))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([FIRST / 255], r"got images of float32, .* uint8, 0 to 255, .* \(x \* 255\)"),
        ([{"pixels": FIRST, "label": 1}], "the keys pixels, label; give it images or image"),
        ([[]], "got an empty list"),
        ([tuple(IMAGES[:3])], "got a tuple of 3 images, which could be a batch or one image with"),
        ([IMAGES.split(3)], "got a tuple of 4 images"),
        ([list(IMAGES.split(3))], "got a list of 4 images"),
        (DataLoader([list(IMAGES[:3])], batch_size=None), "got a list of 3 images"),
        ([{"image": "a.png"}], "got a str as a batch; give tensors, arrays or PIL images"),
        ([3], "got a int as a batch"),
        ([FIRST[0, 0]], r"got shape \(12, 16\)"),
        ([torch.zeros(4, 8, 8, dtype=torch.uint8)], r"got shape \(1, 4, 8, 8\)"),
        ([], "got no images"),
        ([IMAGES[:0]], "got no images"),
    ],
)
def test_other_items_are_refused(items, message):
    with pytest.raises(InputError, match=message) as caught:
        images_in(open_images(items, name="fake"))
    assert str(caught.value).startswith("fake: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [None, 3, b"path", {"images": FIRST}, {1, 2}])
def test_what_is_no_source(source):
    with pytest.raises(
        InputError, match="^fake: got a .*; give a path, a tensor or array, an iterable"
    ):
        open_images(source, name="fake")


def test_a_function_that_returns_something_else():
    with pytest.raises(
        InputError, match="fake: got a NoneType from the function; return an iterator"
    ):
        images_in(open_images(lambda: None, name="fake"))


def test_it_cannot_start_in_the_middle():
    with pytest.raises(InputError, match="start: got 1, and fake is an iterable"):
        open_images(iter(FIRST), name="fake").batches(4, start=1)


def test_errors_of_the_users_own_code_stay_as_they_are():
    def broken():
        yield FIRST
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        images_in(open_images(broken))


def test_memory_does_not_grow_with_the_number_of_images():
    def many():
        for _ in range(300):
            yield np.zeros((4, 64, 64, 3), np.uint8)

    tracemalloc.start()
    assert sum(len(batch.images) for batch in open_images(many).batches(6)) == 1200
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * 64 * 64 * 3


PNGS = [encode(image.numpy()) for image in IMAGES]
DICTS = {
    "Hugging Face": ("img", lambda i: {"label": i, "img": Image.fromarray(IMAGES[i].numpy())}),
    "a processor's": ("pixel_values", lambda i: {"pixel_values": FIRST[i : i + 1]}),
    "WebDataset": ("PNG", lambda i: {"__key__": "x", "cls": 1, "PNG": IMAGES[i]}),
    "WebDataset's bytes": ("png", lambda i: {"__url__": "x", "png": PNGS[i]}),
    "not decoded": ("image", lambda i: {"image": {"bytes": PNGS[i], "path": None}, "label": 1}),
    "lists": ("image", lambda i: {"image": [{"bytes": PNGS[i], "path": "x"}], "label": [1]}),
    "lists of bytes": ("jpg", lambda i: {"jpg": [PNGS[i]], "cls": [1]}),
}


@pytest.mark.parametrize("kind", DICTS)
def test_dicts_by_the_usual_names_and_by_key(kind):
    name, make = DICTS[kind]
    items = [make(i) for i in range(N)]
    assert_same_batches(list(open_images(items).batches(4)), EXPECTED)
    assert_same_batches(list(open_images(items, key=name).batches(4)), EXPECTED)
    other = [{"theirs": item[name], "image": 1} for item in items]
    assert_same_batches(list(open_images(other, key="theirs").batches(4)), EXPECTED)
    assert len(images_in(open_images(other, key="theirs", num=3))) == 3


def test_a_batch_in_a_dict_is_all_of_it():
    batch = {"image": [{"bytes": data, "path": None} for data in PNGS]}
    assert_same_batches(list(open_images([batch]).batches(4)), EXPECTED)
    assert_same_batches(list(open_images([{"jpg": PNGS}]).batches(4)), EXPECTED)


@pytest.mark.parametrize(
    ("item", "key", "message"),
    [
        (
            {"real": FIRST, "label": 1},
            None,
            "fake: got a batch that is a dict with the keys real, label; give it images or image, "
            "or say which has the images by key=...",
        ),
        (
            {"image": FIRST, "img": FIRST},
            None,
            "fake: got a batch that is a dict with the keys image, img, of which image, img could "
            "be images; say which has the images by key=...",
        ),
        (
            {"real": FIRST, "label": 1},
            "Reel",
            "key: got 'Reel', and a batch of fake has the keys real, label; give one of them; did "
            "you mean 'real'?",
        ),
        ({}, None, "fake: got a batch that is a dict with the keys none; give it"),
        ({"png": b"text"}, None, "fake: got an image that can't be used: holds text"),
    ],
)
def test_dicts_that_are_refused(item, key, message):
    with pytest.raises(InputError) as caught:
        images_in(open_images([item], name="fake", key=key))
    assert str(caught.value).startswith(message)


def test_an_evaluation_takes_the_key():
    items = [{"theirs": IMAGES}]
    made = image_statistics(items, key="theirs", extractor="tiny_network:network")
    assert torch.equal(made.mu, image_statistics(IMAGES, extractor="tiny_network:network").mu)


def drawn(function, number, **given):
    return open_images((function, number), name="fake", **given)


@pytest.mark.parametrize("number", [4, 7, N])
def test_a_generator_makes_so_many(number):
    asked, place = [], [0]

    def draw(n):
        assert not torch.is_grad_enabled()
        asked.append(n)
        place[0] += n
        return IMAGES[place[0] - n : place[0]]

    source = drawn(draw, number)
    assert source.count == number
    assert_same_batches(list(source.batches(4)), list(open_images(IMAGES[:number]).batches(4)))
    assert sum(asked) == number and max(asked) <= 4
    place[0] = 0
    assert sum(len(batch.positions) for batch in drawn(draw, number, num=3).batches(4)) == 3


def test_the_time_of_a_generator_is_told_apart():
    found = evaluate(
        IMAGES,
        (lambda n: time.sleep(0.05) or IMAGES[:n], 6),
        extractor="tiny_network:network",
        device="cpu",
        batch_size=3,
        splits=2,
    )
    assert found["n_fake"] == 6 and found["stages"]["generate"] >= 0.1
    assert 0 < found["stages"]["decode"] < 0.05  # of the array


@pytest.mark.parametrize(
    ("function", "number", "given", "words"),
    [
        (lambda n: IMAGES[: n - 1], 5, {}, "got 3 from the function that was asked for 4 images"),
        (lambda n: None, 5, {}, "got NoneType from the function"),
        (lambda n: IMAGES[:n] / 255, 5, {}, "got torch.float32|uint8"),
        (lambda n: IMAGES[:n], 1, {}, "fake, number of images: got 1"),
        (lambda n: IMAGES[:n], 2.5, {}, "fake, number of images: got 2.5"),
        (lambda n: IMAGES[:n], 5, {"num": 6}, "num: got 6, and fake has 5 images"),
        (lambda n: IMAGES[:n], 5, {"include": "*.png"}, "got no files, of which include"),
    ],
)
def test_generators_that_cannot_be_used(function, number, given, words):
    with pytest.raises(InputError, match=words):
        list(drawn(function, number, **given).batches(4))
