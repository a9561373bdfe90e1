"""games.PHIS' formulas, in many digits, against gan_math.h and the reference; the tables' texts."""

from __future__ import annotations

import math
import re

import mpmath
import pytest
import torch
import truth
from truth import LOSSES

import ganfast.functional as GF
from ganfast import games, reference
from ganfast._csrc_path import csrc_dir
from ganfast.games import GAMES, PHIS

POINTS = (-1e4, -745.2, -100, -37, -1.5, -1e-9, 0.0, 1e-9, 0.5, 2, 36.7, 100, 700, 1e4)
TARGETS = (0.0, 1.0, 0.9, -0.2, 1.3)
DIGITS = 400  # so that of 1e-300, the least that counts here, more are left than a float64 has
EXACT = {"exp": mpmath.exp, "softplus": lambda x: mpmath.log1p(mpmath.exp(x)), "max": max}


def exact(name, order, x, t):
    """The formula's value or its derivative in x; None at a kink, which has none."""
    with mpmath.workdps(DIGITS):
        t = mpmath.mpf(t)

        def phi(x):
            return games.evaluate(PHIS[name].formula, EXACT, x=x, t=t)

        if order == 0:
            return phi(mpmath.mpf(x))
        left, right = (mpmath.diff(phi, mpmath.mpf(x), direction=side) for side in (-1, 1))
        kink = abs(left - right) > mpmath.mpf(10) ** -50 * max(1, abs(left))
        return None if kink else (left + right) / 2


def close(got, x, t, expected, order):
    # Two roundings of the largest number that the formula can't avoid.
    if abs(expected) > torch.finfo(torch.float64).max:
        return got == math.copysign(math.inf, expected)
    size = max(abs(expected), abs(x) + abs(t) if order else 0 if t in (0, 1) else abs(x))
    if abs(expected) < 1e-300:
        return abs(got) <= max(4e-16 * float(size if order else 0), 1e-300)
    return abs(got - float(expected)) <= 4e-16 * float(size) or got == float(expected)


def check(name, order, function):
    compared = 0
    for t in TARGETS:
        for x, got in zip(POINTS, function(t), strict=True):
            expected = exact(name, order, x, t)
            if expected is not None:
                compared += 1
                assert close(got, x, t, expected, order), (
                    f"{name}, {'slope' if order else 'value'} at x={x}, t={t}: "
                    f"got {got}, not {float(expected)}"
                )
    assert compared >= 0.9 * len(POINTS) * len(TARGETS)


@pytest.mark.skipif("cpu" not in truth.backends(), reason="the C++ kernels were not built")
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", PHIS)
def test_gan_math(name, order):
    from ganfast import _cpu

    check(name, order, lambda t: [_cpu.evaluate(PHIS[name].id, order, x, t) for x in POINTS])


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", PHIS)
def test_reference(name, order):
    points = torch.tensor(POINTS, dtype=torch.float64)
    check(name, order, lambda t: reference.losses.PHI[name][order](points, t).tolist())


def test_every_phi_is_used_and_known():
    used = {row.discriminator for row in GAMES.values()} | {row.generator for row in GAMES.values()}
    assert used == set(PHIS) == set(reference.losses.PHI)
    assert [phi.id for phi in PHIS.values()] == list(range(len(PHIS)))
    text = (csrc_dir() / "gan_math.h").read_text()
    (listed,) = re.findall(r"#define GAN_PHIS\(X\)((?:.*\\\n)*.*\n)", text)
    names = ["".join(word.title() for word in name.split("_")) for name in PHIS]
    assert re.findall(r"X\((\w+)\)", listed) == names


# ---- what the rows of GAMES say about themselves -------------------------------------

TENSORS = {"exp": torch.exp, "log": torch.log, "softplus": torch.nn.functional.softplus}
TENSORS["max"] = lambda a, b: torch.clamp(b, min=a)


def in_both_forms(text, x):
    """A text "formula of x = formula of D", evaluated; its forms must agree."""
    forms = [games.evaluate(form, TENSORS, x=x, D=torch.sigmoid(x)) for form in text.split(" = ")]
    for form in forms[1:]:
        torch.testing.assert_close(form, forms[0])
    return forms[0]


@pytest.mark.parametrize("game", GAMES)
def test_a_game_is_what_its_row_says(game):
    row, real, fake = GAMES[game], torch.randn(50).double(), torch.randn(40).double()
    for alias in (game, *row.aliases, *row.elsewhere, game.upper()):
        loss = GF.discriminator_loss(real, fake, game=alias)
        said = in_both_forms(row.f_real, real).mean() + in_both_forms(row.f_fake, fake).mean()
        torch.testing.assert_close(loss, said, rtol=1e-12, atol=1e-14)
        loss = GF.generator_loss(fake, game=alias)
        said = in_both_forms(row.f_gen, fake).mean()
        torch.testing.assert_close(loss, said, rtol=1e-12, atol=1e-14)


def table_of_games():
    lines = [
        "| game | f_real(x) of D(real) | f_fake(x) of D(fake) | f_gen(x) of D(fake) | paper |",
        "|---|---|---|---|---|",
    ]
    for row in GAMES.values():
        title = ", ".join(f"`{name}`" for name in (row.name, *row.aliases))
        number = re.search(r"arXiv:([\d.]+\d)", row.paper)[1]
        link = f"[{number}](https://arxiv.org/abs/{number})"
        lines.append(f"| {title} | {row.f_real} | {row.f_fake} | {row.f_gen} | {link} |")
    return "\n".join(lines)


def test_the_documentation_is_made_of_the_rows():
    for row in GAMES.values():
        for text in (row.title, row.f_real, row.f_fake):
            assert text in GF.discriminator_loss.__doc__
        assert row.title in GF.generator_loss.__doc__ and row.f_gen in GF.generator_loss.__doc__
    assert "{games}" not in GF.discriminator_loss.__doc__ + GF.generator_loss.__doc__
    page = (csrc_dir().parent / "docs" / "losses.md").read_text(encoding="utf-8")
    assert table_of_games() in page, f"docs/losses.md's table should be\n{table_of_games()}"


def test_every_loss_of_every_game_is_tested():
    assert {name.split()[0] for name in LOSSES} == set(GAMES)
