"""Rendering of a comparison of two runs: the verdict, each paired difference, and what so many cases can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.evaluation.comparison import points
from llmops_tui.safe_text import safe_line
from screens.evaluation.rendering import COSTS, number, overlap_told
from screens.widgets.line_list import cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmops_tui.evaluation.comparison import Comparison, Difference

_VERDICTS = {"better": "$success", "worse": "$error", "unclear": "$muted", "differs": "$warning"}


def comparison(found: Comparison, *, utf8: bool) -> Content:
    """Two runs side by side."""
    style = "$error" if found.comparable.refused else "bold"
    parts: list[Any] = [(safe_line(found.sentence, 600), style), "\n"]
    parts += _asked(found)
    parts += [(f"note: {safe_line(note, 300)}\n", "$warning") for note in found.comparable.notes]
    if found.comparable.refused:
        return Content.assemble(*parts)
    parts.append((f"{'':13}{'before':>6} {'after':>6}  {'difference, 95 %':<23}{'p':>5} cases\n", "$muted"))
    for d in found.differences:
        parts += _difference(d, chosen=d.name == found.metric, utf8=utf8)
    parts += _unclear(found.differences)
    parts += overlap_told(found.candidate.summary or {})
    return Content.assemble(*parts)


def _asked(found: Comparison) -> list[Any]:
    """Which models and prompts are compared, in full: the list of runs may have no room for them."""
    before, after = safe_line(found.baseline.column, 300), safe_line(found.candidate.column, 300)
    lines = [f"both    {after}\n"] if before == after else [f"before  {before}\n", f"after   {after}\n"]
    return [(line, "$muted") for line in lines]


def _unclear(differences: Sequence[Difference]) -> list[Any]:
    """Of differences that are not shown, what would have been; below the table, which has no room for it."""
    few = [safe_line(d.name) for d in differences if d.interval.too_few]
    least = [
        f"{safe_line(d.name)} {points(d.smallest, share=d.share, signed=False)} {_unit(d)}".rstrip()
        for d in differences
        if d.verdict == "unclear" and not d.interval.too_few
    ]
    told = [f"smallest difference that so many cases could show: {', '.join(least)}\n"] if least else []
    told += [f"too few cases to say: {', '.join(few)}\n"] if few else []
    return [(line, "$muted") for line in told]


def _unit(d: Difference) -> str:
    return "pt" if d.share else "" if d.unit.startswith("tokens") else d.unit


def _difference(d: Difference, *, chosen: bool, utf8: bool) -> list[Any]:
    p = d.p_holm if d.p_holm is not None else d.p
    told = "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"
    up, down = ("▲", "▼") if utf8 else ("+", "-")
    i = d.interval
    change = f"{points(i.value, share=d.share)} [{points(i.low, share=d.share)}, {points(i.high, share=d.share)}]"
    return [
        (f"{cell(safe_line(d.name), 12)} ", "bold" if chosen else "$muted" if d.name in COSTS else ""),
        f"{number(d.baseline):>6} {number(d.candidate):>6}  ",
        (f"{change} {_unit(d)}".ljust(23), _VERDICTS[d.verdict]),
        (f"{told:>5} ", "$muted"),
        (f"{up}{d.wins:,} ", "$success"),
        (f"={d.ties:,} ", "$muted"),
        (f"{down}{d.losses:,}\n", "$error"),
    ]
