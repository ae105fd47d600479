"""Candidates drawn by score and length, the front marked: which prompt is worth its tokens is seen, not computed."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.improvement.records import CandidateRecord
from llmops_tui.improvement.summary import length_of

_FRONT, _BEHIND, _SEED = "●", "·", "○"
LEGEND = f"{_FRONT} on the front  {_SEED} the seed  {_BEHIND} another is better and as short"


def front_lines(candidates: Sequence[CandidateRecord], better: int, width: int = 60, height: int = 12) -> list[str]:
    """A drawing of those that were scored on the select part: the score upwards, the length to the right.

    ``better`` is -1 where less of the metric is better, which is then at the top. Each stands with its version's number.
    """
    shown = [one for one in candidates if one["mean"] is not None]
    if not shown:
        return []
    means = [better * (one["mean"] or 0.0) for one in shown]
    lengths = [length_of(one) for one in shown]
    low, high = min(means), max(means)
    short, long = min(lengths), max(lengths)
    canvas = [[" "] * width for _ in range(height)]
    # The best last, so that it stands above the others.
    for one, mean, length in sorted(zip(shown, means, lengths, strict=True), key=lambda each: each[1]):
        mark = f"{_SEED if one['parent'] is None else _FRONT if one['front'] else _BEHIND}@{one['version']}"
        row = height - 1 - round((mean - low) / (high - low) * (height - 1)) if high > low else height // 2
        at = round((length - short) / (long - short) * (width - len(mark))) if long > short else 0
        canvas[row][at : at + len(mark)] = list(mark)
    unit = "tokens" if all(one["prompt_tokens"] is not None for one in shown) else "words"
    top, bottom = f"{better * high:.3g}", f"{better * low:.3g}"
    side = max(len(top), len(bottom))
    lines = []
    for number, row_ in enumerate(canvas):
        label = top if number == 0 else bottom if number == height - 1 else ""
        lines.append(f"{label:>{side}} ┤{''.join(row_)}".rstrip())
    ends = f"{short:,.0f}", f"{long:,.0f} {unit}"
    lines.append(" " * side + " └" + "─" * width)
    lines.append(" " * (side + 2) + ends[0] + ends[1].rjust(width - len(ends[0])))
    return [*lines, LEGEND]
