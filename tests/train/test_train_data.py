"""Sources of real samples, and what is wrong with a folder of images."""

import pytest
import torch
from PIL import Image

from ganfast.errors import InputError
from ganfast.train.data import digits, digits_and_labels, folder, grid, open_source, ring


def generator():
    return torch.Generator().manual_seed(0)


def test_digits():
    source, labels = digits_and_labels()
    images = source.all()
    assert images.shape == (1797, 1, 8, 8) and labels.shape == (1797,)
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == (-1, 1)
    assert source.batch(5, generator()).shape == (5, 1, 8, 8)


@pytest.mark.parametrize("source, modes", [(ring(), 8), (grid(), 25)])
def test_mixtures(source, modes):
    points = source.batch(20_000, generator())
    assert points.shape == (20_000, 2)
    distance, nearest = torch.cdist(points, source.centres).min(1)
    counts = torch.bincount(nearest, minlength=modes)
    assert len(counts) == modes and counts.min() > 0.8 * 20_000 / modes
    # the mean distance of a plane Gaussian from its centre is std sqrt(pi / 2)
    assert float(distance.mean()) == pytest.approx(source.std * (torch.pi / 2) ** 0.5, rel=0.02)
    assert points.abs().max() < 3


@pytest.mark.parametrize("source", [digits(), ring()])
def test_batches_repeat_by_seed(source):
    assert torch.equal(source.batch(9, generator()), source.batch(9, generator()))


def test_folder_of_mixed_images(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "a.PNG")
    Image.new("L", (9, 30), 128).save(tmp_path / "deep" / "b.jpg")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "deep" / "er" / "c.png")
    (tmp_path / "notes.txt").write_text("not an image, and no image's name")
    source = open_source(f"folder:{tmp_path}", 16)
    images = source.all()
    assert images.shape == (3, 3, 16, 16)
    assert images[0, :, 8, 8].tolist() == [1, -1, -1]
    assert images[1].abs().max() < 0.05
    assert images[2].min() == 1  # what is transparent is white


def test_the_middle_is_cropped_not_squeezed(tmp_path):
    image = Image.new("L", (48, 16), 0)
    image.paste(255, (16, 0, 32, 16))
    image.save(tmp_path / "a.png")
    assert folder(tmp_path, 16).all().min() == 1


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        folder(tmp_path / "none", 16)
    with pytest.raises(InputError, match="no images"):
        folder(tmp_path, 16)
    file = tmp_path / "notes.txt"
    file.write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        folder(file, 16)
    with pytest.raises(InputError, match="no images"):
        folder(tmp_path, 16)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.png.*can't be read as an image"):
        folder(tmp_path, 16)


def test_a_truncated_image_is_named(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.png"):
        folder(tmp_path, 16)
