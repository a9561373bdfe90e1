"""The losses, forward and backward, against what a user would write instead.

One group for each loss and shape; in it one benchmark for each provider, with pytest-benchmark's
own statistics. Those are taken one after another, so the ratios of the report come from the
interleaved rounds that the benchmark of ganfast keeps in its extra_info.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest
import torch

from benchmarks.interleave import LEAST, interleave, loops_for, sample
from benchmarks.losses import cases, gate, limit, providers
from benchmarks.losses.cases import Case
from benchmarks.names import COMPILED, COPY, GANFAST

ALONE_SECONDS = 0.15
"""For one provider's own statistics."""


class Bench:
    """One case with its providers, each past the gate or not."""

    def __init__(self, case: Case) -> None:
        torch.compiler.reset()  # or the shapes of earlier cases count against Dynamo's limit
        self.case = case
        self.logits = providers.Logits(case)
        self.truth = gate.oracle(case, self.logits)
        self.errors: dict[str, dict[str, float]] = {}
        self.broken: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.steps: dict[str, providers.Step] = {}
        for name, step in providers.eager(case, self.logits).items():
            self._admit(name, step)
        self.fastest = self._fastest()
        form = providers.form_named(case, self.fastest)
        compiled = providers.compiled_loss(form.loss, self.logits)
        self._admit(COMPILED, providers.step(compiled, self.logits.leaves))
        loss = providers.ganfast_loss(case, self.logits)
        self._admit(GANFAST, providers.step(loss, self.logits.leaves))
        self.truth = None  # float64: as large as everything else together

    def _admit(self, name: str, step: providers.Step) -> None:
        """Through the gate; the second call is as warm as those that are timed."""
        try:
            for _ in range(2):
                found = gate.errors(step, self.logits.leaves, self.truth)
        except Exception as error:
            # The others can still be timed. Inductor needs a C++ compiler, which need not be there.
            lines = str(error).strip().splitlines() or [""]
            where = self.missing if name == COMPILED else self.broken
            where[name] = f"{type(error).__name__}: {lines[0]}"
            return
        self.errors[name] = found
        if gate.passes(found):
            self.steps[name] = step
        else:
            self.broken[name] = f"wrong by {found} (at most {gate.TOLERANCE:g})"

    def _fastest(self) -> str:
        """The eager form that the compiler is given."""
        names = [name for name in self.steps if name.startswith("eager")]
        if len(names) == 1:
            return names[0]
        steps = {name: self.steps[name] for name in names}
        rounds = interleave(steps, baseline=names[0], seconds=0.1, least_rounds=3)
        return min(names, key=lambda name: rounds["times"][name]["median"])

    def compare(self, seconds: float) -> dict[str, Any]:
        """The interleaved rounds of all providers and the copy."""
        copy, copied = limit.copy_step(self.case)
        everyone = {**self.steps, COPY: copy}
        found = interleave(everyone, baseline=GANFAST, seconds=seconds)
        moving = found["times"].pop(COPY)
        found["ratios"].pop(COPY)
        return {
            **found,
            # A limit is what can be reached, so the copy's good rounds count.
            "limit": limit.seconds(self.case, moving["p20"], copied),
            "copy_bandwidth": copied / moving["p20"],
        }


_latest: list[Bench] = []


def bench_of(case: Case) -> Bench:
    """The case's bench; only the latest is kept, for one of 16 million logits fills half a GiB."""
    if not _latest or _latest[0].case != case:
        _latest.clear()
        _latest.append(Bench(case))
    return _latest[0]


def pytest_generate_tests(metafunc):
    chosen = cases.quick() if metafunc.config.getoption("--quick") else cases.full()
    metafunc.parametrize(
        ("case", "provider"),
        [
            pytest.param(case, provider, id=f"{case.name}-{provider}")
            for case in chosen
            for provider in providers.names(case)
        ],
    )


def test_loss(benchmark, case: Case, provider: str, is_quick: bool) -> None:
    bench = bench_of(case)
    benchmark.group = case.name
    if provider in bench.broken:
        pytest.fail(bench.broken[provider], pytrace=False)
    if provider in bench.missing:
        pytest.skip(bench.missing[provider])
    step = bench.steps[provider]
    benchmark.extra_info["error"] = bench.errors[provider]
    if provider == GANFAST:
        benchmark.extra_info |= {
            "player": case.player,
            "game": case.game,
            "label": case.label,
            "size": case.size,
            "heads": len(case.heads),
            "compiled": bench.fastest,
            "errors": bench.errors,
            **bench.compare(cases.seconds(case, is_quick)),
        }
    loops = loops_for(step, LEAST, perf_counter)
    rounds = int(ALONE_SECONDS / sample(step, loops, perf_counter))
    benchmark.pedantic(step, rounds=min(max(rounds, 3), 100), iterations=loops)
