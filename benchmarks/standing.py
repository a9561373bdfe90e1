"""The outcome of one contest, as tables and plots need it."""

from __future__ import annotations

from typing import Any

from benchmarks.names import GANFAST


class Standing:
    def __init__(self, info: dict[str, Any]) -> None:
        self.section: str = info["section"]
        self.label: str = info["label"]
        self.times: dict[str, dict[str, float]] = info["times"]
        self.played: dict[str, int] = info["played"]
        self.ratios: dict[str, dict[str, float]] = info["ratios"]
        self.errors: dict[str, float] = info["errors"]
        self.memory: dict[str, float] = info.get("memory", {})
        self.shares: dict[str, dict[str, float]] = info.get("shares", {})
        self.missing: dict[str, str] = info["missing"]
        self.limit: float = info["limit"]

    @property
    def rivals(self) -> list[str]:
        """Everyone who was timed but ganfast."""
        return [name for name in self.times if name != GANFAST]

    @property
    def share(self) -> float:
        """Of what the machine allows."""
        return self.limit / self.times[GANFAST]["median"]

    @property
    def lost_to(self) -> dict[str, float]:
        """Whom ganfast is slower than, and its speed relative to them."""
        medians = {name: self.ratios[name]["median"] for name in self.rivals}
        return {name: ratio for name, ratio in medians.items() if ratio < 1.0}


def standings(kept: dict[str, Any]) -> list[Standing]:
    found = (one["extra_info"] for one in kept["benchmarks"])
    return [Standing(info) for info in found if "times" in info]
