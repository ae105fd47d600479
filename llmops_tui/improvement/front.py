"""Candidates drawn by score and length, the front marked: which prompt is worth its tokens is seen, not computed."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.improvement.records import CandidateRecord
from llmops_tui.improvement.summary import length_of

_FRONT, _BEHIND, _SEED = "●", "·", "○"
# Lines of a drawing in which all have one score: there is nothing above or below.
_LEVEL = 3
LEGEND = f"{_FRONT} on the front  {_SEED} the seed  {_BEHIND} another is better and as short"


def front_lines(candidates: Sequence[CandidateRecord], better: int, width: int = 60, height: int = 12) -> list[str]:
    """A drawing of those that were scored on the select part: the score upwards, the length to the right.

    ``better`` is -1 where less of the metric is better, which is then at the top. Each stands with its version's number.
    Where all have one score, or one length, that axis has one figure.
    """
    shown = [one for one in candidates if one["mean"] is not None]
    if not shown:
        return []
    means = [better * (one["mean"] or 0.0) for one in shown]
    lengths = [length_of(one) for one in shown]
    low, high = min(means), max(means)
    short, long = min(lengths), max(lengths)
    height = height if high > low else _LEVEL
    canvas = [[" "] * width for _ in range(height)]
    # The best last, so that it stands above the others.
    for one, mean, length in sorted(zip(shown, means, lengths, strict=True), key=lambda each: each[1]):
        mark = f"{_SEED if one['parent'] is None else _FRONT if one['front'] else _BEHIND}@{one['version']}"
        row = height - 1 - round((mean - low) / (high - low) * (height - 1)) if high > low else height // 2
        at = round((length - short) / (long - short) * (width - len(mark))) if long > short else 0
        canvas[row][at : at + len(mark)] = list(mark)
    unit = "tokens" if all(one["prompt_tokens"] is not None for one in shown) else "words"
    labels = _labels(better * low, better * high, height)
    side = max(map(len, labels.values()))
    lines = [f"{labels.get(number, ''):>{side}} ┤{''.join(row_)}".rstrip() for number, row_ in enumerate(canvas)]
    ends = (f"{short:,.0f}", f"{long:,.0f} {unit}") if long > short else (f"{short:,.0f} {unit}", "")
    lines.append(" " * side + " └" + "─" * width)
    lines.append(" " * (side + 2) + ends[0] + ends[1].rjust(width - len(ends[0])))
    return [*lines, LEGEND]


def _labels(low: float, high: float, height: int) -> dict[int, str]:
    """The figures beside the lines of the drawing, with as many digits as tell one end from the other."""
    if low == high:
        return {height // 2: f"{low:.3g}"}
    for digits in range(3, 17):
        top, bottom = f"{high:.{digits}g}", f"{low:.{digits}g}"
        if top != bottom:
            break
    return {0: top, height - 1: bottom}
