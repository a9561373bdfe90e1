"""The page of --report: whole, self-contained, and with the images that it speaks of."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from image_samples import crop, crops, encode, write

from ganfast import cli
from ganfast.errors import InputError
from ganfast.metrics import evaluate, image_statistics, load_extractor
from ganfast.metrics.distances import influence
from ganfast.metrics.distances.directions import covariance_directions

TINY = "tiny_network:network"
GIVEN = {"extractor": TINY, "device": "cpu", "workers": 0}
N = 20
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Its pictures and headings; every element that is opened is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[dict[str, str]] = []
        self.words: list[str] = []
        self.titles: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "iframe")
        if tag == "img":
            self.pictures.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


def pixels(picture: dict[str, str]) -> np.ndarray:
    image = pytest.importorskip("PIL.Image")
    start = "data:image/png;base64,"
    assert picture["src"].startswith(start)
    return np.array(image.open(io.BytesIO(base64.b64decode(picture["src"][len(start) :]))))


def pixels_of(path) -> np.ndarray:
    return np.array(pytest.importorskip("PIL.Image").open(path))


@pytest.fixture
def sides(tmp_path):
    """Two classes each; one name that a page must not take for HTML, and one image unlike all."""
    real = {f"{i % 2}/{i:02}.png": encode(crop(i)) for i in range(N)}
    fake = {f"{i % 2}/{i:02}<b>&.png": encode(crop(100 + i)) for i in range(N)}
    fake["0/odd.png"] = encode(np.full((32, 32, 3), (255, 0, 255), dtype=np.uint8))
    return write(tmp_path / "real", real), write(tmp_path / "fake", fake)


GRIDS = [
    "Generated images that cost most",
    "Generated images farthest from real ones",
    "Real images farthest from generated ones",
    "A random sample",
    "Directions of variety",
]


def test_all_of_it(sides, tmp_path):
    out = tmp_path / "out.html"
    asked = {"memorisation": True, "prdc": True, "swd": True, "fid_infinity": True}
    found = evaluate(*sides, report=out, **asked, **GIVEN)
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    plots = ["FID against the number of generated images"]
    assert page.titles == [
        "Numbers", "What FID is made of", *plots, *GRIDS,
        *(["Near copies"] if found["memorised_pairs"] else []), "How it was measured",
    ]  # fmt: skip
    words = " ".join(page.words)
    low, high = found["fid_interval"]
    assert f"{found['fid']:.5g} ({low:.5g} to {high:.5g})" in words
    assert f"{found['prdc_recall']:.5g}" in words and TINY in words
    assert "01<b>&.png" in words and "<b>&" not in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert not re.search(r"https?:|src=\"(?!data:)|url\(", text)
    assert found["fid_by_number"][-1][0] == N + 1 and "<polyline" in text
    assert found["stages"]["report"] > 0
    assert list(tmp_path.glob("*.part")) == []


def test_the_pictures_are_those_of_the_images(sides, tmp_path):
    out = tmp_path / "out.html"
    found = evaluate(*sides, report=out, **GIVEN)
    page = Page(out.read_text(encoding="utf-8"))
    extractor = load_extractor(TINY)
    real, fake = ([crop(i) for i in range(N)], [crop(100 + i) for i in range(N)])
    first = page.pictures[0]
    assert first["alt"] == found["costly_images"][0][0]
    odd = [one for one in page.pictures if one["alt"].endswith("odd.png")]
    assert odd and (pixels(odd[0]) == (255, 0, 255)).all()
    # The one farthest from real ones, above its nearest real image.
    fake.append(np.full((32, 32, 3), (255, 0, 255), dtype=np.uint8))
    x, y = (extractor([torch.from_numpy(image) for image in side])[0] for side in (fake, real))
    distances = torch.cdist(x.double(), y.double())
    farthest = int(distances.amin(1).argmax())
    place = len(found["costly_images"])
    assert np.array_equal(pixels(page.pictures[place]), fake[farthest])
    assert np.array_equal(pixels(page.pictures[place + 1]), real[int(distances[farthest].argmin())])


def test_the_ends_of_a_direction(sides, tmp_path):
    out = tmp_path / "out.html"
    found = evaluate(*sides, report=out, **GIVEN)
    page = Page(out.read_text(encoding="utf-8"))
    known = [image_statistics(side, **GIVEN) for side in sides]
    first = covariance_directions(*known)[0]
    words = " ".join(page.words)
    assert f"Direction 1: {first.share:.0%} of the term; generated images vary" in words
    assert f"vary {first.fake / first.real:.2g} times as much as real ones along it" in words
    extractor = load_extractor(TINY)
    place = len(found["costly_images"]) + 2 * 12 + 12 + 2 * 12  # the grids before it
    for side, offset in zip(sides, (0, 1), strict=True):
        files = sorted(path for path in side.rglob("*.png"))
        images = [torch.from_numpy(pixels_of(path)) for path in files]
        along = extractor(images)[0].double() @ first.vector
        order = [files[i] for i in along.argsort().tolist()]
        ends = [{str(path) for path in part} for part in (order[:3], order[-3:])]
        shown = [one["alt"] for one in page.pictures[place + offset : place + 12 : 2]]
        assert [set(shown[:3]), set(shown[3:])] in (ends, ends[::-1])
        assert shown[0] in (str(order[0]), str(order[-1]))


def test_several_extractors_on_one_page(sides, tmp_path, monkeypatch):
    computed, known = [], influence.frechet_distance
    monkeypatch.setattr(influence, "frechet_distance", lambda *x: computed.append(1) or known(*x))
    out = tmp_path / "out.html"
    other = load_extractor("tiny_network:network")
    other.name = "another"
    given = {**GIVEN, "extractor": [TINY, other]}
    found = evaluate(*sides, report=out, prdc=True, **given)
    page = Page(out.read_text(encoding="utf-8"))
    assert len(computed) == 2  # once for each, for the interval and the directions
    assert page.titles[0] == "Numbers" and page.titles[-1] == "How it was measured"
    half = ["What FID is made of", *GRIDS]
    assert page.titles[1:-1] == [*half, *half]
    words = " ".join(page.words)
    assert f"As {TINY} sees them" in words and "As another sees them" in words
    assert words.count(f"{found['prdc_recall']:.5g}") >= 2  # a column each
    assert found["by_extractor"]["another"]["fid"] == pytest.approx(found["fid"])


def test_classes(sides, tmp_path):
    (sides[0] / "cow").mkdir()
    shutil.copy(sides[0] / "0" / "00.png", sides[0] / "cow" / "1.png")
    found = evaluate(*sides, per_class=True, report=tmp_path / "out.html", **GIVEN)
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert "Classes" in page.titles and "Vanished: cow." in " ".join(page.words)
    assert f"{found['fid_per_class']['0']:.4g}" in page.words


def test_what_can_be_shown_of_statistics_and_streams(sides, tmp_path):
    out = tmp_path / "out.html"
    statistics = image_statistics(sides[0], **GIVEN)
    for real, fake, grids in (
        (statistics, sides[1], [GRIDS[0], GRIDS[4]]),
        (statistics, image_statistics(sides[1], **GIVEN), []),
        (sides[0], iter([torch.from_numpy(crops(8))]), GRIDS[4:]),
        (crops(12), crops(24)[12:], GRIDS),
    ):
        evaluate(real, fake, report=out, **GIVEN)
        page = Page(out.read_text(encoding="utf-8"))
        assert [title for title in page.titles if title in GRIDS] == grids
        assert "Numbers" in page.titles


def test_what_cannot_be_written_is_told_at_once(sides, tmp_path, monkeypatch):
    from ganfast.metrics.evaluation.evaluation import Evaluation

    monkeypatch.setattr(Evaluation, "scan", lambda self: pytest.fail("it has begun"))
    for report, words in (
        (tmp_path / "none" / "out.html", "report: there is no folder"),
        (tmp_path / "out.png", "report: got .* give one that ends in .html"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate(*sides, report=report, **GIVEN)


def test_the_command_and_a_real_browser(sides, tmp_path):
    """No error in its console, and it prints."""
    out = tmp_path / "out.html"
    flags = ["--extractor", TINY, "--device", "cpu", "--workers", "0", "-q"]
    assert cli.main(["fid", *map(str, sides), *flags, "--report", str(out)]) == 0
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no Chromium")
    pdf = tmp_path / "out.pdf"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command = [browser, *options, "--enable-logging=stderr", f"--print-to-pdf={pdf}", out.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    assert pdf.read_bytes()[:5] == b"%PDF-" and pdf.stat().st_size > 10_000
