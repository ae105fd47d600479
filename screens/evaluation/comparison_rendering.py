"""Rendering of a comparison of two runs: the verdict, each paired difference, and what so many cases can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from textual.content import Content

from llmops_tui.evaluation.difference import change_words, points
from llmops_tui.evaluation.digits import SHARE, fixed, places
from llmops_tui.safe_text import safe_line
from screens.evaluation.rendering import COSTS, overlap_told
from screens.widgets import units
from screens.widgets.columns import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmops_tui.evaluation.comparison import Comparison
    from llmops_tui.evaluation.difference import Difference

_LONGEST = 14
_P = 6
# Columns of the table by their places: texts; and what belongs to the column before.
_LEFT, _CLOSE = {0, 5}, {1, 2, 3, 4, 5, 8, 9}
_VERDICTS = {"better": "$success", "worse": "$error", "unclear": "$muted", "differs": "$warning"}


def comparison(found: Comparison, width: int, *, utf8: bool) -> Content:
    """Two runs side by side, in so many cells."""
    style = "$error" if found.comparable.refused else "bold"
    parts: list[Any] = [(safe_line(found.sentence, 600), style), "\n"]
    parts += [(f"note: {safe_line(note, 300)}\n", "$warning") for note in found.comparable.notes]
    if found.comparable.refused:
        return Content.assemble(*parts, *_asked(found))
    # The figures stand close to the verdict: a low pane has room for little more.
    parts += _table(found, width, utf8=utf8)
    parts += _asked(found)
    parts += _unclear(found.differences)
    parts += overlap_told(found.candidate.summary or {})
    return Content.assemble(*parts)


def _asked(found: Comparison) -> list[Any]:
    """Which models and prompts are compared, in full: the list of runs may have no room for them."""
    baseline, candidate = safe_line(found.baseline.column, 300), safe_line(found.candidate.column, 300)
    both = [f"both       {candidate}\n"]
    lines = both if baseline == candidate else [f"baseline   {baseline}\n", f"candidate  {candidate}\n"]
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


def _table(found: Comparison, width: int, *, utf8: bool) -> list[Any]:
    """A line for each metric; each column is as wide as its widest text.

    Where there is no room for all, the p-value goes: the interval beside it and the colour of the change say whether it is shown.
    """
    up, down = ("▲", "▼") if utf8 else ("+", "-")
    heads = ["metric", "baseline", "candidate", "change", "95 % interval", "", "p", "", "cases", ""]
    lines = [_texts(d, up, down) for d in found.differences]
    widths = [max(cell_len(texts[place]) for texts in (heads, *lines)) for place in range(len(heads))]
    if sum(cells + _gap(place) for place, cells in enumerate(widths) if cells) - _gap(0) > width:
        widths[_P] = 0
    parts: list[Any] = [(_joined(heads, widths, 0, len(heads)) + "\n", "$muted")]
    for d, texts in zip(found.differences, lines, strict=True):
        chosen = d.name == found.metric
        parts += [
            (_joined(texts, widths, 0, 1), "bold" if chosen else "$muted" if d.name in COSTS else ""),
            _joined(texts, widths, 1, 3),
            (_joined(texts, widths, 3, 6), _VERDICTS[d.verdict]),
            (_joined(texts, widths, 6, 7), "$muted"),
            (_joined(texts, widths, 7, 8), "$success" if d.wins else "$muted"),
            (_joined(texts, widths, 8, 9), "$muted"),
            (_joined(texts, widths, 9, 10) + "\n", "$error" if d.losses else "$muted"),
        ]
    return parts


def _joined(texts: Sequence[str], widths: Sequence[int], begin: int, end: int) -> str:
    """Some columns of a line: the name and the unit at the left of theirs, figures at the right; the gap before each."""
    shown = []
    for place in range(begin, end):
        if not widths[place]:
            continue
        filled = fit(texts[place], widths[place], right=place not in _LEFT)
        shown.append(filled if place == 0 else f"{' ' * _gap(place)}{filled}")
    return "".join(shown)


def _gap(place: int) -> int:
    return 1 if place in _CLOSE else 2


def _texts(d: Difference, up: str, down: str) -> list[str]:
    p = d.p_holm if d.p_holm is not None else d.p
    own = SHARE if d.share else places(d.baseline, d.candidate)
    change, ends = change_words(d.interval, share=d.share)
    return [
        fit(safe_line(d.name), min(_LONGEST, cell_len(safe_line(d.name)))),
        *(units.measured(fixed(value, own), "" if d.share else _unit(d)) for value in (d.baseline, d.candidate)),
        change,
        ends,
        _unit(d),
        "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}",
        f"{up}{d.wins:,}",
        f"={d.ties:,}",
        f"{down}{d.losses:,}",
    ]
