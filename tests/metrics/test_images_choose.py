"""Which images of a source are taken: by name, and how many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_samples import crop, crops, encode, images_in, write

from ganfast.errors import InputError
from ganfast.metrics import evaluate, image_statistics
from ganfast.metrics.images import open_images

TINY = "tiny_network:network"
NAMES = ["0_fake_B.png", "0_real_B.png", "1_fake_B.png", "1_real_B.png", "val/2_fake_B.png"]


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "results", {n: encode(crop(i)) for i, n in enumerate(NAMES)})


def numbers(source) -> list[int]:
    """Which crops a source holds."""
    known = [torch.from_numpy(crop(i)) for i in range(40)]
    return [
        next(i for i, one in enumerate(known) if torch.equal(one, image))
        for image in images_in(source)
    ]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"include": "*_fake_B.png"}, [0, 2, 4]),
        ({"exclude": "*_fake_B.png"}, [1, 3]),
        ({"include": ["0_*", "1_real*"]}, [0, 1, 3]),
        ({"include": "*_fake_*", "exclude": ["0*", "2*"]}, [2]),
        ({"include": "val/*"}, [4]),
        ({"exclude": "val/*", "num": 3}, [0, 1, 2]),
        ({"include": "2_*"}, [4]),
        ({"num": 2}, [0, 1]),
        ({"num": 5, "shuffle_seed": 0}, [0, 1, 2, 3, 4]),
    ],
    ids=str,
)
@pytest.mark.parametrize("workers", [0, 1])
def test_files_are_chosen_by_name_and_number(folder, options, found, workers):
    source = open_images(folder, **options)
    assert numbers(source) == found and source.count == len(found)
    assert len(images_in(source, workers=workers)) == len(found)


def test_archives_and_lists_are_chosen_from_too(folder, tmp_path):
    import shutil

    for kind in ("zip", "tar", "gztar"):
        packed = shutil.make_archive(str(tmp_path / kind), kind, folder)
        source = open_images(packed, include="*_real_B.png")
        assert sorted(numbers(source)) == [1, 3]
        assert all("real" in name for name in source._files.names)
    listed = sorted(folder.rglob("*.png"))
    assert numbers(open_images(listed, exclude="*_real_B.png")) == [0, 2, 4]


def test_patterns_that_leave_nothing_and_sources_without_names(folder):
    with pytest.raises(InputError, match=r"real: include 'x\*' leaves none of 5 images, such as"):
        open_images(folder, name="real", include="x*")
    with pytest.raises(InputError, match="got no files, of which include and exclude"):
        open_images(crops(3), include="*")


def kinds(tmp_path) -> dict[str, object]:
    images = crops(9)
    np.save(tmp_path / "n.npy", images)
    np.savez(tmp_path / "n.npz", images)
    np.savez_compressed(tmp_path / "c.npz", images)
    return {
        "array": images,
        "tensor": torch.from_numpy(images).permute(0, 3, 1, 2),
        ".npy": tmp_path / "n.npy",
        ".npz": tmp_path / "n.npz",
        "compressed .npz": tmp_path / "c.npz",
        "folder": write(tmp_path / "f", {f"{i}.png": encode(crop(i)) for i in range(9)}),
    }


@pytest.mark.parametrize("kind", ["array", "tensor", ".npy", ".npz", "compressed .npz", "folder"])
def test_so_many_of_any_kind(tmp_path, kind):
    source = kinds(tmp_path)[kind]
    assert numbers(open_images(source, num=5)) == [0, 1, 2, 3, 4]
    assert numbers(open_images(source, num=9)) == list(range(9))
    drawn = [numbers(open_images(source, num=5, shuffle_seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] == sorted(set(drawn[0])) and drawn[1] != drawn[2]
    marks = {open_images(source, num=5, shuffle_seed=seed).fingerprint for seed in (None, 0, 1)} | {
        open_images(source).fingerprint
    }
    assert len(marks) == 4
    with pytest.raises(InputError, match="num: got 10, and real has 9 images; give at most that"):
        open_images(source, name="real", num=10)


def test_so_many_of_an_iterable_are_read_and_no_more():
    taken = []

    def batches():
        for i in range(100):
            taken.append(i)
            yield torch.from_numpy(crops(4))

    assert numbers(open_images(batches, num=6)) == [0, 1, 2, 3, 0, 1]
    assert taken == [0, 1]
    with pytest.raises(InputError, match="num: got 6, and images gave 4 images"):
        images_in(open_images(lambda: iter([crops(4)]), num=6))
    with pytest.raises(InputError, match="shuffle_seed: got 0, and images is an iterable"):
        open_images(batches, num=6, shuffle_seed=0)


def test_an_evaluation_at_a_number_is_that_of_so_many_images():
    one, two = crops(12), crops(20)[::-1].copy()
    given = {"extractor": TINY, "inception_score": False, "device": "cpu"}
    by_hand = evaluate(one, two[:12], **given)
    same = evaluate(one, two, same_number=True, **given)
    assert (same["n_real"], same["n_fake"]) == (12, 12)
    assert same["fid"] == by_hand["fid"]
    five = evaluate(one, two, num=5, **given)
    assert five["fid"] == evaluate(one[:5], two[:5], **given)["fid"]
    few = image_statistics(one, num=5, extractor=TINY, device="cpu")
    assert few.n == 5
    # statistics are of a number already
    assert evaluate(few, two, same_number=True, **given)["n_fake"] == 5
    many = image_statistics(two, extractor=TINY, device="cpu")
    with pytest.raises(InputError, match="same_number: real is a file of statistics of 20 images"):
        evaluate(many, one, same_number=True, **given)
    with pytest.raises(InputError, match="same_number: of how many images fake is, is not known"):
        evaluate(one, lambda: iter([two]), same_number=True, **given)
    with pytest.raises(InputError, match="shuffle_seed: got 0 without num"):
        evaluate(one, two, shuffle_seed=0, **given)
