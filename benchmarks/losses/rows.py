"""The rows of a report: one loss on one shape, from the JSON of a run."""

from __future__ import annotations

from typing import Any

from benchmarks.names import COMPILED, GANFAST


class Row:
    """One loss on one shape, as the table and the plot need it."""

    def __init__(self, info: dict[str, Any]) -> None:
        self.player: str = info["player"]
        self.game: str = info["game"]
        self.label: str = info["label"]
        self.size: int = info["size"]
        self.heads: int = info["heads"]
        self.rounds: int = info["rounds"]
        self.times: dict[str, dict[str, float]] = info["times"]
        self.ratios: dict[str, dict[str, float]] = info["ratios"]
        self.limit: float = info["limit"]
        self.errors = {name: max(found.values()) for name, found in info["errors"].items()}
        eager = [name for name in self.times if name not in (COMPILED, GANFAST)]
        self.eager = sorted(eager, key=lambda name: self.times[name]["median"])

    @property
    def fastest(self) -> str:
        return self.eager[0]

    @property
    def speedup(self) -> dict[str, float]:
        """Over the fastest eager form."""
        return self.ratios[self.fastest]

    @property
    def share(self) -> float:
        """Of the bandwidth that a copy reaches."""
        return self.limit / self.times[GANFAST]["median"]

    @property
    def lost_to(self) -> dict[str, float]:
        """Whom ganfast is slower than, and its speed relative to them."""
        rivals = {self.fastest: self.speedup["median"]}
        if COMPILED in self.ratios:
            rivals[COMPILED] = self.ratios[COMPILED]["median"]
        return {name: ratio for name, ratio in rivals.items() if ratio < 1.0}


def rows(kept: dict[str, Any]) -> list[Row]:
    return [Row(one["extra_info"]) for one in kept["benchmarks"] if "times" in one["extra_info"]]
