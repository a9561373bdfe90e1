"""Options of the benchmarks; one entry for each provider of each case; the machine's facts in place
of pytest-benchmark's own."""

from __future__ import annotations

import contextlib
import importlib
import warnings

import pytest
import torch
from pytest_benchmark.logger import PytestBenchmarkWarning

from benchmarks import machine
from benchmarks.harness import Harness


def pytest_addoption(parser):
    group = parser.getgroup("ganfast")
    group.addoption("--quick", action="store_true", help="a smoke run of a few cases")
    group.addoption("--threads", type=int, default=2, help="of torch and ganfast (2)")
    group.addoption("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    group.addoption("--until", type=float, help="begin no case after so many seconds")


def pytest_configure(config):
    # Such as "no saved run to compare with"; warnings are errors in our tests.
    warnings.simplefilter("default", PytestBenchmarkWarning)
    config.addinivalue_line(
        "filterwarnings", "default::pytest_benchmark.logger.PytestBenchmarkWarning"
    )
    threads = config.getoption("--threads")
    torch.set_num_threads(threads)
    with contextlib.suppress(ImportError):  # NumPy's and SciPy's BLAS has threads of its own
        config.ganfast_blas = importlib.import_module("threadpoolctl").threadpool_limits(
            threads, "blas"
        )
    config.ganfast_load = machine.load()  # before the run itself loads the machine
    config.ganfast_facts = machine.facts(threads, config.getoption("--device"))
    config.ganfast_harness = Harness(
        config.getoption("--device"), config.getoption("--quick"), config.getoption("--until")
    )


def pytest_benchmark_generate_machine_info(config):
    # pytest-benchmark's own names the host.
    return config.ganfast_facts


def pytest_benchmark_generate_commit_info(config):
    return {}


def pytest_benchmark_update_json(config, benchmarks, output_json):
    # Not among the machine's facts, by which two runs are said to be comparable or not.
    output_json["load_before"] = config.ganfast_load


def pytest_generate_tests(metafunc):
    config = metafunc.config
    # Compiling brings out warnings of torch's own modules, which are errors in our tests.
    ignore = pytest.mark.filterwarnings("ignore")
    metafunc.parametrize(
        ("case", "graph", "provider"),
        [
            pytest.param(case, graph, provider, marks=ignore, id=name)
            for case in metafunc.module.cases(
                config.getoption("--quick"), config.getoption("--device")
            )
            for graph, provider, name in config.ganfast_harness.entries(case)
        ],
    )


@pytest.fixture
def harness(request) -> Harness:
    return request.config.ganfast_harness
