"""The games: one row each, and the few scalar functions that all of them are made of.

Every game of :data:`GAMES` is a mean of scalar functions of single logits: one of D(x) and one of
D(G(z)) for the discriminator, one of D(G(z)) for the generator; those of :data:`RELATIVISTIC` are
functions of the difference of a real logit and a fake one. All of them are members of a few
families ``phi(x, t)`` of a logit ``x`` and a target ``t`` (1 for "real", 0 for "fake"), so a kernel
that knows the families serves every game, and a soft, noisy or flipped label is nothing but another
``t``.

To add a game: a row in :data:`GAMES`, and its line in the table of docs/losses.md. If it needs a
new family: a row in :data:`PHIS`, its value and slope in ``reference/losses.py`` (listed in ``PHI``
there), ``csrc/gan_math.h`` (in ``GAN_PHIS``) and ``backends/triton/kernels/phi.py``. Docstrings,
tests and benchmarks are made from these tables, and the formulas below (``^`` is a power) are what
the tests take for the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ganfast._checks import one_of, suggestion
from ganfast.errors import InputError

Reduction = Literal["mean", "sum", "none"]

REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")


@dataclass(frozen=True)
class Phi:
    """A family of scalar functions phi(x, t); ``id`` is its number in every kernel.

    ``formula`` is text that :func:`evaluate` understands, in terms of x, t, exp, softplus and max.
    """

    name: str
    id: int
    formula: str


PHIS: dict[str, Phi] = {
    phi.name: phi
    for phi in (
        Phi("cross_entropy", 0, "softplus(x) - t*x"),
        Phi("negative_cross_entropy", 1, "-(softplus(x) - t*x)"),
        Phi("linear", 2, "(1 - 2*t)*x"),
        Phi("hinge", 3, "max(0, 1 + (1 - 2*t)*x)"),
        Phi("half_square", 4, "(x - t)^2 / 2"),
        Phi("negative_exponential", 5, "-exp(x)"),
    )
}

REAL, FAKE = 1.0, 0.0


@dataclass(frozen=True)
class Game:
    """One game: which phi each player minimises, and where it was published.

    ``discriminator`` is applied with t = 1 to D(x) and with t = 0 to D(G(z)); ``generator`` with
    t = ``generator_target`` to D(G(z)). ``soft_labels`` says whether targets other than 0 and 1
    mean anything in this game. ``f_real``, ``f_fake`` and ``f_gen`` are what that comes to, in
    terms of x and, after an equals sign, of D = sigmoid(x).
    """

    name: str
    aliases: tuple[str, ...]
    discriminator: str
    generator: str
    generator_target: float
    soft_labels: bool
    f_real: str
    f_fake: str
    f_gen: str
    paper: str
    elsewhere: tuple[str, ...] = ()
    """What other projects call it, for :func:`find` alone."""
    compares: Literal["", "pairs", "means"] = ""
    """What a logit is compared with before phi: nothing, the other side's logit at its own place,
    or the mean of the other side. The formulas call the other side's y."""

    @property
    def title(self) -> str:
        """The name with its aliases: "minimax (mm)"."""
        return self.name + (f" ({', '.join(self.aliases)})" if self.aliases else "")


_ROWS = (
    Game(
        "minimax", ("mm",), "cross_entropy", "negative_cross_entropy", FAKE, True,
        "softplus(-x) = -log(D)", "softplus(x) = -log(1 - D)", "-softplus(x) = log(1 - D)",
        "Goodfellow et al. 2014, Generative Adversarial Networks, arXiv:1406.2661, eq. 1",
    ),
    Game(
        "nonsaturating", ("ns",), "cross_entropy", "cross_entropy", REAL, True,
        "softplus(-x) = -log(D)", "softplus(x) = -log(1 - D)", "softplus(-x) = -log(D)",
        "Goodfellow et al. 2014, Generative Adversarial Networks, arXiv:1406.2661, section 3",
        ("vanilla", "logistic", "wgan_softplus"),
    ),
    Game(
        "wasserstein", ("wgan",), "linear", "linear", REAL, False,
        "-x", "x", "-x",
        "Arjovsky, Chintala, Bottou 2017, Wasserstein GAN, arXiv:1701.07875, eq. 2",
        ("wgangp", "wgan-gp", "wgan_gp"),
    ),
    Game(
        "hinge", (), "hinge", "linear", REAL, False,
        "max(0, 1 - x)", "max(0, 1 + x)", "-x",
        "Lim, Ye 2017, Geometric GAN, arXiv:1705.02894, eq. 9-10",
    ),
    Game(
        "least_squares", ("lsgan",), "half_square", "half_square", REAL, True,
        "(x - 1)^2 / 2", "x^2 / 2", "(x - 1)^2 / 2",
        "Mao et al. 2017, Least Squares GAN, arXiv:1611.04076, eq. 9",
        ("least_square",),
    ),
    Game(
        "maximum_likelihood", ("ml",), "cross_entropy", "negative_exponential", REAL, True,
        "softplus(-x) = -log(D)", "softplus(x) = -log(1 - D)", "-exp(x) = -D/(1 - D)",
        "Goodfellow 2016, NIPS tutorial on GANs, arXiv:1701.00160, section 3.2.4",
    ),
)  # fmt: skip

GAMES: dict[str, Game] = {row.name: row for row in _ROWS}
"""The rows by canonical name, in the order in which they are documented."""

_RELATIVISTIC = (
    Game(
        "relativistic", ("rpgan",), "cross_entropy", "cross_entropy", REAL, False,
        "softplus(y - x), one for a pair", "", "softplus(y - x), one for a pair",
        "Jolicoeur-Martineau 2018, The relativistic discriminator, arXiv:1807.00734, eq. 7-8; "
        "Huang et al. 2025, The GAN is dead; long live the GAN! (R3GAN), arXiv:2501.05441, eq. 2",
        ("r3gan", "rsgan"), "pairs",
    ),
    Game(
        "relativistic_average", ("ragan",), "cross_entropy", "cross_entropy", REAL, False,
        "softplus(mean(y) - x)", "softplus(x - mean(y))", "softplus(mean(y) - x)",
        "Jolicoeur-Martineau 2018, The relativistic discriminator, arXiv:1807.00734, eq. 9-12",
        ("rasgan",), "means",
    ),
)  # fmt: skip

RELATIVISTIC: dict[str, Game] = {row.name: row for row in _RELATIVISTIC}
"""The games whose losses look at both sides at once, the generator's too. They stand apart because
nothing that is said of one side alone holds for them: soft labels, sides of different sizes,
conventions."""

_BY_ANY_NAME = {
    name: row
    for row in (*_ROWS, *_RELATIVISTIC)
    for name in (row.name, *row.aliases, *row.elsewhere)
}


def find(name: str) -> Game:
    """The row called ``name``, in any case: canonical, alias, or another project's name for it.

    The scale is ours: CycleGAN's "lsgan" is twice our least_squares (see :data:`CONVENTIONS`).
    InputError lists the games.
    """
    try:
        return _BY_ANY_NAME[name if name in _BY_ANY_NAME else name.lower()]
    except (KeyError, TypeError, AttributeError):
        names = ", ".join(row.title for row in (*_ROWS, *_RELATIVISTIC))
        near = suggestion(name, _BY_ANY_NAME)
        raise InputError(f"game: got {name!r}; give one of {names}{near}") from None


@dataclass(frozen=True)
class Convention:
    """What another project's name for a loss means, in terms of :data:`GAMES`.

    ``discriminator`` and ``generator`` are the games that give the two losses, each times its
    factor. ``fakes_high`` says that D scores fakes high and real data low, the reverse of ours.
    """

    discriminator: str
    generator: str
    discriminator_factor: float = 1.0
    generator_factor: float = 1.0
    fakes_high: bool = False


def _as(game: str, factor: float = 1.0, **other: Any) -> Convention:
    return Convention(game, game, factor, factor, **other)


_PIX2PIX = {
    "vanilla": _as("nonsaturating"),
    "lsgan": _as("least_squares", 2.0),
    "wgangp": _as("wasserstein"),
}
_LUCIDRAINS = {"hinge": _as("hinge", fakes_high=True)}
_OURS = {name: _as(name) for name in (*GAMES, *RELATIVISTIC)}

CONVENTIONS: dict[str, dict[str, Convention]] = {
    "pix2pix": _PIX2PIX,
    "cyclegan": _PIX2PIX,
    "basicsr": {
        "vanilla": _as("nonsaturating"),
        "lsgan": _as("least_squares", 2.0),
        "wgan": _as("wasserstein"),
        "wgan_softplus": _as("nonsaturating"),
        "hinge": _as("hinge"),
    },
    "studiogan": {
        "vanilla": _as("nonsaturating"),
        "logistic": _as("nonsaturating"),
        "least_square": _as("least_squares"),
        "hinge": _as("hinge"),
        "wasserstein": _as("wasserstein"),
    },
    "vqgan": {
        "hinge": Convention("hinge", "wasserstein", discriminator_factor=0.5),
        "vanilla": Convention("nonsaturating", "wasserstein", discriminator_factor=0.5),
    },
    "wassersteingan": {"wgan": _as("wasserstein", fakes_high=True)},
    "lightweight-gan": _LUCIDRAINS,
    "stylegan2-pytorch": _LUCIDRAINS,
}
"""The names of other projects' losses by project, for ``GANLoss(name, convention=project)``; each
is held against that project's formula by tests/compat/test_migration.py."""


def translate(name: str, convention: str | None) -> Convention:
    """What ``name`` means in a project of :data:`CONVENTIONS`; one of our own names if it is None.

    Raises:
        InputError: an unknown convention, or a name that it does not have.
    """
    if convention is None:
        return _OURS[find(name).name]
    names = CONVENTIONS[one_of("convention", convention, CONVENTIONS)]
    return names[one_of(f"game of {convention}", name, names)]


def evaluate(formula: str, functions: Mapping[str, Any], **variables: Any) -> Any:
    """A formula of the tables, with ``functions`` (exp, softplus, max, ...) of any arithmetic."""
    python = formula.split(" = ")[0].replace("^", "**")
    return eval(python, {"__builtins__": {}, **functions}, variables)


def table(*columns: str) -> str:
    """The games as the rows of a table in a docstring.

    Args:
        columns: fields of :class:`Game`, of which each row has those behind its title.
    """
    heads = {"f_real": "f_real(x)", "f_fake": "f_fake(x)", "f_gen": "f_gen(x)"}
    rows = [["game", *(heads.get(column, column) for column in columns)]]
    rows += [[row.title, *(_cell(row, column) for column in columns)] for row in _ROWS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    rule = "  ".join("=" * width for width in widths)
    return "\n    ".join([rule, lines[0], rule, *lines[1:], rule])


def _cell(row: Game, column: str) -> str:
    text: str = getattr(row, column)
    return text.partition("arXiv:")[2].partition(",")[0] if column == "paper" else text


@dataclass(frozen=True, eq=False)
class LossSpec:
    """What a backend must know of one loss, apart from the logits: the same for every call like it.

    The loss is a weighted sum over tensors of logits. For a discriminator with H heads they are
    real_1..real_H, fake_1..fake_H; for a generator fake_1..fake_H. Tensor j has target
    ``targets[j]`` and weight 1 / (H * its count) for "mean", 1 / H for "sum"; with "none" nothing
    is summed.

    ``compares`` is the game's. With "pairs" there are H targets, and phi is taken of tensor j minus
    tensor j + H; with "means" the tensors come with the means subtracted. With ``statistics`` the
    kernel also gives those of a discriminator's logits.

    ``memo`` is for backends: what they make of the spec lives and dies with it.
    """

    phi: Phi
    targets: tuple[float, ...]
    heads: int
    reduction: Reduction
    label_flip: float = 0.0
    label_noise: float = 0.0
    compares: str = ""
    statistics: bool = False
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    noisy: bool = field(init=False)
    """Whether each element draws a target of its own."""
    paired: bool = field(init=False)
    mean_score: bool = field(init=False)
    """Whether the loss is -E[D(x)], E[D(G(z))] or their sum: two or three operations of torch."""

    def __post_init__(self) -> None:
        noisy = self.label_flip > 0.0 or self.label_noise > 0.0
        sides = self.targets in ((REAL,), (FAKE,), (REAL, FAKE))
        plain = sides and self.reduction == "mean" and self.heads == 1 and not noisy
        plain = plain and not (self.compares or self.statistics)
        object.__setattr__(self, "noisy", noisy)
        object.__setattr__(self, "paired", self.compares == "pairs")
        object.__setattr__(self, "mean_score", self.phi.name == "linear" and plain)
