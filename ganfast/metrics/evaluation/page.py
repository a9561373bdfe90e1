"""The result of an evaluation as one HTML page: no network, no script, light and dark."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from typing import Any

from ganfast._atomic_file import write_atomically
from ganfast.metrics.evaluation.gallery import Grid, Picture

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --soft: #62626b; --line: #dcdce2;
  --paper: #ffffff; --bar: #3b6fb6; --other: #d9822b; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf1; --soft: #a2a2ad; --line: #3a3a42;
  --paper: #17171a; --bar: #7aa7e8; --other: #f0a860; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem; }
h1.by { margin-top: 4rem; padding-top: 1rem; border-top: 2px solid var(--line); }
h3 { font-size: 1rem; font-weight: 500; margin: 1.2rem 0 .4rem; }
p, figcaption, small { color: var(--soft); } p { margin: .2rem 0 .8rem; max-width: 46rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; } th { text-align: left; overflow-wrap: anywhere; }
td, th { padding: .3rem 1.4rem .3rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
td.value { font-variant-numeric: tabular-nums; font-weight: 600; }
small { display: block; font-size: .8rem; line-height: 1.35; font-weight: 400; }
table.bars { width: 100%; max-width: 46rem; } table.bars td { white-space: nowrap; }
table.bars td.bar { width: 100%; padding-right: .6rem; }
.bar div { background: var(--bar); height: .8rem; min-width: 1px; margin-top: .35rem; }
table.facts td:last-child { overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr));
  gap: 1rem .8rem; }
@media (min-width: 45rem) { td.value { white-space: nowrap; } }
figure { margin: 0; } figure img { display: block; width: 100%; aspect-ratio: 1;
  object-fit: contain; background: var(--line); margin-bottom: 2px; }
figcaption { font-size: .75rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: .25rem; }
figcaption b { display: block; font-weight: 500; color: var(--ink); }
svg text { fill: var(--soft); font-size: 12px; } svg { max-width: 100%; }
@media print { body { margin: 0; max-width: none; } figure, tr { break-inside: avoid; } }
"""

_WHAT = {
    "fid": ("FID", "Distance between the two sets, by mean and covariance; 0 is best."),
    "fid_infinity": ("FID-infinity", "What FID tends to with more generated images."),
    "sfid": ("sFID", "The same of features that keep their place in the image."),
    "inception_score_mean": ("Inception Score", "Recognisable and diverse; more is better."),
    "kid_mean": ("KID", "A kernel distance, unbiased; 0 is best."),
    "cmmd": ("CMMD", "A kernel distance of directions, times 1,000; 0 is best."),
    "swd": ("Sliced Wasserstein", "Earth mover's distance over random lines; 0 is best."),
    "prdc_precision": ("Precision", "Share of generated images that look real."),
    "prdc_recall": ("Recall", "Share of real images that the generator can make."),
    "prdc_density": ("Density", "As precision, but counted; about 1 is best."),
    "prdc_coverage": ("Coverage", "Share of real images with a generated one near."),
    "memorised": ("Near copies", "Share of generated images nearer to a real one than that is to "
                  "any other real one."),
    "intra_fid": ("Intra-FID", "The mean of the classes' FIDs."),
}  # fmt: skip
"""What each number is called, and what it tells somebody who sees it for the first time."""

_ERRORS = {
    "fid_infinity": "fid_infinity_error",
    "inception_score_mean": "inception_score_std",
    "kid_mean": "kid_std",
    "cmmd": "cmmd_error",
    "swd": "swd_error",
}


Seen = tuple[dict[str, Any], Sequence[Grid]]
"""What one extractor tells: a result as ``evaluate`` returns it, and the images to look at."""


def write_page(path: str | os.PathLike[str], seen: Sequence[Seen]) -> None:
    """Write the page of what each extractor tells, the first one's first; whole or not at all."""
    text = page(seen)
    # A file's name need not be text.
    write_atomically(path, "report", lambda file: file.write(text.encode("utf-8", "replace")))


def page(seen: Sequence[Seen]) -> str:
    (result, _), *others = seen
    parts = [_numbers([result for result, _ in seen]), *_looked(*seen[0], len(others) > 0)]
    for other in others:
        parts += _looked(*other, True)
    parts.append(_made(result, [other for other, _ in others]))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>FID {result['fid']:.4g}</title><style>{_STYLE}</style></head>\n<body>"
        f"<h1>Generated images against real ones</h1>{''.join(parts)}</body></html>\n"
    )


def _looked(result: dict[str, Any], grids: Sequence[Grid], named: bool) -> list[str]:
    """All but the numbers, of one extractor, under its name where there are several."""
    head = f'\n<h1 class="by">As {escape(str(result["extractor"]))} sees them</h1>'
    return [
        *([head] if named else []),
        _terms(result),
        _by_number(result),
        _classes(result),
        *map(_grid, grids),
    ]


def _section(title: str, what: str, body: str) -> str:
    return f"\n<section><h2>{escape(title)}</h2><p>{escape(what)}</p>{body}</section>"


def _numbers(results: Sequence[dict[str, Any]]) -> str:
    """A row for each number that there is, a column for each extractor."""
    rows = []
    if len(results) > 1:
        names = "".join(f"<th>{escape(str(one['extractor']))}</th>" for one in results)
        rows.append(f"<tr><th></th>{names}</tr>")
    for key, (name, what) in _WHAT.items():
        if all(one.get(key) is None for one in results):
            continue
        expected = results[0].get("memorised_expected") if key == "memorised" else None
        if expected is not None:
            what += f" {expected:.3g} are to be expected."
        values = "".join(f'<td class="value">{_value(one, key)}</td>' for one in results)
        rows.append(f"<tr><td>{name}<small>{escape(what)}</small></td>{values}</tr>")
    what = "In brackets: the 95% interval." if results[0].get("fid_interval") else ""
    return _section("Numbers", what, f'<div class="wide"><table>{"".join(rows)}</table></div>')


def _value(result: dict[str, Any], key: str) -> str:
    value = result.get(key)
    if value is None:
        return "–"
    shown = f"{value:.5g}"
    error = result.get(_ERRORS.get(key, ""))
    if error is not None:
        shown += f" ± {error:.2g}"
    interval = result.get("fid_interval")
    if key == "fid" and interval:
        shown += f" ({interval[0]:.5g} to {interval[1]:.5g})"
    return shown


def _bars(rows: Sequence[tuple[str, float | None, str]]) -> str:
    largest = max((value for _, value, _ in rows if value is not None), default=0.0) or 1.0
    lines = []
    for name, value, more in rows:
        width = 0.0 if value is None else 100 * max(value, 0.0) / largest
        shown = "unknown" if value is None else f"{value:.4g}"
        more = f"<small>{escape(more)}</small>" if more else ""
        lines.append(
            f'<tr><td>{escape(name)}</td><td class="value">{shown}{more}</td><td class="bar">'
            f'<div style="width:{width:.1f}%"></div></td></tr>'
        )
    return f'<table class="bars">{"".join(lines)}</table>'


def _terms(result: dict[str, Any]) -> str:
    return _section(
        "What FID is made of",
        "Means that differ: colours, brightness, what is common. Covariances that differ: variety.",
        _bars([("means", result["mean_term"], ""), ("covariances", result["covariance_term"], "")]),
    )


def _classes(result: dict[str, Any]) -> str:
    by_class = result.get("fid_per_class")
    if not by_class:
        return ""
    prdc = result.get("prdc_per_class") or {}
    rows = []
    for name, fid in sorted(by_class.items(), key=lambda one: -(one[1] or 0.0)):
        of = prdc.get(name)
        more = f"precision {of['precision']:.3g}, recall {of['recall']:.3g}" if of else ""
        rows.append((name, fid, more))
    vanished = ", ".join(result.get("vanished_classes") or ())
    what = f"FID, the worst first. Vanished: {vanished}." if vanished else "FID, the worst first."
    return _section("Classes", what, _bars(rows))


def _by_number(result: dict[str, Any]) -> str:
    """FID against 1/N and the line to infinitely many, as an SVG."""
    points = result.get("fid_by_number")
    if not points:
        return ""
    width, height, left, low = 560, 240, 60, 200
    far = max(1 / count for count, _ in points)
    fids = [fid for _, fid in points] + [result["fid_infinity"]]
    top, bottom = max(fids), min(fids)
    span = (top - bottom) or 1.0

    def place(share: float, fid: float) -> str:
        x = left + (width - left - 20) * share / far
        return f"{x:.1f},{low - (low - 20) * (fid - bottom) / span:.1f}"

    line = " ".join(place(1 / count, fid) for count, fid in points)
    (last, least) = max(points)
    ends = f"{place(0.0, result['fid_infinity'])} {place(1 / last, least)}"
    labels = "".join(
        f'<text x="{place(1 / count, fid).split(",")[0]}" y="{low + 20}" text-anchor="middle">'
        f"{count:,}</text>"
        for count, fid in (min(points), max(points))
    )
    body = (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        'aria-label="FID against the number of generated images">'
        f'<polyline points="{line}" fill="none" stroke="var(--bar)" stroke-width="2"/>'
        f'<polyline points="{ends}" fill="none" stroke="var(--other)" stroke-width="2" '
        f'stroke-dasharray="5 4"/><text x="4" y="24">{top:.4g}</text>'
        f'<text x="4" y="{low}">{bottom:.4g}</text>{labels}</svg>'
    )
    return _section(
        "FID against the number of generated images",
        "Along the axis is 1 / number; at its left end are infinitely many, where the dashed line "
        "leads.",
        body,
    )


def _grid(grid: Grid) -> str:
    body = _pictures(grid.pictures) if grid.pictures else ""
    for sentence, pictures in grid.rows:
        body += f"<h3>{escape(sentence)}</h3>{_pictures(pictures)}"
    return _section(grid.title, grid.what, body)


def _pictures(pictures: Sequence[Picture]) -> str:
    return f'<div class="grid">{"".join(map(_figure, pictures))}</div>'


def _figure(picture: Picture) -> str:
    shown = [one for one in (picture, picture.beside) if one is not None]
    images = "".join(f'<img src="{one.data}" alt="{escape(one.name)}">' for one in shown)
    words = "".join(
        f'<b title="{escape(one.name)}">{escape(_short(one.name))}</b>{escape(one.words)}'
        for one in shown
    )
    return f"<figure>{images}<figcaption>{words}</figcaption></figure>"


def _short(name: str) -> str:
    """The end of a path, which is where names differ."""
    parts = name.split("/")
    return name if len(parts) < 3 else "/".join(parts[-2:])


def _made(result: dict[str, Any], others: Sequence[dict[str, Any]]) -> str:
    facts = [
        ("real images", result["n_real"]),
        ("generated images", result["n_fake"]),
        *((name, result.get(name)) for name in ("protocol", "extractor", "precision", "dims")),
        *(("also seen by", one["extractor"]) for one in others),
        *(("note", sentence) for sentence in _all_notes([result, *others])),
        *(("left out", name) for name in result["skipped"]),
    ]
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(f'{x:,}' if isinstance(x, int) else str(x))}</td>"
        "</tr>"
        for name, x in facts
        if x is not None
    )
    return _section("How it was measured", "", f'<table class="facts">{rows}</table>')


def _all_notes(results: Sequence[dict[str, Any]]) -> list[str]:
    """Each sentence once; under the extractor's name where only a further one has it."""
    first = results[0]["notes"]
    more = [f"{one['extractor']}: {sentence}" for one in results[1:] for sentence in one["notes"]
            if sentence not in first]  # fmt: skip
    return [*first, *more]
