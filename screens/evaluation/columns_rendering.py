"""Rendering of several runs side by side: a line a case, and one case with all its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from textual.content import Content

from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.text_diff import diff_words
from screens.evaluation.case_rendering import field, input_parts, said
from screens.evaluation.rendering import number
from screens.widgets.columns import Column, Part
from screens.widgets.diff_text import diff_parts

if TYPE_CHECKING:
    from llmops_tui.evaluation.columns.side_by_side import CaseAcross
    from llmops_tui.evaluation.run import EvalRun

AcrossColumn: TypeAlias = "Column[CaseAcross]"
_SHOWN = 300


def columns(runs: Sequence[EvalRun], metric: str) -> list[AcrossColumn]:
    """A column for each run, between the case and its slices."""
    return [
        Column("case", lambda row: f"{row.case.index:,}", lambda row: row.case.index, right=True),
        Column("apart", lambda row: number(row.spread(metric)), lambda row: row.spread(metric), right=True, falling=True, rank=2,
            spare=True),
        *(
            Column(safe_line(run.name, 200), _answer(place, metric), _value(place, metric), share=3, least=10, rank=0)
            for place, run in enumerate(runs)
        ),
        Column("expected", lambda row: (_expected(row), "muted"), share=2, least=8, spare=True, rank=3),
        Column("slices", lambda row: (_slices(row), "muted"), rank=4, most=30, spare=True),
    ]  # fmt: skip


def _answer(place: int, metric: str) -> Callable[[CaseAcross], Part]:
    def shown(row: CaseAcross) -> Part:
        result, score = row.results[place], row.scores(metric)[place]
        if result is None:
            return "not asked", "muted"
        style = "muted" if score is None else "bad" if score == 0 else "good" if score == 1 else "plain"
        return f"{number(score)} {safe_line(said(result), _SHOWN)}", style

    return shown


def _value(place: int, metric: str) -> Callable[[CaseAcross], float | None]:
    return lambda row: row.scores(metric)[place]


def _expected(row: CaseAcross) -> str:
    return safe_line(row.case.expected_text, _SHOWN) if row.case.expected is not None else "–"


def _slices(row: CaseAcross) -> str:
    return safe_line(", ".join(f"{name} {value}" for name, value in row.case.slices.items()), 120)


def case(row: CaseAcross, runs: Sequence[EvalRun], metric: str, width: int) -> Content:
    """One case in so many cells: what was asked, what is expected, each run's answer with what differs from the first."""
    told = "".join(f" · {safe_line(name)} {safe_line(value, 40)}" for name, value in row.case.slices.items())
    parts: list[str | tuple[str, str] | Content] = [(f"case {row.case.index}{told}\n", "$muted")]
    parts += input_parts(row.case, row.case.messages, width)
    if row.case.expected is not None:
        parts += field("expected", row.case.expected_text, width, "$success")
    first: str | None = None
    for place, (run, result) in enumerate(zip(runs, row.results, strict=True), 1):
        score = result.scores.get(metric) if result is not None else None
        reason = f"  {safe_line(score.reason, 200)}" if score is not None and score.reason else ""
        value = f"  {number(score.value)}" if score is not None else ""
        parts += [
            (f"\n── {place} {safe_line(run.name)} ", "bold $accent"), (f"{safe_line(run.column)} ──", "$muted"), value,
            (f"{reason}\n", "$muted"),
        ]  # fmt: skip
        if result is None:
            parts.append(("not asked\n", "$muted"))
            continue
        text = said(result)[:4000]
        if result.answer.error:
            parts.append((f"error: {safe_line(result.answer.error, 400)}\n", "$error"))
        elif first is None:
            first = text
            parts.append(f"{safe_text(text)}\n")
        else:
            parts += [*diff_parts(diff_words(first, text)), "\n"]
    return Content.assemble(*parts)


def keys(runs: int) -> Content:
    """What can be done."""
    told = (
        ("/", "filter"), ("f", "which cases"), ("s", "metric"), ("o", "playground"), (f"1–{runs}", "as that run asked"),
        ("esc", "close"),
    )  # fmt: skip
    parts: list[str | tuple[str, str]] = []
    for key, what in told:
        parts += [(key, "$accent"), f" {what}   "]
    return Content.assemble(*parts)
