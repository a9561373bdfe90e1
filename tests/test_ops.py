"""Every row of the op table, on every backend that it names: the functions are there, with the
reference's signatures, and give what the reference gives in float64."""

from __future__ import annotations

import importlib
import inspect

import op_oracles
import pytest
import torch

import ganfast
from ganfast import _dispatch, optim, reference
from ganfast._dispatch import OPS

KERNELS = ("cpu", "triton", "cuda")
ROWS = [(op, backend) for op, row in OPS.items() for backend in KERNELS if getattr(row, backend)]


def module_of(op, backend):
    package = "ganfast.reference" if backend == "reference" else f"ganfast.backends.{backend}"
    if backend == "triton":
        pytest.importorskip("triton", reason="Triton is not installed")
    if backend == "cpu":
        pytest.importorskip("ganfast._cpu", reason="the C++ kernels were not built")
    return importlib.import_module(f"{package}.{OPS[op].module}")


def parameters(function):
    return list(inspect.signature(function).parameters)


def methods(kind):
    return {name: f for name, f in vars(kind).items() if inspect.isfunction(f) and name[0] != "_"}


@pytest.mark.parametrize(("op", "backend"), [*ROWS, *((op, "reference") for op in OPS)])
def test_a_backend_has_what_the_reference_has(op, backend):
    """A missing name would be an AttributeError in a user's call, on the one device that has it."""
    module, exact = module_of(op, backend), module_of(op, "reference")
    for name in OPS[op].functions:
        mine, theirs = getattr(module, name), getattr(exact, name)
        if inspect.isclass(theirs):
            assert parameters(mine) == parameters(theirs)
            for method, function in methods(theirs).items():
                assert parameters(getattr(mine, method)) == parameters(function), method
        elif callable(theirs):
            assert parameters(mine) == parameters(theirs), name
        else:
            assert type(mine) is type(theirs), name


@pytest.mark.parametrize("op", OPS)
def test_the_reference_has_an_oracle(op):
    for dtype in OPS[op].cpu or OPS[op].triton or OPS[op].cuda:
        op_oracles.check(op, module_of(op, "reference"), "cpu", dtype)


@pytest.mark.parametrize("op", [op for op, backend in ROWS if backend == "cpu"])
def test_the_cpu_kernels(op):
    module_of(op, "cpu")
    for dtype in OPS[op].cpu:
        x = torch.empty(0, dtype=dtype)
        (verdict,) = [row for row in ganfast.explain(op, x) if row.backend == "cpu"]
        assert verdict.ok, verdict.reason
        with ganfast.backend("cpu"):
            op_oracles.check(op, _dispatch.serve(op, (x,)), "cpu", dtype)


def test_no_oracle_is_left_over():
    assert set(op_oracles.ORACLES) == set(OPS)


def test_every_optimizer_is_a_row():
    kinds = [getattr(optim, name) for name in optim.__all__]
    assert kinds and all(kind._op in OPS for kind in kinds)


def test_the_wrong_answer_is_noticed():
    """The oracles themselves: a backend that is off by a sign, or does nothing, fails them."""

    class Wrong:
        def __init__(self, module):
            self.module = module

        def __getattr__(self, name):
            found = getattr(self.module, name)
            if not callable(found):
                return found
            if inspect.isclass(found):
                return type(
                    name, (found,), {"centre": lambda self: super(type(self), self).rows()[:2]}
                )

            def wrong(*arguments):
                result = found(*arguments)
                if isinstance(result, tuple):
                    return tuple(
                        None if x is None else ~x if x.dtype == torch.bool else -x for x in result
                    )
                return None if result is None else -result

            return wrong

    for op in OPS:
        if op not in ("rmsprop", "adam"):
            with pytest.raises((AssertionError, TypeError)):
                op_oracles.check(op, Wrong(module_of(op, "reference")), "cpu", (OPS[op].cpu)[0])


def test_steps_that_do_nothing_are_noticed():
    class Idle:
        rmsprop = adam = staticmethod(lambda optimizer: None)

    for op in ("rmsprop", "adam"):
        with pytest.raises(AssertionError):
            op_oracles.check(op, Idle, "cpu", torch.float32)


def test_a_row_without_an_oracle_is_red():
    with pytest.raises(AssertionError, match="relu has no oracle"):
        op_oracles.check("relu", reference.losses, "cpu", torch.float32)
