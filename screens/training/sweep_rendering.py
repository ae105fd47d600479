"""Rendering of a search: its trials, the front of several objectives, and how much each field mattered."""

from __future__ import annotations

from typing import Any

from textual.content import Content

from llmops_tui.figures import figure
from llmops_tui.safe_text import safe_line
from llmops_tui.training.search_methods import best_first
from screens.widgets.chart import short_number

_WIDTH, _HEIGHT = 48, 10


def sweep(found: dict[str, Any]) -> Content:
    """The trials of a search, the best first, with bars or with the front; and how much each field mattered."""
    objectives: list[str] = list(found.get("objectives") or ["loss"])
    done: list[Any] = [row for row in best_first(found["trials"], objectives) if row["loss"] is not None]
    parts: list[Any] = [("kept as ", "$muted"), (f"{found['recipe']}\n", "bold")]
    if len(objectives) > 1:
        parts += _front(found, objectives)
    parts += _trials(found, done, objectives)
    for name, share in (found.get("importance") or {}).items():
        parts += [(f"\n  {name:32}", "$muted"), ("▇" * round(30 * share), "$warning"), f" {share:.0%}"]
    return Content.assemble(*parts)


def _trials(found: dict[str, Any], done: list[dict[str, Any]], objectives: list[str]) -> list[Any]:
    names, best = list(found["best"]), set(found.get("front") or [])
    several = len(objectives) > 1
    heads = "".join(one.rjust(10) for one in objectives) if several else f"  {objectives[0]}".ljust(34)
    parts: list[Any] = [(heads, "$muted")]
    parts += [(name.rpartition(".")[2].rjust(18), "$muted") for name in names] + ["\n"]
    worst = max((row["loss"] for row in done), key=abs, default=1.0) or 1.0
    for row in done:
        on_front = row["trial"] in best if several else row is done[0]
        style = "$success" if on_front else "$muted" if row["state"] == "pruned" else "$accent"
        if several:
            values = row.get("values") or {}
            parts.append(("".join(_cell(values.get(one)).rjust(10) for one in objectives), style))
        else:
            bar = "▇" * max(1, min(20, round(20 * row["loss"] / worst)))
            parts += [(f"  {short_number(row['loss']):>8}  ", ""), (f"{bar:20}  ", style)]
        parts += [_cell(row.get(name)).rjust(18) for name in names]
        told = safe_line(str(row.get("why") or "")) or "ended early"
        parts.append((f"  {told}\n", "$muted") if row["state"] == "pruned" else "\n")
    return parts


def _front(found: dict[str, Any], objectives: list[str]) -> list[Any]:
    """The trials by the first two objectives; those that no other is better than stand out."""
    across, up = objectives[1], objectives[0]
    points = [
        (float(row["values"][across]), float(row["values"][up]), row["trial"])
        for row in found["trials"]
        if {across, up} <= set(row.get("values") or {})
    ]
    if not points:
        return []
    best = set(found.get("front") or [])
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    cells: dict[tuple[int, int], bool] = {}
    for x, y, trial in points:
        place = (_place(y, ys, _HEIGHT), _place(x, xs, _WIDTH))
        cells[place] = cells.get(place, False) or trial in best
    parts: list[Any] = [(f"{up} {short_number(max(ys))}\n", "$muted")]
    for row in reversed(range(_HEIGHT)):
        parts.append(("│", "$muted"))
        for column in range(_WIDTH):
            on = cells.get((row, column))
            parts.append(" " if on is None else ("●", "$success") if on else ("·", "$accent"))
        parts.append("\n")
    parts.append(("└" + "─" * _WIDTH + f"\n {short_number(min(xs))}", "$muted"))
    parts.append((f"{across} {short_number(max(xs))}".rjust(_WIDTH - len(short_number(min(xs)))) + "\n", "$muted"))
    parts += [(f"{up} down to {short_number(min(ys))}; ", "$muted"), ("● ", "$success")]
    parts.append((f"no other trial is better in all of {', '.join(objectives)}\n\n", "$muted"))
    return parts


def _place(value: float, values: list[float], cells: int) -> int:
    low, high = min(values), max(values)
    return 0 if high == low else round((value - low) / (high - low) * (cells - 1))


def _cell(value: Any) -> str:
    return short_number(value) if isinstance(value, float) else figure(value)
