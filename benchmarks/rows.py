"""A case that was measured, as tables and plots need it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ganfast.bench.case import GANFAST
from ganfast.bench.timing import in_words

FEW = 3
"""With fewer rounds than this a time says how many there were."""


class Row:
    """One case, as tables and plots need it: the entries of its providers, ganfast last."""

    def __init__(self, entries: Iterable[dict[str, Any]]) -> None:
        found = {entry["extra_info"]["provider"]: entry for entry in entries}
        names = sorted(found, key=lambda name: name == GANFAST)
        self.info: dict[str, dict[str, Any]] = {name: found[name]["extra_info"] for name in names}
        self.stats: dict[str, dict[str, Any]] = {name: found[name]["stats"] for name in names}
        facts = self.info[names[-1]]
        self.section, self.label, self.limit = facts["section"], facts["label"], facts["limit"]

    @property
    def share(self) -> float:
        """Of what the machine allows."""
        return self.limit / self.stats[GANFAST]["median"]

    @property
    def ratios(self) -> dict[str, dict[str, float]]:
        """The speed-up of ganfast over every rival."""
        return {name: info["speedup"] for name, info in self.info.items() if "speedup" in info}

    @property
    def lost_to(self) -> dict[str, float]:
        """Whom ganfast is slower than, and its speed relative to them."""
        medians = {name: ratio["median"] for name, ratio in self.ratios.items()}
        return {name: ratio for name, ratio in medians.items() if ratio < 1.0}

    def cell(self, name: str) -> str:
        """Time, error, and images a second or memory where they were taken."""
        if name not in self.stats:
            return "-"
        seconds = self.stats[name]["median"]
        facts = [in_words(seconds), f"{self.info[name]['error']:.0e}"]
        if "items" in self.info[name]:
            facts.append(f"{self.info[name]['items'] / seconds:,.0f} images/s")
        if "memory" in self.info[name]:
            facts.append(f"{self.info[name]['memory']:.0f} MB")
        few = f" (n={rounds})" if (rounds := self.stats[name]["rounds"]) < FEW else ""
        return " / ".join(facts) + few

    def speedup(self, name: str) -> str:
        """To the digits that it has; with its spread, where there are rounds enough for one."""

        def short(value: float) -> str:
            return (
                f"{value:.0f}"
                if value >= 100
                else f"{value:.1f}"
                if value >= 10
                else f"{value:.2f}"
            )

        if name not in self.ratios:
            return "-"
        ratio = self.ratios[name]
        middle = f"**{short(ratio['median'])}x**"
        if self.stats[name]["rounds"] < FEW:
            return middle
        return f"{middle} ({short(ratio['p20'])}-{short(ratio['p80'])})"


def rows(kept: dict[str, Any]) -> list[Row]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in kept["benchmarks"]:
        groups.setdefault(entry["group"], []).append(entry)
    made = [Row(entries) for entries in groups.values()]
    return [row for row in made if GANFAST in row.stats]
