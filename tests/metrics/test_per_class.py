"""FID of each class folder: what one evaluation of each folder alone gives, in one pass."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from image_samples import crop, encode, write
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ganfast.errors import InputError
from ganfast.metrics import evaluate, image_statistics

GIVEN = {"extractor": "tiny_network:network", "device": "cpu", "workers": 0, "batch_size": 7}
CLASSES = {"real": {"ape": 20, "bee": 17, "cow": 3}, "fake": {"ape": 18, "bee": 5, "dog": 4}}


def pictures(first: int, classes: dict[str, int]) -> dict[str, bytes]:
    return {
        f"{name}/deep/{i}.png": encode(crop(first + 30 * number + i))
        for number, (name, count) in enumerate(classes.items())
        for i in range(count)
    }


@pytest.fixture
def sides(tmp_path):
    real = write(tmp_path / "real", pictures(0, CLASSES["real"]))
    return real, write(tmp_path / "fake", pictures(500, CLASSES["fake"]))


def test_it_is_the_fid_of_each_folder(sides):
    real, fake = sides
    found, plain = evaluate(real, fake, per_class=True, **GIVEN), evaluate(real, fake, **GIVEN)
    assert found["fid_per_class"].keys() == {"ape", "bee"}
    for name, fid in found["fid_per_class"].items():
        alone = evaluate(real / name, fake / name, **GIVEN)
        assert fid == pytest.approx(alone["fid"], rel=1e-5)
    assert found["intra_fid"] == pytest.approx(sum(found["fid_per_class"].values()) / 2)
    assert found["fid"] == pytest.approx(plain["fid"], rel=1e-9)
    assert (found["n_real"], found["n_fake"]) == (40, 27)
    assert plain["intra_fid"] is plain["fid_per_class"] is None
    notes = " ".join(note for note in found["notes"] if note.startswith("per_class"))
    assert "real alone has 'cow'" in notes and "fake alone has 'dog'" in notes
    assert notes.count("fewer than") == 1 and "1 of 2 classes have fewer than 13 images" in notes


def test_an_archive_with_a_folder_around_it(sides, tmp_path):
    real, fake = sides
    archive = shutil.make_archive(str(tmp_path / "fake"), "zip", tmp_path, "fake")
    found = evaluate(real, archive, per_class=True, **GIVEN)
    wanted = evaluate(real, fake, per_class=True, **GIVEN)["fid_per_class"]
    assert found["fid_per_class"] == pytest.approx(wanted, rel=1e-5)


def test_a_class_of_one_image_has_none(sides):
    real, fake = sides
    write(fake, {"cow/0.png": encode(crop(3))})
    found = evaluate(real, fake, per_class=True, **GIVEN)
    assert found["fid_per_class"]["cow"] is None and found["intra_fid"] > 0
    assert "no FID of 'cow', with fewer than 2 images" in " ".join(found["notes"])


def test_what_has_no_classes_is_refused(sides, tmp_path):
    real, fake = sides
    statistics = image_statistics(real, **GIVEN)
    flat = write(tmp_path / "flat", {"0.png": encode(crop(0)), "ape/1.png": encode(crop(1))})
    for arguments, more, words in (
        ((statistics, fake), {}, "real is statistics; give a folder or an archive"),
        ((real, flat), {}, "'0.png' of fake is in no class folder"),
        ((real, fake / "dog"), {}, "is in no class folder|no class folder is on both sides"),
        ((real, fake), {"bootstrap": 9}, "with bootstrap or fid_infinity"),
    ):
        with pytest.raises(InputError, match=f"per_class: .*({words})"):
            evaluate(*arguments, per_class=True, **more, **GIVEN)


def test_precision_and_recall_of_each_class(sides):
    real, fake = sides
    found = evaluate(real, fake, per_class=True, prdc=True, **GIVEN)
    assert evaluate(real, fake, per_class=True, **GIVEN)["prdc_per_class"] is None
    alone = evaluate(real / "ape", fake / "ape", prdc=True, **GIVEN)
    assert found["prdc_per_class"]["ape"] == {
        name: alone[f"prdc_{name}"]
        for name in ("precision", "recall", "density", "coverage", "n_real", "n_fake")
    }
    assert found["prdc_per_class"]["bee"] is None  # of 5 fake images, and 5 neighbours are asked
    assert "no precision and recall of 'bee'" in " ".join(found["notes"])
    for name in ("precision", "recall"):
        assert found[f"intra_{name}"] == alone[f"prdc_{name}"]


def test_classes_that_vanished_are_named(sides):
    """One has no fake image, and of another all fake images are the same."""
    real, fake = sides
    for path in (fake / "ape" / "deep").iterdir():
        path.write_bytes(encode(crop(999)))
    found = evaluate(real, fake, per_class=True, prdc=True, **GIVEN)
    assert found["prdc_per_class"]["ape"]["recall"] == 0
    assert found["vanished_classes"] == ["ape", "cow"]
    assert evaluate(real, fake, per_class=True, **GIVEN)["vanished_classes"] == ["cow"]
    assert evaluate(real, fake, **GIVEN)["vanished_classes"] is None


def test_labels_in_the_file_of_the_images(sides, tmp_path):
    """As ADM's samples have them; a folder's name is compared with the number as text."""
    folder, _ = sides
    labels = np.arange(30) % 3
    images = np.stack([crop(i) for i in range(60)])
    real = write(tmp_path / "labelled", {
        f"{labels[i]}/{i:02}.png": encode(images[i]) for i in range(30)
    })  # fmt: skip
    np.savez(tmp_path / "fake.npz", arr_0=images[30:], arr_1=labels)
    found = evaluate(real, tmp_path / "fake.npz", per_class=True, **GIVEN)
    one = evaluate(real / "1", images[30:][labels == 1], **GIVEN)
    assert found["fid_per_class"].keys() == {"0", "1", "2"}
    assert found["fid_per_class"]["1"] == pytest.approx(one["fid"], rel=1e-5)
    np.savez(tmp_path / "odd.npz", arr_0=images[30:], labels=labels[:7])
    np.savez(tmp_path / "none.npz", arr_0=images[30:], other=labels)
    for given, more, words in (
        ("odd.npz", {}, r"got labels of int64 and shape \(7,\) in .*odd.npz'; give a whole number"),
        ("fake.npz", {"num": 20}, "for each of 20 images, all of which are taken"),
        ("none.npz", {}, r"fake is no folder or archive; .* or a .npz with labels \(arr_1\)"),
    ):
        with pytest.raises(InputError, match=f"per_class: .*{words}"):
            evaluate(real, tmp_path / given, per_class=True, **more, **GIVEN)


def test_a_run_that_was_stopped_goes_on(sides, tmp_path):
    real, fake = sides
    wanted = evaluate(real, fake, per_class=True, **GIVEN)["fid_per_class"]
    last = fake / "dog" / "deep" / "3.png"
    good, state = last.read_bytes(), tmp_path / "state"
    last.write_bytes(b"x" * len(good))
    with pytest.raises(InputError, match=r"3\.png"):
        evaluate(real, fake, per_class=True, state=state, **GIVEN)
    assert state.exists()
    with pytest.raises(InputError, match="per_class is True there and not given now"):
        evaluate(real, fake, state=state, **GIVEN)
    last.write_bytes(good)
    assert evaluate(real, fake, per_class=True, state=state, **GIVEN)["fid_per_class"] == wanted


class Labelled(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"image": self.images[i], "label": self.labels[i]}


def labelled():
    """Images of a side and their classes, in no order, the last seen first in the last batch."""
    images = torch.from_numpy(np.stack([crop(i) for i in range(60)]))
    labels = torch.tensor([0, 2, 0, 2, 2, 0, 0, 2] * 3 + [1] * 6)
    return (images[:30], labels), (images[30:], labels.flip(0))


LOADERS = {
    "batches": lambda images, labels: DataLoader(TensorDataset(images, labels), batch_size=4),
    "dicts": lambda images, labels: DataLoader(Labelled(images, labels), batch_size=9),
    "pairs": lambda images, labels: list(zip(images, labels.tolist(), strict=True)),
    "a function": lambda images, labels: lambda: zip(images.split(8), labels.split(8), strict=True),
    "names": lambda images, labels: [(images, list(map(str, labels.tolist())))],
}


@pytest.mark.parametrize("kind", LOADERS)
def test_labels_that_come_with_the_images(kind, tmp_path):
    given = {"per_class": True, "prdc": True, **GIVEN}
    files = []
    for i, (images, labels) in enumerate(labelled()):
        files.append(tmp_path / f"{i}.npz")
        np.savez(files[-1], arr_0=images.numpy(), arr_1=labels.numpy())
    wanted = evaluate(*files, **given)
    found = evaluate(*(LOADERS[kind](*side) for side in labelled()), **given)
    assert found["fid_per_class"].keys() == {"0", "1", "2"}
    for name in ("intra_fid", "fid", "intra_recall"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-9)
    assert found["fid_per_class"] == pytest.approx(wanted["fid_per_class"], rel=1e-9)
    assert found["prdc_per_class"] == wanted["prdc_per_class"]
    mixed = evaluate(files[0], LOADERS[kind](*labelled()[1]), **given)
    assert mixed["fid_per_class"] == pytest.approx(wanted["fid_per_class"], rel=1e-9)


def test_classes_of_loaders_that_have_none_in_common():
    (images, labels), (others, _) = labelled()
    found = evaluate([(images, labels)], [(others, labels + 7)], per_class=True, **GIVEN)
    assert found["fid"] > 0 and found["fid_per_class"] == {} and found["intra_fid"] is None
    assert found["vanished_classes"] == ["0", "1", "2"]


def test_labels_that_cannot_be():
    (images, labels), _ = labelled()
    both = {"image": images, "label": labels, "class": labels}
    for loader, more, words in (
        ([images], {}, "per_class: got a batch of fake without labels; give .images, labels."),
        ([(images, images)], {}, "per_class: got a batch of fake without labels"),
        ([(images, labels[:7])], {}, "per_class: got 7 labels for 30 images of fake"),
        ([(images, labels / 2)], {}, "per_class: got a label that is a float for 30 images"),
        ([{"image": images}], {}, "label_key: got None, and a batch of fake has the keys image"),
        ([both], {}, "label_key: got None, and a batch of fake has the keys image, label, class"),
        ([both], {"label_key": "kind"}, "label_key: got 'kind', and a batch of fake has the keys"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate([(images, labels)], loader, per_class=True, **more, **GIVEN)
    found = evaluate([both], [(images, labels)], per_class=True, label_key="class", **GIVEN)
    assert found["fid_per_class"]["2"] == pytest.approx(0, abs=1e-6)
