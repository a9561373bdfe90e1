"""Times the losses on a CUDA GPU: forward and backward, every provider in turn, round by round.

    python benchmarks/gpu_losses.py OUT.json --seconds 240

benchmarks/gpu.py runs this in a process of its own and renders what it writes. Two times are taken.
"times" is what a training loop sees: steps enqueued back to back, between two CUDA events; for few
logits it is the processor's time to launch. "graph_times" is the GPU's own: the same steps captured
in a CUDA graph. Each step works on the next set of inputs, together larger than the L2 cache as far
as 256 sets go.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from benchmarks.interleave import summary
from benchmarks.losses import forms
from benchmarks.losses.cases import PATCHGAN, Case, flat
from benchmarks.losses.providers import bind, ganfast_loss
from benchmarks.names import COMPILED, GANFAST
from ganfast import _dispatch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MOST_SETS = 256
ROUND = 4e-3
"""Seconds of one provider in one round, about."""


def chosen() -> list[tuple[Case, str]]:
    """The most telling first: what the time does not allow is left out from the end."""
    main = [flat("discriminator", "nonsaturating", n) for n in (64, 65_536, 1_000_000, 16_000_000)]
    main += [Case("discriminator", "nonsaturating", PATCHGAN)]
    main += [flat("discriminator", "nonsaturating", 4096), flat("generator", "nonsaturating", 64)]
    half = [flat("discriminator", "nonsaturating", n) for n in (4096, 1_000_000, 16_000_000)]
    others = [
        flat("discriminator", game, n)
        for game in ("wasserstein", "hinge", "least_squares")
        for n in (4096, 1_000_000, 16_000_000)
    ]
    return [*((c, "float32") for c in main), *((c, "bfloat16") for c in half)] + [
        (c, "float32") for c in others
    ]


class Inputs:
    """One set of logits, with the attributes that benchmarks.providers.bind asks for."""

    def __init__(self, case: Case, dtype: torch.dtype, device: str, seed: int) -> None:
        generator = torch.Generator(device).manual_seed(seed)

        def side() -> list[Tensor]:
            return [
                torch.randn(shape, device=device, generator=generator).to(dtype).requires_grad_()
                for shape in case.heads
            ]

        self.real = side() if case.sides == 2 else []
        self.fake = side()
        self.ones: list[Tensor] = []
        self.zeros: list[Tensor] = []

    @property
    def leaves(self) -> list[Tensor]:
        return self.real + self.fake

    @property
    def sides(self) -> list[list[Tensor]]:
        return [self.real, self.fake] if self.real else [self.fake]

    def label(self, ones: list[Tensor], zeros: list[Tensor]) -> Inputs:
        """Gives the label tensors that some eager forms take; all sets share them."""
        self.ones, self.zeros = ones, zeros
        return self

    def wide(self) -> Inputs:
        """In float64."""
        other = Inputs.__new__(Inputs)
        for name in ("real", "fake", "ones", "zeros"):
            tensors = [x.detach().double() for x in getattr(self, name)]
            setattr(other, name, [x.requires_grad_(name in ("real", "fake")) for x in tensors])
        return other


Step = Callable[[], tuple[Tensor, ...]]


def stepped(loss: Callable[[], Tensor], leaves: list[Tensor]) -> Step:
    def step() -> tuple[Tensor, ...]:
        value = loss()
        return value, *torch.autograd.grad(value, leaves)

    return step


def timed(work: Callable[[], Any], device: str) -> float:
    """Seconds between two CUDA events around ``work``."""
    if device == "cpu":
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3


class Bench:
    """The providers of one case, each as a list of steps: one for every set of inputs."""

    def __init__(self, case: Case, dtype: str, device: str, sets: int) -> None:
        self.case, self.device = case, device
        self.inputs = [Inputs(case, DTYPES[dtype], device, seed) for seed in range(sets)]
        ones = [torch.ones_like(x, requires_grad=False) for x in self.inputs[0].fake]
        zeros = [torch.zeros_like(x, requires_grad=False) for x in self.inputs[0].fake]
        self.inputs = [x.label(ones, zeros) for x in self.inputs]
        self.steps: dict[str, list[Step]] = {}
        self.errors: dict[str, dict[str, float]] = {}
        self.missing: dict[str, str] = {}
        self.forms = forms.of(case.player, case.phi, case.target)
        truth = self._truth()
        for form in self.forms:
            self._admit(form.name, partial(bind, form.loss), truth)
        best = min((f for f in self.forms if f.name in self.steps), key=self._quick)
        self.compiled = best.name
        fast: Any = torch.compile(
            bind(best.loss, self.inputs[0]).func, dynamic=False, fullgraph=True
        )
        self._admit(COMPILED, lambda x: partial(fast, *bind(best.loss, x).args), truth)
        self._admit(GANFAST, partial(ganfast_loss, case), truth)

    def _truth(self) -> tuple[Tensor, list[Tensor], float]:
        """The first eager form in float64: value, gradients, and the size of the loss."""
        x = self.inputs[0].wide()
        value = bind(self.forms[0].loss, x)()
        gradients = list(torch.autograd.grad(value, x.leaves))
        moved = sum(g.abs().sum().item() for g in gradients)
        return value.detach(), gradients, max(abs(value.item()), moved)

    def _admit(self, name: str, loss_of: Callable[[Any], Any], truth: Any) -> None:
        """Measures the error of a provider, and admits it if it is small enough."""
        try:
            steps = [stepped(loss_of(x), x.leaves) for x in self.inputs]
            for _ in range(2):
                value, *gradients = steps[0]()
        except Exception as error:  # the others can still be timed
            self.missing[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            return
        exact, exact_gradients, size = truth
        off = max(
            ((g.double() - e).abs().max() / e.abs().max()).item()
            for g, e in zip(gradients, exact_gradients, strict=True)
        )
        found = {"value": abs((value.double() - exact).item()) / size, "gradient": off}
        self.errors[name] = found
        eps = torch.finfo(value.dtype).eps
        for kind, error in found.items():
            rivals = [self.errors[f.name][kind] for f in self.forms if f.name in self.errors]
            bound = 2 * min(rivals) + 4 * eps if name == GANFAST else 0.1
            if not error <= bound:
                self.missing[name] = f"wrong: error of the {kind} {error:.1e}, allowed {bound:.1e}"
                return
        self.steps[name] = steps

    def _quick(self, form: forms.Form) -> float:
        steps = self.steps[form.name]
        return min(self.clocked(steps, 3) for _ in range(3))

    def clocked(self, steps: list[Step], loops: int) -> float:
        """Seconds of one of ``loops`` steps, each on the next set of inputs."""

        def work() -> None:
            for i in range(loops):
                steps[i % len(steps)]()

        return timed(work, self.device) / loops

    def calls(self, seconds: float) -> dict[str, dict[str, float]]:
        return self._rounds({n: partial(self.clocked, s) for n, s in self.steps.items()}, seconds)

    def graphs(self, seconds: float) -> dict[str, dict[str, float]]:
        """The same steps, replayed from CUDA graphs."""
        timers: dict[str, Callable[[int], float]] = {}
        for name, steps in self.steps.items():
            some = steps[: max(2, min(len(steps), 64))]
            try:
                graph = captured(some)
            except Exception as error:
                self.missing[f"{name} in a graph"] = str(error).splitlines()[0]
                continue

            def timer(loops: int, graph: Any = graph, count: int = len(some)) -> float:
                replays = max(1, loops // count)
                took = timed(lambda: [graph.replay() for _ in range(replays)], self.device)
                return took / (replays * count)

            timers[name] = timer
        return self._rounds(timers, seconds)

    def _rounds(
        self, timers: dict[str, Callable[[int], float]], seconds: float
    ) -> dict[str, dict[str, float]]:
        """Every timer in every round, in a new order each time: what disturbs one disturbs all."""
        loops, taken = {}, {name: [] for name in timers}
        for name, timer in timers.items():
            timer(10)  # warm
            loops[name] = max(2, min(2000, math.ceil(ROUND / max(timer(10), 1e-7))))
        until = time.monotonic() + seconds
        order, shuffle = list(timers), random.Random(0).shuffle
        while time.monotonic() < until or any(len(each) < 5 for each in taken.values()):
            shuffle(order)
            for name in order:
                taken[name].append(timers[name](loops[name]))
        return {name: {**summary(each), "rounds": len(each)} for name, each in taken.items()}


def captured(steps: list[Step]) -> Any:
    """A CUDA graph of ``steps``; what they return may be overwritten by the next."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for step in steps[:3]:
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for step in steps:
            step()
    return graph


def bytes_moved(case: Case, dtype: str) -> int:
    """Logits read in forward and backward, gradients written; a linear loss reads them once."""
    passes = 2 if case.phi == "linear" else 3
    return passes * case.sides * case.size * DTYPES[dtype].itemsize


def copy_bandwidth(device: str) -> float:
    """Bytes per second, read and written, of torch's copy of 1 GiB (of 16 MiB on a CPU)."""
    count = 2**28 if device == "cuda" else 2**22
    source = torch.ones(count, device=device)
    target = torch.empty_like(source)
    times = [timed(lambda: target.copy_(source), device) for _ in range(30)]
    return 2 * 4 * count / summary(times[5:])["median"]


def measure(
    case: Case, dtype: str, options: argparse.Namespace, bandwidth: float
) -> dict[str, Any]:
    on_gpu = options.device == "cuda"
    l2 = torch.cuda.get_device_properties(0).L2_cache_size if on_gpu else 2**20
    one = case.sides * case.size * DTYPES[dtype].itemsize
    sets = max(2, min(MOST_SETS, math.ceil(2 * l2 / one)))
    torch.compiler.reset()  # or the shapes of earlier cases count against Dynamo's limit
    bench = Bench(case, dtype, options.device, sets)
    times = bench.calls(options.each)
    graph_times = bench.graphs(options.each) if on_gpu else {}
    moved = bytes_moved(case, dtype)
    return {
        "player": case.player,
        "game": case.game,
        "dtype": dtype,
        "label": case.label,
        "size": case.size,
        "sets": sets,
        "beyond_l2": sets * one > l2,
        "compiled": bench.compiled,
        "times": times,
        "graph_times": graph_times,
        "bytes": moved,
        "limit": moved / bandwidth,
        "errors": bench.errors,
        "missing": bench.missing,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu_losses.py")
    parser.add_argument("out", type=Path, help="the JSON to write, after every case")
    parser.add_argument("--seconds", type=float, default=240.0, help="begin no case after (240)")
    parser.add_argument("--each", type=float, default=1.0, help="of rounds of one case (1)")
    parser.add_argument(
        "--device", default="cuda", choices=("cuda", "cpu"), help="cpu: a rehearsal"
    )
    parser.add_argument("--backend", default="triton", help="of ganfast (triton)")
    parser.add_argument("--cases", type=int, default=None, help="only the first so many")
    options = parser.parse_args(argv)
    until = time.monotonic() + options.seconds
    kept: dict[str, Any] = {"rows": [], "left_out": []}
    kept["copy_bandwidth"] = copy_bandwidth(options.device)
    for case, dtype in chosen()[: options.cases]:
        name = f"{case.name}-{dtype}"
        if time.monotonic() > until:
            kept["left_out"].append(f"{name}: no time left")
        else:
            print(name, flush=True)
            try:
                with _dispatch.backend(options.backend):
                    kept["rows"].append(measure(case, dtype, options, kept["copy_bandwidth"]))
            except Exception as error:
                kept["left_out"].append(f"{name}: {type(error).__name__}: {error}")
        options.out.write_text(json.dumps(kept, indent=1) + "\n")
    return 0 if kept["rows"] else 1


if __name__ == "__main__":
    sys.exit(main())
