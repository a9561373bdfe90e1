"""Figures as they stand in a table."""

from __future__ import annotations

from collections.abc import Sequence

MARK = "▼"
"""Before a row in which ganfast is slower than a rival."""


def seconds(value: float) -> str:
    """Three digits in us below a millisecond, in ms below a second."""
    unit, scaled = next(
        (unit, value * factor)
        for unit, factor, most in (("us", 1e6, 1e-3), ("ms", 1e3, 1.0), ("s", 1.0, float("inf")))
        if value < most
    )
    digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
    return f"{scaled:.{digits}f} {unit}"


def ratio(found: dict[str, float], *, spread: bool = True) -> str:
    """A speed-up to the digits that it has; with its 20th and 80th percentile where asked for."""

    def short(value: float) -> str:
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"

    middle = f"**{short(found['median'])}x**"
    return f"{middle} ({short(found['p20'])}-{short(found['p80'])})" if spread else middle


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> list[str]:
    """A Markdown table whose first ``words`` columns are words, the others figures."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
