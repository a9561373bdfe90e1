"""Options of the benchmarks; the machine's facts in place of pytest-benchmark's own."""

from __future__ import annotations

import pytest
import torch

from benchmarks import machine


def pytest_addoption(parser):
    group = parser.getgroup("ganfast")
    group.addoption("--quick", action="store_true", help="a smoke run of a few cases")
    group.addoption("--threads", type=int, default=2, help="of torch and ganfast (2)")


def pytest_configure(config):
    torch.set_num_threads(config.getoption("--threads"))
    # Taken before the run itself loads the machine.
    config.ganfast_facts = machine.facts(config.getoption("--threads"))


def pytest_benchmark_generate_machine_info(config):
    # pytest-benchmark's own names the host.
    return config.ganfast_facts


def pytest_benchmark_generate_commit_info(config):
    return {}


@pytest.fixture(scope="session")
def is_quick(request) -> bool:
    return request.config.getoption("--quick")
