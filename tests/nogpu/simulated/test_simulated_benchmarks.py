"""The benchmarks of `make gpu` at their smallest, so that their first real run is not their first.

Events, CUDA graphs and captured steps are the simulated GPU's; its times mean nothing. Inductor
wants a device that is there: what it would compile runs as it is.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from benchmarks import machine
from benchmarks.gpu.suites import SUITES
from benchmarks.harness import Harness, facts
from ganfast.bench import case as bench_case

pytestmark = pytest.mark.filterwarnings("ignore")  # as in the benchmarks: of torch's own modules


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench_case, "PAST_CACHE", 1 << 12)
    properties = SimpleNamespace(**vars(torch.cuda.get_device_properties(0)))
    properties.L2_cache_size = 0  # two sets of inputs are past it
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)


@pytest.mark.parametrize("suite", SUITES)
def test_every_kind_of_case_of_a_suite(suite):
    harness = Harness("cuda", quick=True)
    for case in importlib.import_module(f"benchmarks.bench_{suite}").cases(True, "cuda"):
        brief = replace(case, seconds=0.0, rounds=1)
        for graph in (False, True) if case.graphs else (False,):
            found = harness.measure(brief, graph)
            assert not isinstance(found, str), found
            peers = {name for name, provider in case.providers.items() if provider.optional}
            assert not found.failed and set(found.missing) <= peers, (case.name, found)
            for name in found.rounds.seconds:
                told = facts(brief, graph, name, found)
                assert told["error"] is not None and told["past_cache"] is case.rotates


def test_the_facts_of_the_machine():
    found = machine.facts(2, "cuda")
    assert found["gpu"] == "simulated sm_90" and found["processors"] == 132
    assert {"cudnn", "cupy", "numpy", "scipy", "driver"} <= set(found)
