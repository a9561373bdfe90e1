"""What a wheel must do where nothing but it is installed: `python tests/smoke.py`."""

from pathlib import Path

import torch

import ganfast
import ganfast.functional as GF
from ganfast import linalg, optim

logits = torch.randn(64, requires_grad=True)
with ganfast.backend("cpu"):  # the compiled module, or an error that says why not
    loss = GF.discriminator_loss(logits, -logits, game="hinge")
    loss.backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = optim.RMSprop([weight], lr=0.1, weight_clip=0.5)
    weight.sum().backward()
    optimizer.step()
    assert weight.abs().max() <= 0.5
eye = torch.eye(8, dtype=torch.float64)
mean = torch.zeros(8, dtype=torch.float64)
assert abs(float(linalg.frechet_distance(mean, eye, mean + 1, 4 * eye)) - 16.0) < 1e-9
maps = Path("/proc/self/maps")
if maps.exists():  # a second OpenMP runtime in the process would bring a second set of threads
    runtimes = {line.split()[-1] for line in maps.read_text().splitlines() if "libgomp" in line}
    assert len(runtimes) <= 1, f"several OpenMP runtimes: {sorted(runtimes)}"
print("ganfast", ganfast.__version__, "works")
