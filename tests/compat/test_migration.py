"""docs/migration.md: every line of it against the formula of the project that it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganfast import GANLoss
from ganfast.functional import discriminator_loss, generator_loss, gradient_penalty
from ganfast.games import CONVENTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()
Loss = Callable[..., Tensor]


def rows() -> dict[tuple[str, str], list[str]]:
    """The tables of the page: (section, name there) to the code in the other columns."""
    found: dict[tuple[str, str], list[str]] = {}
    for section in PAGE.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        for line in body.splitlines():
            if line.startswith("|") and not line.startswith(("| there", "|---")):
                there, *cells = (cell.strip() for cell in line.strip("|").split("|"))
                code = [cell.strip("`") for cell in cells]
                names = [there] if title == PENALTIES else re.findall("`([^`]+)`", there)
                found |= {(title, name): code for name in names}
    return found


# ---- what the projects compute, from the definitions -------------------------------------

PENALTIES = "Gradient penalties"
PIX2PIX = "pytorch-CycleGAN-and-pix2pix"
LOSS_WEIGHT = 0.1


def bce(x: Tensor, target: float) -> Tensor:
    """nn.BCELoss on nn.Sigmoid."""
    return F.binary_cross_entropy(x.sigmoid(), torch.full_like(x, target))


def bce_logits(x: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(x, torch.full_like(x, target))


def mse(x: Tensor, target: float) -> Tensor:
    return F.mse_loss(x, torch.full_like(x, target))


def signed_mean(x: Tensor, target: float) -> Tensor:
    return -x.mean() if target else x.mean()


def softplus(x: Tensor, target: float) -> Tensor:
    return F.softplus(-x if target else x).mean()


def margin(x: Tensor, target: float) -> Tensor:
    return F.relu(1 - x if target else 1 + x).mean()


def criterion(of: Loss, d: float = 1.0, g: float = 1.0, generator: Loss | None = None):
    """D and G of a criterion with a target: D's factor on both sides, and G's."""
    return (
        lambda real, fake: d * (of(real, 1.0) + of(fake, 0.0)),
        lambda fake: g * (generator or of)(fake, 1.0),
    )


def summed(losses: tuple[Loss, Loss]) -> tuple[Loss, Loss]:
    """Over the heads."""
    d, g = losses
    return (
        lambda real, fake: sum(d(r, f) for r, f in zip(real, fake, strict=True)),
        lambda fake: sum(map(g, fake)),
    )


FAKES_HIGH = (
    lambda real, fake: (F.relu(1 + real) + F.relu(1 - fake)).mean(),
    lambda fake: fake.mean(),
)
BASICSR = {"vanilla": bce_logits, "lsgan": mse, "wgan": signed_mean, "wgan_softplus": softplus}
LOSSES: dict[tuple[str, str], tuple[Loss, Loss]] = {
    (PIX2PIX, "vanilla"): criterion(bce_logits, d=0.5),
    (PIX2PIX, "lsgan"): criterion(mse, d=0.5),
    (PIX2PIX, "wgangp"): criterion(signed_mean, d=0.5),
    **{("BasicSR", name): criterion(of, g=LOSS_WEIGHT) for name, of in BASICSR.items()},
    ("BasicSR", "hinge"): criterion(margin, g=LOSS_WEIGHT, generator=signed_mean),
    ("PyTorch-StudioGAN", "vanilla"): criterion(softplus),
    ("PyTorch-StudioGAN", "logistic"): criterion(softplus),
    ("PyTorch-StudioGAN", "least_square"): (
        lambda real, fake: (0.5 * (real - 1) ** 2 + 0.5 * fake**2).mean(),
        lambda fake: (0.5 * (fake - 1) ** 2).mean(),
    ),
    ("PyTorch-StudioGAN", "hinge"): criterion(margin, generator=signed_mean),
    ("PyTorch-StudioGAN", "wasserstein"): (
        lambda real, fake: (fake - real).mean(),
        lambda fake: -fake.mean(),
    ),
    ("VQGAN (taming-transformers, latent-diffusion)", "hinge"): criterion(
        margin, d=0.5, generator=signed_mean
    ),
    ("VQGAN (taming-transformers, latent-diffusion)", "vanilla"): criterion(
        softplus, d=0.5, generator=signed_mean
    ),
    ("WassersteinGAN", "wgan"): (
        lambda real, fake: real.mean() - fake.mean(),
        lambda fake: fake.mean(),
    ),
    ("lightweight-gan", "hinge"): summed(FAKES_HIGH),
    ("stylegan2-pytorch", "hinge"): FAKES_HIGH,
    ("PyTorch-GAN", "gan"): criterion(bce, d=0.5),
    ("PyTorch-GAN", "dcgan"): criterion(bce, d=0.5),
    ("PyTorch-GAN", "lsgan"): criterion(mse, d=0.5),
    ("PyTorch-GAN", "wgan"): criterion(signed_mean),
    ("PyTorch-GAN", "wgan_gp"): criterion(signed_mean),
    ("DCGAN tutorial of PyTorch", "BCELoss"): criterion(bce),
    ("BigGAN-PyTorch", "hinge"): criterion(margin, generator=signed_mean),
    ("BigGAN-PyTorch", "dcgan"): criterion(softplus),
    ("stylegan2-ada, stylegan3", "softplus"): criterion(softplus),
    ("HiFi-GAN", "lsgan"): summed(criterion(mse)),
    ("R3GAN", "AdversarialLoss.mean()"): (
        lambda real, fake: F.softplus(-(real - fake)).mean(),
        lambda fake, real: F.softplus(-(fake - real)).mean(),
    ),
}

# What these projects apply outside the criterion, which GANLoss therefore leaves to the caller.
KEPT_FACTORS = {PIX2PIX: (0.5, 1.0), "BasicSR": (1.0, LOSS_WEIGHT)}

NUMBERS = {"lambda_gp": 7.0, "r1_gamma": 6.0, "gp_weight": 9.0, "Gamma": 3.0}


def norms(critic: Loss, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1).norm(dim=1)


def wgan_gp(weight: float) -> Loss:
    """At real / 2 + fake / 2: any point between will do for the critic that it is tested with."""
    return lambda c, real, fake: weight * ((norms(c, (real + fake) / 2) - 1) ** 2).mean()


def r1(weight: float) -> Loss:
    return lambda c, real, fake: weight * (norms(c, real) ** 2).mean()


def of_joined(weight: float) -> Loss:
    return lambda c, real, fake: weight * (norms(c, torch.cat([real, fake])) ** 2).mean()


PENALTY_OF = {
    "pix2pix `cal_gradient_penalty(...)[0]`": wgan_gp(NUMBERS["lambda_gp"]),
    "StudioGAN `cal_grad_penalty`": wgan_gp(1.0),
    "PyTorch-GAN `compute_gradient_penalty`": wgan_gp(1.0),
    "StudioGAN `cal_r1_reg`": r1(0.5),
    "BasicSR `r1_penalty`": r1(1.0),
    "stylegan2-ada, stylegan3 `r1_penalty * (r1_gamma / 2)`": r1(NUMBERS["r1_gamma"] / 2),
    "stylegan2-pytorch `gradient_penalty`, of both": lambda c, real, fake: (
        10 * (norms(c, real) ** 2).mean() + 10 * (norms(c, fake) ** 2).mean()
    ),
    "R3GAN `(Gamma / 2) * (R1Penalty + R2Penalty)`": lambda c, real, fake: (
        r1(NUMBERS["Gamma"] / 2)(c, real, None) + r1(NUMBERS["Gamma"] / 2)(c, fake, None)
    ),
    "lightweight-gan `gp`": of_joined(NUMBERS["gp_weight"]),
}


# ---- the page against them ---------------------------------------------------------------


def evaluated(code: str, **names: Any) -> Any:
    ours = {
        "discriminator_loss": discriminator_loss,
        "generator_loss": generator_loss,
        "gradient_penalty": gradient_penalty,
        "GANLoss": GANLoss,
        "loss_weight": LOSS_WEIGHT,
    }
    return eval(code, ours | NUMBERS, names)


def scores(project: str, heads: bool = True) -> tuple[Any, Any]:
    """D's scores in float64, on both sides of every kink; lists where the project has heads."""
    many = heads and project in ("lightweight-gan", "HiFi-GAN")

    def side() -> Any:
        made = [2 * torch.randn(n, 1, dtype=torch.float64) for n in (17, 40)[: 1 + many]]
        made = [x.requires_grad_() for x in made]
        return made if many else made[0]

    return side(), side()


def assert_same(ours: Tensor, theirs: Tensor, *leaves: Any) -> None:
    flat = [x for leaf in leaves for x in (leaf if isinstance(leaf, list) else [leaf])]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    got, wanted = (torch.autograd.grad(loss, flat) for loss in (ours, theirs))
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-14)


ROWS = rows()
OF_LOSSES = {key: cells for key, cells in ROWS.items() if key[0] != PENALTIES}


def test_the_page_and_the_formulas_are_the_same_list():
    assert set(OF_LOSSES) == set(LOSSES)
    assert {name for title, name in ROWS if title == PENALTIES} == set(PENALTY_OF)


@pytest.mark.parametrize("row", OF_LOSSES, ids=" ".join)
def test_the_losses_are_theirs(row):
    d_code, g_code, _ = OF_LOSSES[row]
    d, g = LOSSES[row]
    real, fake = scores(row[0])
    assert_same(evaluated(d_code, real=real, fake=fake), d(real, fake), real, fake)
    theirs = g(fake, real) if "real=real" in g_code else g(fake)
    assert_same(evaluated(g_code, real=real, fake=fake), theirs, fake)


WITH_CRITERION = {row: cells[2] for row, cells in OF_LOSSES.items() if cells[2]}


@pytest.mark.parametrize("row", WITH_CRITERION, ids=" ".join)
def test_the_criterion_is_theirs(row):
    ours = evaluated(WITH_CRITERION[row])
    d, g = LOSSES[row]
    d_factor, g_factor = KEPT_FACTORS.get(row[0], (1.0, 1.0))
    real, fake = scores(row[0], heads=False)
    sides = ours(real, True, for_discriminator=True) + ours(fake, False, for_discriminator=True)
    if row[0] == "lightweight-gan":  # one call for each head there
        d, g = FAKES_HIGH
    assert_same(d_factor * sides, d(real, fake), real, fake)
    assert_same(g_factor * ours(fake, True, for_discriminator=False), g(fake), fake)


def test_every_convention_is_on_the_page():
    shown = {tuple(re.findall('"([^"]+)"', code)) for code in WITH_CRITERION.values()}
    known = {(name, project) for project, names in CONVENTIONS.items() for name in names}
    assert known - shown == {(name, "cyclegan") for name in CONVENTIONS["cyclegan"]}
    assert CONVENTIONS["cyclegan"] is CONVENTIONS["pix2pix"]


@pytest.mark.parametrize("name", PENALTY_OF)
def test_the_penalties_are_theirs(name):
    (code,) = ROWS[PENALTIES, name]
    weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)

    def linear(x: Tensor) -> Tensor:  # its gradient is the same at every point between
        return x.flatten(1) @ weight

    def curved(x: Tensor) -> Tensor:
        return linear(x).tanh()

    critic = linear if "at=" not in code else curved
    real, fake = (torch.randn(6, 5, dtype=torch.float64) for _ in "rf")
    ours = evaluated(code, critic=critic, real=real, fake=fake)
    assert_same(ours, PENALTY_OF[name](critic, real, fake), weight)
