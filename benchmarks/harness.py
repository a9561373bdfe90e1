"""Cases in pytest-benchmark: one group for each case, one entry for each provider.

The first entry of a group that runs measures the whole case, in rounds in which all providers take
turns. Each entry then gets its provider's seconds of those rounds, so pytest-benchmark's statistics
and the report come from the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ganfast.bench.case import COMPILED, GANFAST, Case, Comparison, GateError, Measurement
from ganfast.errors import one_line

IN_A_GRAPH = ", in a CUDA graph"
COMPILING, PREPARING = 3.0, 1.0
"""Seconds for Inductor to compile a case's rival, and for inputs, truth and warming up."""


class Harness:
    """The cases of one run of pytest on one device."""

    def __init__(
        self, device: str = "cpu", quick: bool = False, until: float | None = None
    ) -> None:
        self.device, self.quick = torch.device(device), quick
        self.end = None if until is None else time.monotonic() + until
        self._case: Case | None = None
        self._comparison: Comparison | None = None
        self._found: dict[bool, Measurement | str] = {}

    def entries(self, case: Case) -> Iterator[tuple[bool, str, str]]:
        """(in a CUDA graph or not, provider, name) of each; ganfast last: it is warm by then."""
        graphs = (False, True) if case.graphs and self.device.type == "cuda" else (False,)
        for graph in graphs:
            for provider in case.providers:
                yield graph, provider, f"{group(case, graph)}-{provider}"

    def record(self, benchmark: Any, case: Case, graph: bool, provider: str) -> None:
        """The body of a suite's test: one provider's samples, and its facts in extra_info."""
        benchmark.group = group(case, graph)
        found = self.measure(case, graph)
        if isinstance(found, str):
            if provider == GANFAST:
                pytest.fail(found, pytrace=False)
            pytest.skip(found)
        benchmark.extra_info |= facts(case, graph, provider, found)
        name = f"{group(case, graph)}: {provider}"
        if provider in found.failed:  # whoever is wrong has no speed
            pytest.fail(f"{name}: {found.failed[provider]}", pytrace=False)
        if provider in found.rounds.seconds:
            benchmark.pedantic(lambda: None, iterations=found.rounds.loops[provider])
            if benchmark.stats is not None:  # not with --benchmark-disable
                benchmark.stats.stats.data[:] = found.rounds.seconds[provider]
        if provider in found.missing:
            pytest.skip(f"{name}: {found.missing[provider]}")

    def takes(self, case: Case) -> float:
        """Seconds that a case takes on a GPU, about; on a CPU any that there is time for begins."""
        if self.device.type != "cuda":
            return 0.0
        compiling = COMPILING if COMPILED in case.providers else 0.0
        return case.seconds * (1 + case.graphs) + compiling + max(PREPARING, case.setting_up)

    def measure(self, case: Case, graph: bool) -> Measurement | str:
        """The case, measured when first asked for, or why it could not be.

        Only the latest is kept, for one of 16 million logits fills half a GiB.
        """
        if self._case is not case:
            self._case = self._comparison = None
            self._found.clear()
            torch.compiler.reset()  # or the shapes of earlier cases count against Dynamo's limit
            if self.end is not None and time.monotonic() + self.takes(case) > self.end:
                pytest.skip(f"{case.name}: no time left")
            self._case = case
        if graph not in self._found:
            try:
                self._comparison = self._comparison or Comparison(case, self.device)
                self._found[graph] = self._comparison.measure(quick=self.quick, graph=graph)
            except GateError as error:
                self._found[graph] = str(error)
            except ModuleNotFoundError as error:  # what the inputs are made of
                self._case = None
                pytest.skip(f"{case.name}: needs {error.name}")
            except Exception as error:  # kept, or each entry would try again
                self._found[graph] = f"{case.name}: {type(error).__name__}: {one_line(error)}"
        return self._found[graph]


def group(case: Case, graph: bool) -> str:
    """The name of a case's group, the same from run to run."""
    return f"{case.name}-graph" if graph else case.name


def facts(case: Case, graph: bool, provider: str, found: Measurement) -> dict[str, Any]:
    """What the report needs beside the statistics."""
    told: dict[str, Any] = {
        "section": case.section + IN_A_GRAPH * graph,
        "label": case.label,
        "provider": provider,
        "error": found.errors.get(provider),
        "limit": found.limit,
        "rate": found.rate,
    }
    if provider != GANFAST and provider in found.rounds.seconds:
        told["speedup"] = found.rounds.ratio(provider)  # of ganfast over this provider
    if case.providers[provider].code:
        told["code"] = case.providers[provider].code
    if case.items:
        told["items"] = case.items
    if found.sets > 1 or not case.rotates:
        told |= {"sets": found.sets, "past_cache": found.past_cache}
    return told | {name: each[provider] for name, each in found.facts.items() if provider in each}
