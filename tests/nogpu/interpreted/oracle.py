"""What the kernels are compared with: the reference, in float64 and in the kernel's own dtype.

The rule is error(kernel) <= 2 * error(torch, same dtype) + TINY[dtype] * size, an error being the
largest over a tensor. The size of a sum is that of all its terms without their signs, and a slope
sigmoid(x) - t is a difference of numbers up to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganfast import reference
from ganfast.backends.triton import losses as backend
from ganfast.backends.triton.launch import INTERPRETED
from ganfast.games import PHIS, LossSpec

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

DEVICE = "cpu" if INTERPRETED else "cuda"
"""Where the kernels run: tests/gpu runs the same tests on the hardware."""

TINY = {
    torch.float64: 1e-15,  # the oracle is no better itself; 4.5 units in the last place
    # One rounding of the result more than torch, which may be exact by luck. The hardware's 2^x and
    # its division are wrong by up to two units each, where the interpreter's are exact.
    torch.float32: 1.5e-7 if INTERPRETED else 6e-7,
    torch.float16: 1e-6,  # float32 inside and one rounding, as in torch
    # The interpreter truncates where the GPU rounds to bfloat16, so up to a whole unit. What is
    # inside is proven by the tests that ask for a float32 result of bfloat16 logits.
    torch.bfloat16: 8e-3 if INTERPRETED else 1e-6,
}


@dataclass
class Case:
    """One call of a backend."""

    logits: tuple[Tensor, ...]
    spec: object
    key: object
    dtype: torch.dtype

    def wide(self) -> Case:
        return replace(self, logits=tuple(x.double() for x in self.logits), dtype=torch.float64)

    def gradient_sizes(self, grad_outputs) -> tuple[Tensor, ...]:
        """weight * |grad_output|, the size of a gradient whose slope is 1."""
        plain = LossSpec(
            PHIS["linear"],
            (0.0,) * len(self.spec.targets),
            self.spec.heads,
            self.spec.reduction,
            compares=self.spec.compares,
        )
        case = replace(self.wide(), spec=plain, key=None)
        return tuple(g.abs() for g in run(reference.losses, case, grad_outputs)[1])

    def sizes(self) -> tuple[Tensor, ...]:
        """The size of the loss: of a sum, that of all its terms."""
        wide = self.wide()
        each = replace(wide.spec, reduction="none")
        terms = reference.losses.adversarial_loss(wide.logits, each, self.key, torch.float64)
        if self.spec.reduction == "none":
            return tuple(term.abs().nan_to_num(0, 0, 0) for term in terms)
        weights = [reference.losses.weight(x, self.spec) if x.numel() else 0.0 for x in terms]
        return (sum(w * term.abs().sum() for w, term in zip(weights, terms, strict=True)),)


def run(module, case: Case, grad_outputs=None, needed=None):
    """(values, gradients) by ``module``, each a tuple."""
    values = module.adversarial_loss(case.logits, case.spec, case.key, case.dtype)
    values = values if isinstance(values, tuple) else (values,)
    if grad_outputs is None:
        return values, ()
    if needed is None:
        needed = (True,) * len(case.logits)
    gradients = module.adversarial_loss_gradient(
        grad_outputs, case.logits, case.spec, case.key, needed
    )
    return values, gradients


def check(case: Case, grad_outputs=None) -> None:
    """The rule above, for values and gradients."""
    ours = run(backend, case, grad_outputs)
    torchs = run(reference.losses, case, grad_outputs)
    wide_grads = None if grad_outputs is None else tuple(g.double() for g in grad_outputs)
    oracles = run(reference.losses, case.wide(), wide_grads)
    for got, torch_got, oracle, size in zip(
        ours[0], torchs[0], oracles[0], case.sizes(), strict=True
    ):
        assert got.dtype == case.dtype and got.shape == oracle.shape
        compare(got, torch_got, oracle, size, "value")
    if grad_outputs is None:
        return
    sizes = case.gradient_sizes(wide_grads)
    for x, got, torch_got, oracle, size in zip(
        case.logits, *(r[1] for r in (ours, torchs, oracles)), sizes, strict=True
    ):
        assert got.dtype == x.dtype and got.shape == x.shape
        compare(got, torch_got, oracle, oracle.abs() + size, "gradient")


def compare(got: Tensor, torch_got: Tensor, oracle: Tensor, size: Tensor, what: str) -> None:
    if oracle.numel() == 0:
        return
    rounded = oracle.to(got.dtype).double()
    special = ~rounded.isfinite()
    assert torch.equal(got[special].isnan(), rounded[special].isnan()), what
    assert torch.equal(got[special].nan_to_num(), rounded[special].to(got.dtype).nan_to_num()), what
    finite = ~special
    if not finite.any():
        return
    assert got[finite].isfinite().all(), what
    error = (got.double() - oracle)[finite].abs().max()
    torch_error = (torch_got.double() - oracle)[finite].abs().max()
    bound = 2 * torch_error + TINY[got.dtype] * size.expand(oracle.shape)[finite].max() + 1e-37
    assert error <= bound, (
        f"{what}: error {error:.3e}, torch's {torch_error:.3e}, bound {bound:.3e}"
    )
