"""Options of the benchmarks; the machine's facts in place of pytest-benchmark's own."""

from __future__ import annotations

import contextlib
import importlib

import pytest
import torch

from benchmarks import machine


def pytest_addoption(parser):
    group = parser.getgroup("ganfast")
    group.addoption("--quick", action="store_true", help="a smoke run of a few cases")
    group.addoption("--threads", type=int, default=2, help="of torch and ganfast (2)")


def pytest_configure(config):
    threads = config.getoption("--threads")
    torch.set_num_threads(threads)
    with contextlib.suppress(ImportError):  # NumPy's and SciPy's BLAS has threads of its own
        config.ganfast_blas = importlib.import_module("threadpoolctl").threadpool_limits(
            threads, "blas"
        )
    # Taken before the run itself loads the machine.
    config.ganfast_facts = machine.facts(threads)


def pytest_benchmark_generate_machine_info(config):
    # pytest-benchmark's own names the host.
    return config.ganfast_facts


def pytest_benchmark_generate_commit_info(config):
    return {}


def pytest_generate_tests(metafunc):
    # A suite of contests lists its cases; the losses, which came before, do it themselves.
    chosen = getattr(metafunc.module, "chosen", None)
    if chosen is not None:
        found = chosen(metafunc.config.getoption("--quick"))
        metafunc.parametrize("case", [pytest.param(case, id=case.name) for case in found])


@pytest.fixture(scope="session")
def is_quick(request) -> bool:
    return request.config.getoption("--quick")
