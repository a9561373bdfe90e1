"""What patch and unpatch do to a project's modules, on stand-ins for the projects."""

from __future__ import annotations

import importlib
import inspect
import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from compat_fakes import DISTRIBUTIONS, HOMES, call, function_of, new_torcheval

import ganfast.linalg as GL
from ganfast import compat

ALL = tuple(HOMES)
KEY = "frechet_inception_distance"


current = function_of


def ours(function) -> bool:
    return function.__module__.startswith("ganfast.compat.")


def rewrite(fakes, path: str, old: str, new: str) -> None:
    text = (fakes / path).read_text()
    assert old in text
    (fakes / path).write_text(text.replace(old, new))


def statistics() -> list[np.ndarray]:
    x, y = (np.random.default_rng(seed).normal(size=(50, 6)) for seed in (0, 1))
    return [x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T)]


def test_importing_compat_imports_no_project():
    program = (
        "import sys, ganfast; ganfast.compat.patch; "
        f"print(sorted(set(sys.modules) & {{'scipy', *{ALL!r}}}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_says_what_it_replaced(fakes, caplog):
    with caplog.at_level(logging.INFO, logger="ganfast.compat"):
        records = compat.patch("torchmetrics", "cleanfid")
    assert records == (
        ("torchmetrics", "9.9", "torchmetrics.image.fid._compute_fid"),
        ("cleanfid", "9.9", "cleanfid.fid.frechet_distance"),
    )
    assert len(caplog.messages) == 2
    assert "torchmetrics 9.9: _compute_fid" in caplog.messages[0]
    assert "clean-fid 9.9: frechet_distance" in caplog.messages[1]


def test_only_the_named_projects_are_patched(fakes):
    compat.patch("pytorch_fid")
    assert [project for project in ALL if ours(current(project))] == ["pytorch_fid"]


def test_without_names_all_that_are_installed(fakes, monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanfid", None)  # Python's way to say: not there
    records = compat.patch()
    assert [record.project for record in records] == [
        "pytorch_fid",
        "torch_fidelity",
        "torchmetrics",
        "monai",
        "ignite",
        "piq",
        "torcheval",
    ]
    assert "sqrtm(" in inspect.getsource(scipy.linalg.sqrtm)  # SciPy's own: by name alone


def test_without_names_one_that_cannot_be_imported_is_skipped_and_named(fakes, caplog):
    rewrite(fakes, "cleanfid/fid.py", "import warnings", "import a_module_that_is_nowhere")
    rewrite(fakes, "piq/fid.py", "import torch", "raise RuntimeError('no operator\\nnms')")
    records = compat.patch()
    assert {record.project for record in records} == {*ALL} - {"cleanfid", "piq"}
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "not patched: clean-fid 9.9 is installed but cannot be imported: "
            "No module named 'a_module_that_is_nowhere'",
        ),
        ("WARNING", "not patched: piq 9.9 is installed but cannot be imported: no operator nms"),
    ]
    with pytest.raises(ImportError, match="clean-fid 9.9 is installed but cannot be imported"):
        compat.patch("cleanfid")


def test_without_names_a_changed_function_is_still_refused(fakes):
    rewrite(fakes, "piq/fid.py", "eps=1e-6", "eps=1e-5")
    with pytest.raises(RuntimeError, match=r"piq 9\.9 is not a version"):
        compat.patch()
    assert [project for project in ALL if ours(current(project))] == []


def test_names_of_pip_are_names_too(fakes):
    records = compat.patch("pytorch-fid", "torch-fidelity", "clean-fid", "pytorch_fid")
    assert [record.project for record in records] == ["pytorch_fid", "torch_fidelity", "cleanfid"]


def test_patching_twice_is_harmless(fakes):
    before = {project: current(project) for project in ALL}
    assert len(compat.patch(*ALL)) == len(ALL)
    assert compat.patch(*ALL) == ()
    compat.unpatch(*ALL)
    assert {project: current(project) for project in ALL} == before


def test_unpatch_restores_the_very_same_objects(fakes):
    before = {project: current(project) for project in ALL}
    compat.patch()
    assert all(ours(current(project)) for project in ALL)
    compat.unpatch("cleanfid")
    assert [p for p in ALL if not ours(current(p))] == ["cleanfid"]
    compat.unpatch()
    assert all(current(project) is before[project] for project in ALL)
    compat.unpatch()  # nothing to do


def test_copies_of_the_function_are_replaced_and_restored(fakes):
    metrics = importlib.import_module("torch_fidelity.metrics")
    original = metrics.fid_statistics_to_metric
    compat.patch("torch_fidelity")
    assert ours(metrics.fid_statistics_to_metric) and ours(metrics.another_name)
    compat.unpatch("torch_fidelity")
    assert metrics.fid_statistics_to_metric is metrics.another_name is original


def test_a_module_imported_later_gets_ours_and_gives_it_back(fakes):
    compat.patch("torchmetrics")
    later = importlib.import_module("torchmetrics.image.mifid")
    assert ours(later._compute_fid)
    compat.unpatch("torchmetrics")
    assert later._compute_fid is current("torchmetrics") and not ours(later._compute_fid)


def test_a_reloaded_project_can_be_patched_again(fakes):
    compat.patch("cleanfid")
    importlib.reload(sys.modules["cleanfid.fid"])
    reloaded = current("cleanfid")
    assert not ours(reloaded)
    assert len(compat.patch("cleanfid")) == 1
    compat.unpatch()
    assert current("cleanfid") is reloaded


def test_context_manager(fakes):
    before = current("cleanfid")
    with pytest.raises(KeyError), compat.patched("cleanfid") as records:
        assert [record.project for record in records] == ["cleanfid"]
        assert ours(current("cleanfid"))
        raise KeyError
    assert current("cleanfid") is before


def test_context_manager_leaves_an_earlier_patch_alone(fakes):
    compat.patch("cleanfid")
    with compat.patched("cleanfid") as records:
        assert records == ()
    with compat.patched("cleanfid", "torchmetrics"):
        assert ours(current("torchmetrics"))
    assert ours(current("cleanfid")) and not ours(current("torchmetrics"))


def test_an_unknown_name_is_refused(fakes):
    with pytest.raises(ValueError, match="got 'pytorch_fit'; give .*did you mean 'pytorch"):
        compat.patch("cleanfid", "pytorch_fit")
    assert not ours(current("cleanfid"))
    with pytest.raises(ValueError, match="project: got 'x'; give one of"):
        compat.unpatch("x")


@pytest.mark.parametrize("project", ALL)
def test_a_project_that_is_not_installed(fakes, monkeypatch, project):
    others = [name for name in ALL if name != project]
    before = [current(name) for name in others]
    monkeypatch.setitem(sys.modules, project, None)
    with pytest.raises(ImportError, match=f"pip install {DISTRIBUTIONS[project]}$"):
        compat.patch(*others, project)
    assert [current(name) for name in others] == before


def test_a_project_that_cannot_be_imported(fakes):
    rewrite(fakes, "cleanfid/fid.py", "import warnings", "raise RuntimeError('no operator nms')")
    with pytest.raises(ImportError, match=r"clean-fid 9\.9 is installed but .*no operator nms"):
        compat.patch("torchmetrics", "cleanfid")
    assert not ours(current("torchmetrics"))


def test_a_project_whose_own_need_is_missing_is_not_a_changed_version(fakes):
    rewrite(fakes, "cleanfid/fid.py", "import warnings", "import a_module_that_is_nowhere")
    with pytest.raises(ImportError, match="cannot be imported: .*a_module_that_is_nowhere"):
        compat.patch("cleanfid")


CHANGES = {
    "a parameter less": (
        "pytorch_fid/fid_score.py",
        ", eps=1e-6",
        "",
        r"takes \(mu1.*sigma2\), not",
    ),
    "another default": ("cleanfid/fid.py", "eps=1e-6", "eps=1e-5", r"eps=1e-05\), not .*eps=1e-06"),
    "another name": ("torchmetrics/image/fid.py", "mu1", "mean1", r"takes \(mean1, "),
    "a renamed function": ("torchmetrics/image/fid.py", "_compute_fid", "_fid", "no _compute_fid"),
    "from another module": (
        "torchmetrics/image/fid.py",
        "def _compute_fid(",
        "from posixpath import join as _compute_fid\ndef f(",
        "it comes from posixpath",
    ),
    "no key": ("torch_fidelity/metric_fid.py", "KEY_METRIC_FID", "KEY", "no KEY_METRIC_FID"),
    "another meaning": ("torchmetrics/image/fid.py", "2 * roots", "roots", "to a small example"),
    "another type": ("torch_fidelity/metric_fid.py", "float(", "np.float64(", "to a small example"),
    "it fails": ("torchmetrics/image/fid.py", "sigma1 @", "sigma1.inputs @", "fails on a small"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_function_that_is_not_as_known_is_refused_by_name(fakes, change):
    path, old, new, message = CHANGES[change]
    project = path.split("/")[0]
    rewrite(fakes, path, old, new)
    before = {name: current(name) for name in ALL if name != project}
    with pytest.raises(RuntimeError, match=message) as caught:
        compat.patch(*before, project)
    assert f"{DISTRIBUTIONS[project]} 9.9 " in str(caught.value)
    assert "Nothing was patched" in str(caught.value)
    assert {name: current(name) for name in before} == before


def test_a_function_that_moved_is_refused_by_name(fakes):
    (fakes / "cleanfid" / "fid.py").rename(fakes / "cleanfid" / "distance.py")
    with pytest.raises(RuntimeError, match=r"clean-fid 9\.9 .* no module cleanfid\.fid\."):
        compat.patch("torchmetrics", "cleanfid")
    assert not ours(current("torchmetrics"))


@pytest.mark.parametrize("project", ALL)
def test_the_very_same_number(fakes, project):
    mu1, sigma1, mu2, sigma2 = statistics()
    sides = (mu1, sigma1), (mu2, sigma2)
    theirs = call(project, current(project), *sides)
    compat.patch(project)
    answer = call(project, current(project), *sides)
    assert type(answer) is type(theirs)
    assert getattr(answer, "dtype", None) == getattr(theirs, "dtype", None)
    numbers = [x[KEY] if isinstance(x, dict) else float(x) for x in (answer, theirs)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-10)


def test_a_method_is_replaced_in_its_class(fakes):
    metric = importlib.import_module("torcheval.metrics.image.fid").FrechetInceptionDistance()
    given = [torch.from_numpy(value) for value in statistics()]
    before = current("torcheval")
    theirs = metric.compute(*given)
    compat.patch("torcheval")
    assert ours(current("torcheval"))
    torch.testing.assert_close(metric.compute(*given), theirs, rtol=1e-10, atol=0)
    compat.unpatch("torcheval")
    assert current("torcheval") is before


@pytest.mark.parametrize("method", [True, False])
def test_torcheval_after_its_release(fakes, method):
    new_torcheval(fakes, method)
    records = compat.patch("torcheval")
    function = "torcheval.metrics.functional.frechet.gaussian_frechet_distance"
    assert [record.function for record in records][method:] == [function]
    home = importlib.import_module("torcheval.metrics.functional.frechet")
    given = [torch.from_numpy(value) for value in statistics()]
    patched = home.gaussian_frechet_distance(*given)
    assert ours(home.gaussian_frechet_distance)
    if method:
        assert ours(current("torcheval"))
    else:  # a copy of the function
        assert ours(importlib.import_module(HOMES["torcheval"][0]).gaussian_frechet_distance)
    compat.unpatch()
    assert not ours(home.gaussian_frechet_distance)
    torch.testing.assert_close(home.gaussian_frechet_distance(*given), patched)


def test_ignite_answers_as_before_where_ours_refuses(fakes):
    eye, indefinite = torch.eye(2).double(), torch.tensor([[-1.0, 1.0], [1.0, 1.0]]).double()
    mu = torch.zeros(2).double()
    compat.patch("ignite")
    kept = current("ignite")
    for unpatch in (lambda: None, compat.unpatch):
        unpatch()  # a copy outlives the patch
        with pytest.raises(ValueError, match="Imaginary component "):
            kept(mu, mu, indefinite, eye)


def test_monai_answers_in_float64_and_with_a_gradient(fakes):
    given = [torch.from_numpy(value).float().requires_grad_() for value in statistics()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy on `disp`
        theirs = current("monai")(*given)
    compat.patch("monai")
    answer = current("monai")(*given)
    assert answer.dtype == theirs.dtype == torch.float64
    torch.testing.assert_close(answer, theirs, rtol=1e-6, atol=0)
    exact = [torch.from_numpy(value).requires_grad_() for value in statistics()]
    truth = GL.frechet_distance(*exact)
    for got, wanted in zip(
        torch.autograd.grad(answer, given), torch.autograd.grad(truth, exact), strict=True
    ):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("project", ["pytorch_fid", "cleanfid"])
def test_works_where_scipy_has_no_disp(fakes, scipy_1_18, project):
    score = importlib.import_module(HOMES[project][0]).score
    with pytest.raises(TypeError, match="disp"):
        score(*statistics())
    compat.patch(project)
    truth = importlib.import_module("torch_fidelity.metric_fid").fid_statistics_to_metric
    mu1, sigma1, mu2, sigma2 = statistics()
    wanted = truth({"mu": mu1, "sigma": sigma1}, {"mu": mu2, "sigma": sigma2}, False)[KEY]
    assert score(mu1, sigma1, mu2, sigma2) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("project", ["pytorch_fid", "cleanfid"])
@pytest.mark.parametrize("means", [np.float32, np.float64])
@pytest.mark.parametrize("covariances", [np.float32, np.float64])
def test_numpy_types_stay(fakes, project, means, covariances):
    mu1, sigma1, mu2, sigma2 = statistics()
    given = [mu1.astype(means), sigma1.astype(covariances)]
    given += [mu2.astype(means), sigma2.astype(covariances)]
    theirs = current(project)(*given)
    with compat.patched(project):
        answer = current(project)(*given, eps=1e-3)
    assert type(answer) is type(theirs)
    assert answer == pytest.approx(
        theirs, rel=1e-5 if np.float32 in (means, covariances) else 1e-10
    )


def test_any_layout_is_taken_and_nothing_is_changed(fakes):
    compat.patch("pytorch_fid")
    mu1, sigma1, mu2, sigma2 = statistics()
    wanted = current("pytorch_fid")(mu1, sigma1, mu2, sigma2)
    fixed, fortran, before = sigma1.copy(), np.asfortranarray(sigma2), sigma2.copy()
    fixed.flags.writeable = False
    backwards = mu1[::-1].copy()[::-1]
    assert current("pytorch_fid")(backwards, fixed, mu2.tolist(), fortran) == wanted
    assert (fortran == before).all()
    assert current("pytorch_fid")(0, 1, 2, 4) == pytest.approx(5)  # one feature, as integers


@pytest.mark.parametrize("project", ["pytorch_fid", "cleanfid"])
def test_sides_that_differ_in_shape_fail_as_theirs(fakes, project):
    compat.patch(project)
    mu1, sigma1, mu2, sigma2 = statistics()
    with pytest.raises(AssertionError, match="mu2: got shape"):
        current(project)(mu1[1:], sigma1, mu2, sigma2)
    with pytest.raises(AssertionError, match="sigma2: got shape"):
        current(project)(mu1, sigma1[1:, 1:], mu2, sigma2)


def test_torch_fidelity_prints_only_when_asked(fakes, capsys):
    compat.patch("torch_fidelity")
    mu1, sigma1, mu2, sigma2 = statistics()
    sides = {"mu": mu1, "sigma": sigma1}, {"mu": mu2, "sigma": sigma2}
    answer = current("torch_fidelity")(*sides, False)
    assert capsys.readouterr() == ("", "")
    assert type(answer) is dict and type(answer[KEY]) is float
    current("torch_fidelity")(*sides, True)
    assert f"{answer[KEY]:.7g}" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="mu: got .* 1 dimension"):
        current("torch_fidelity")({"mu": mu1.astype(np.float32), "sigma": sigma1}, sides[1], False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torchmetrics_keeps_its_dtype_and_its_gradient(fakes, dtype):
    given = [torch.from_numpy(value).to(dtype).requires_grad_() for value in statistics()]
    theirs = current("torchmetrics")(*given)
    compat.patch("torchmetrics")
    answer = current("torchmetrics")(*given)
    assert answer.dtype == dtype and answer.shape == theirs.shape
    loose = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(answer, theirs, **loose)
    wanted, got = (torch.autograd.grad(value, given) for value in (theirs, answer))
    for one, other in zip(got, wanted, strict=True):
        # Theirs treats the entries above and below the diagonal as free: compare what a symmetric
        # change of the covariance sees.
        both = [(g + g.T) / 2 if g.dim() == 2 else g for g in (one, other)]
        torch.testing.assert_close(*both, **loose)
