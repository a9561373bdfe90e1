"""The picture of README.md, from the committed results: `python -m benchmarks.front_page`."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

from benchmarks.rows import rows

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parent / "docs" / "images" / "speed.svg"
MACHINE = "amd-epyc-2threads"
BARS = {
    "losses": {
        "discriminator-nonsaturating-64-float32": "loss of 64 logits",
        "generator-wasserstein-64-float32": "the shortest loss, -D(G(z)).mean() of 64",
        "discriminator-nonsaturating-3-heads-float32": "loss of 3 PatchGAN heads",
        "discriminator-hinge-65536-float32": "hinge loss, 65,536 logits",
        "discriminator-hinge-1000000-float32": "hinge loss, 1 M logits",
    },
    "penalty": {
        "interpolate-64x3x64x64-contiguous": "interpolation, 64 x 3 x 64 x 64",
        "penalty-64x3x64x64-contiguous": "penalty of a gradient, 64 x 3 x 64 x 64",
    },
    "optim": {
        "rmsprop-clip-mlp": "RMSprop + clip, MLP",
        "rmsprop-clip-dcgan-64x64": "RMSprop + clip, DCGAN 64",
        "adam-dcgan-64x64": "Adam, DCGAN 64",
        "clip-alone-dcgan-64x64": "the clip alone, DCGAN 64",
    },
    "steps": {
        "wgan-gp-dcgan-32x32-float32": "whole WGAN-GP critic step, DCGAN 32",
        "wgan-gp-dcgan-32x32-bfloat16-autocast-channels_last": "the same in bfloat16",
    },
}
"""Of each suite: its groups that are drawn. What loses is drawn too."""


def speedups() -> dict[str, tuple[float, str]]:
    """Of each bar: how much faster than the fastest rival, and who that is."""
    found = {}
    for suite, bars in BARS.items():
        kept = json.loads((HERE / "results" / f"{suite}-{MACHINE}.json").read_text("utf-8"))
        for group, label in bars.items():
            (row,) = rows(
                {"benchmarks": [entry for entry in kept["benchmarks"] if entry["group"] == group]}
            )
            rival = min(row.ratios, key=lambda name: row.ratios[name]["median"])
            found[label] = (row.ratios[rival]["median"], rival)
    return found


def svg() -> str:
    """The same text for the same results."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    found = speedups()
    with rc_context({"svg.hashsalt": "ganfast", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8.2, 3.9), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        values = [value for value, _ in found.values()]
        colors = ["#2f6fb7" if value >= 1 else "#c05a3c" for value in values]
        axes.barh(range(len(values)), [value - 1 for value in values], left=1, color=colors)
        axes.axvline(1, color="0.3", linewidth=1)
        for y, (value, rival) in enumerate(found.values()):
            said = f"{value:.2f}x  {rival}"
            axes.text(max(value, 1) + 0.04, y, said, va="center", fontsize=8, color="0.25")
        axes.set_yticks(range(len(found)), list(found))
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlim(0.7, max(values) * 1.25)
        axes.set_xlabel(
            "times as fast as the fastest rival (named): median, 2 cores of an AMD EPYC"
        )
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+$", "", out.getvalue(), flags=re.MULTILINE)


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
    print(f"wrote {PICTURE}")
