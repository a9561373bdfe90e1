"""What test_races.py runs under ThreadSanitizer: each thread of a block is a thread of the host.

python threads_run.py [linalg,N... | optim | probe,KERNEL]...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cuda_host
import numpy as np
import torch

from ganfast.backends.cuda import linalg, optim

# Here everything takes several times as long: g++, which inherits the library, and an import of
# torch._dynamo, which torch's decorator of this method begins with.
os.environ.pop("LD_PRELOAD", None)
torch.optim.Optimizer.add_param_group = torch.optim.Optimizer.add_param_group.__wrapped__

cuda_host.threads = True


def run_linalg(n: int) -> None:
    # Near the identity, so that few sweeps do; two matrices where warps of one block take them.
    source = torch.Generator().manual_seed(n)
    x = 0.1 * torch.randn(2 if n <= 32 else 1, 2, n, n, generator=source, dtype=torch.float64)
    a, b = (each.mT @ each for each in (torch.eye(n, dtype=x.dtype) + x).unbind(1))
    roots, definite = linalg.batch_sqrtm(a, 1e-5)
    assert definite.all()
    torch.testing.assert_close(roots @ roots, a, rtol=0, atol=1e-12 * float(a.abs().max()))
    traces, definite = linalg.batch_trace_sqrtm(a, b, 1e-5, 1e-5)
    exact = torch.linalg.eigvals(a @ b).real.clamp_min(0).sqrt().sum(-1)
    assert definite.all()
    torch.testing.assert_close(traces, exact, rtol=1e-9, atol=0)


def run_optim() -> None:
    from ganfast.optim import Adam

    p = torch.nn.Parameter(torch.linspace(-2, 2, 1501))
    optimizer = Adam([p], lr=0.1, weight_clip=1.0)
    p.grad = torch.ones_like(p)
    optimizer._create_state()
    optim.adam(optimizer)
    assert p.abs().max() <= 1
    assert optim.clip_weights_([p.data], 0.5, True) > 0


def run_probe(kernel: str) -> None:
    probe = cuda_host.build(Path(__file__).with_name("host_probe.cu").read_text())
    x, y = torch.arange(64.0, dtype=torch.float64), torch.zeros(64, dtype=torch.float64)
    cuda_host.launch(probe, kernel, 1, 64, x, y, np.int32(64), shared=512)


with cuda_host.gpu():
    for asked in sys.argv[1:]:
        kind, *given = asked.split(",")
        if kind == "linalg":
            for n in map(int, given):
                run_linalg(n)
        elif kind == "optim":
            run_optim()
        else:
            run_probe(given[0])
        print(asked, flush=True)
