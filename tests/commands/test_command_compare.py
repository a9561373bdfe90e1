"""`ganfast compare`: results side by side, and which are not to be told apart."""

from __future__ import annotations

import json
import re
import sys

import pytest

from ganfast.commands.compare_plot import groups


@pytest.fixture
def saved(tmp_path, result):
    """Writes a result with these changes; its path."""

    def save(name, **changes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**result, **changes}))
        return path

    return save


def test_a_table_and_what_overlaps(call, saved):
    one = saved("early.json", fid=20.0, fid_interval=[18, 22])
    two = saved("late.json", fid=12.5, fid_interval=[11, 14], prdc_recall=0.5)
    three = saved("last.json", fid=12.0, fid_interval=[10.5, 13.5])
    code, out, err = call("compare", one, two, three)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "               early    late    last",
        "FID               20    12.5      12",
        "95% from          18      11    10.5",
        "95% to            22      14    13.5",
        "IS               9.5     9.5     9.5",
        "recall             -     0.5       -",
        "real images   50,000  50,000  50,000",
        "fake images      512     512     512",
        "FID of late and last: not distinguishable",
    ]


def test_errors_of_cmmd(call, saved):
    one = saved("a.json", cmmd=1.0, cmmd_error=0.1, fid_interval=[1, 2])
    two = saved("b.json", cmmd=1.3, cmmd_error=0.1, fid_interval=[3, 4])
    three = saved("c.json", cmmd=1.5, cmmd_error=0.1, fid_interval=[5, 6])
    found = json.loads(call("compare", one, two, three, "--json")[1])
    assert found["not_distinguishable"] == {"CMMD": [["a", "b"], ["b", "c"]]}
    assert found["results"]["b"]["cmmd"] == 1.3 and found["notes"] == []


def test_what_does_not_compare_is_told(call, saved):
    one = saved("a.json", fid_interval=[1, 2])
    two = saved("b.json", protocol="clean", n_fake=600)
    code, out, err = call("compare", one, two)
    assert code == 0 and "not distinguishable" not in out
    lines = err.splitlines()
    assert len(lines) == 3 and all(line.startswith("ganfast: note: ") for line in lines)
    assert 'differ in protocol ("pytorch-fid" in a; "clean" in b)' in lines[0]
    assert "differ in n_fake (512 in a; 600 in b)" in lines[1]
    assert "no interval in b: " in lines[2] and "--interval" in lines[2]


def test_runs_of_one_name_are_told_by_their_folders(call, saved):
    paths = saved("one/fid.json"), saved("two/fid.json")
    assert call("compare", *paths)[1].splitlines()[0].split() == ["one/fid", "two/fid"]
    assert len(call("compare", paths[0], paths[0])[1].splitlines()[0].split()) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot read .*bad.json': Expecting"),
        ("[1]", "bad.json' has no fid; give what ganfast fid --json printed"),
        ('{"fid": null}', "has no fid"),
        (None, "cannot read .*bad.json': No such file"),
    ],
)
def test_bad_files_are_one_line(text, words, call, saved, tmp_path):
    if text is not None:
        (tmp_path / "bad.json").write_text(text)
    code, out, err = call("compare", saved("a.json"), tmp_path / "bad.json")
    assert code == 1 and out == "" and len(err.splitlines()) == 1
    assert re.search(words, err)


def test_one_result_is_wrong_usage(call, saved):
    code, _, err = call("compare", saved("a.json"))
    assert code == 2 and "give two results or more" in err


def test_which_are_drawn_together():
    assert groups({}) == groups({0: (1, 2)}) == groups({0: (1, 2), 1: (3, 4)}) == []
    assert groups({0: (1, 2), 1: (2, 4), 2: (3, 5)}) == [[0, 1], [1, 2]]
    assert groups({0: (1, 9), 3: (2, 3), 5: (4, 5), 6: (2.5, 4.5)}) == [[0, 3, 6], [0, 5, 6]]
    assert groups({0: (1, 2), 1: (1, 2), 2: (1, 2)}) == [[0, 1, 2]]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_plot(kind, call, saved, tmp_path):
    pytest.importorskip("matplotlib")
    paths = [
        saved("$early$.json", fid=20.0, fid_interval=[18, 22], prdc_recall=0.5),
        saved("late.json", fid=12.5, fid_interval=[11, 14], cmmd=1.0, cmmd_error=0.1),
        saved("last.json", fid=12.0, fid_interval=[10.5, 13.5], prdc_recall=0.6),
    ]
    out = tmp_path / f"out.{kind}"
    table = call("compare", *paths)
    assert call("compare", *paths, "--plot", out) == table  # beside it, whatever is drawn
    data = out.read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert [path.name for path in tmp_path.glob("*out*")] == [out.name]
    if kind == "svg":
        text = data.decode()
        said = set(re.findall(r"<!-- (.*?) -->", text))
        assert {"FID", "recall", "CMMD", "IS", "late", "not distinguishable"} <= said
        assert "real images" not in said
        assert text.count("<!-- not distinguishable -->") == 1  # of FID; one CMMD is no pair


def test_plots_that_cannot_be(call, saved, tmp_path, monkeypatch):
    paths = saved("a.json"), saved("b.json")
    code, out, err = call("compare", *paths, "--plot", tmp_path / "out.gif")
    assert (code, out) == (2, "") and "give one that ends in .png, .svg, .pdf" in err
    code, out, err = call("compare", *paths, "--plot", tmp_path / "none" / "out.png")
    assert (code, out) == (1, "") and "plot: there is no folder" in err
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    code, out, err = call("compare", *paths, "--plot", tmp_path / "out.png")
    assert (code, out) == (1, "") and "pip install" in err and len(err.splitlines()) == 1
