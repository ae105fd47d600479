"""Rendering of cases: a line of the list, and one case with the difference of two answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.evaluation.facts_told import passage_lines, sentence_lines
from llmops_tui.evaluation.kept_summary import answered_at
from llmops_tui.evaluation.metrics.model_graded import conversation_of, message_text
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.text_diff import diff_words
from screens.evaluation.rendering import COSTS, number
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.diff_text import diff_parts

if TYPE_CHECKING:
    from llmops_tui.evaluation.comparison import Pair

_SHOWN = 300
# Cells that a text needs to say anything; where that is too much for all of them, the last are left out.
_READABLE = 24
# Cells of what a text of a case is called, the longest of which is `candidate`.
_LABEL = 9


def pair_columns(metric: str, *, utf8: bool) -> list[Column[Pair | Result]]:
    """The cases of a comparison: what changed, and what was expected beside both answers."""
    worse, better, same = ("▼", "▲", "=") if utf8 else ("-", "+", "=")

    def change(row: Pair | Result) -> Part:
        found = _change(row)
        if found is None:
            return "?", "muted"
        return (
            (f"{worse} worse", "bad") if found < 0 else (f"{better} better", "good") if found > 0 else (same, "muted")
        )

    return [
        Column(
            "case", lambda row: f"{_candidate(row).case.index:,}", lambda row: _candidate(row).case.index, right=True
        ),
        Column("change", change, _change),
        _expected(),
        Column("candidate", lambda row: _said(_candidate(row)), share=3, least=_READABLE),
        Column("baseline", _before, share=3, least=_READABLE, rank=3),
        _why(metric),
        *_slices(),
    ]


def result_columns(metric: str) -> list[Column[Pair | Result]]:
    """The cases of one run: the score, what was expected and what was answered."""

    def value(row: Pair | Result) -> float | None:
        score = _candidate(row).scores.get(metric)
        return score.value if score is not None else None

    def shown(row: Pair | Result) -> Part:
        found = value(row)
        return number(found), "muted" if found is None else "bad" if found == 0 else "good" if found == 1 else "plain"

    def place(row: Pair | Result) -> str:
        case = _candidate(row).case
        return f"{case.index:,}{'~' if case.variation else ''}"

    return [
        Column("case", place, lambda row: _candidate(row).case.index, right=True),
        Column(metric or "score", shown, value, right=True, most=16),
        _expected(),
        Column("answer", lambda row: _said(_candidate(row)), share=3, least=_READABLE),
        _why(metric),
        Column("took", lambda row: units.whole(_candidate(row).answer.total_ms), lambda row: _candidate(row).answer.total_ms,
            unit="ms", right=True, falling=True, spare=True, rank=5),
        *_slices(),
    ]  # fmt: skip


def _candidate(row: Pair | Result) -> Result:
    return row if isinstance(row, Result) else row.candidate


def _baseline(row: Pair | Result) -> Result:
    return row if isinstance(row, Result) else row.baseline


def _change(row: Pair | Result) -> float | None:
    return None if isinstance(row, Result) else row.change


def _expected() -> Column[Pair | Result]:
    def shown(row: Pair | Result) -> Part:
        case = _candidate(row).case
        return safe_line(case.expected_text, _SHOWN) if case.expected is not None else "–", "muted"

    return Column("expected", shown, share=3, least=_READABLE, spare=True, rank=2)


def _before(row: Pair | Result) -> Part:
    """What the baseline answered; where it is the same, that is quicker to read than the text once more."""
    before, after = _baseline(row), _candidate(row)
    if before.answer.error or after.answer.error:
        return _said(before)
    return ("the same" if said(before) == said(after) else safe_line(said(before), _SHOWN)), "muted"


def _said(result: Result) -> Part:
    """The answer in a cell; an error has the colour of one, since it is none."""
    return safe_line(said(result), _SHOWN), "bad" if result.answer.error else "plain"


def _why(metric: str) -> Column[Pair | Result]:
    def shown(row: Pair | Result) -> Part:
        score = _candidate(row).scores.get(metric)
        reason = score.reason if score is not None else ""
        answer = said(_candidate(row))
        # "ANSWER is not EXPECTED", each shortened, says what stands beside it.
        repeats = answer and reason.startswith(answer[:_READABLE])
        return ("" if repeats else safe_line(reason, _SHOWN)), "muted"

    return Column("why", shown, share=2, least=_READABLE - 6, spare=True, rank=4)


def _slices() -> list[Column[Pair | Result]]:
    def shown(row: Pair | Result) -> Part:
        return safe_line(
            ", ".join(f"{name} {value}" for name, value in _candidate(row).case.slices.items()), 120
        ), "muted"

    return [Column("slices", shown, rank=6, chosen=False, most=30)]


def said(result: Result) -> str:
    """The answer, or the choice that was the likeliest, or why there is none."""
    if result.answer.choice_logprobs:
        score = next((s for s in result.scores.values() if "chosen" in s.detail), None)
        return result.case.choices[score.detail["chosen"]] if score is not None else ""
    return result.answer.text or result.answer.error


def case_content(result: Result, before: Result | None) -> Content:
    """A case with its answer, beside that of the baseline with what differs."""
    case = result.case
    parts: list[Any] = []
    where = (
        f"case {case.index}"
        + (f" · row {case.row:,}" if case.row is not None else "")
        + (f" · {safe_line(case.variation)}" if case.variation else "")
    )
    told = "".join(f" · {safe_line(k)} {safe_line(v, 40)}" for k, v in case.slices.items())
    parts += [(f"{where}{told}\n", "$muted")]
    parts += _input_parts(result)
    if case.context and case.context not in "".join(str(m.get("content")) for m in case.messages):
        parts += [_label("context"), safe_text(case.context)[:4000], "\n"]
    parts += [
        part for line in passage_lines(result.answer) for part in (_label("retrieved"), f"{safe_line(line, 400)}\n")
    ]
    if case.expected is not None:
        parts += [_label("expected", "$success"), safe_text(case.expected_text)[:4000], "\n"]
    parts += _answer_parts(result, before)
    for call in result.answer.calls:
        arguments = json.dumps(call.get("arguments"), ensure_ascii=False)
        parts += [_label("called"), f"{safe_line(str(call.get('name')))} {safe_line(arguments, 2000)}\n"]
    if result.answer.state:
        told = json.dumps(result.answer.state, ensure_ascii=False)
        parts += [_label("state"), (f"{safe_line(told, 2000)}\n", "$muted")]
    if result.answer.thinking:
        parts += [_label("thinking"), (safe_text(result.answer.thinking)[:4000], "$muted"), "\n"]
    parts += _score_parts(result, before)
    answer = result.answer
    ended = [
        f"from the cache {answered_at(answer.kept_at)}".rstrip()
        if answer.cached
        else f"{answer.total_ms:.0f} ms"
        if answer.total_ms
        else "",
        counted(answer.completion_tokens, "token") if answer.completion_tokens else "",
        f"{answer.reasoning_tokens} of them thinking" if answer.reasoning_tokens else "",
        f"ended by {answer.finish_reason}" if answer.finish_reason else "",
        f"trace {answer.trace}" if answer.trace else "",
    ]
    times = " · ".join(text for text in ended if text)
    parts.append((times, "$muted"))
    return Content.assemble(*parts)


def _answer_parts(result: Result, before: Result | None) -> list[Any]:
    """The answer, beside that of the baseline where there is one; what differs is shown of two answers, never of an error."""
    if before is None:
        return _told("answer", result)
    if before.answer.error or result.answer.error:
        return [*_told("baseline", before), *_told("candidate", result)]
    changes = diff_words(said(before)[:4000], said(result)[:4000])
    return [*_told("baseline", before), _label("candidate"), *diff_parts(changes), "\n"]


def _told(label: str, result: Result) -> list[Any]:
    """An answer under its label, and behind it the error that it ended in."""
    parts: list[Any] = []
    if not result.answer.error or result.answer.text:
        parts += [_label(label), safe_text(said(result))[:4000], "\n"]
    if result.answer.error:
        parts += [_label("" if parts else label), (f"error: {safe_line(result.answer.error, 400)}\n", "$error")]
    return parts


def _input_parts(result: Result) -> list[Any]:
    """What was asked: the messages, and the variables that are none of them."""
    parts: list[Any] = []
    messages = conversation_of(result.case, result.answer)
    said_so = {message_text(message).strip() for message in messages}
    for name, value in result.case.variables.items():
        # A variable that is a whole message stands there.
        if str(value).strip() not in said_so:
            parts += [_label(safe_line(name)), safe_text(str(value))[:4000], "\n"]
    for message in messages:
        parts += [_label(safe_line(str(message.get("role")))), safe_text(message_text(message))[:4000], "\n"]
    return parts


def _label(name: str, style: str = "$accent") -> tuple[str, str]:
    """What a text is, in a column of its own before it."""
    return f"{name:<{_LABEL}}  ", style


def _score_parts(result: Result, before: Result | None) -> list[Any]:
    """What each metric says, and what a judge was sent for it."""
    parts: list[Any] = []
    for name, score in result.scores.items():
        if name in COSTS:
            continue
        old = before.scores.get(name) if before is not None else None
        step = f"{number(old.value)} → " if old is not None else ""
        parts += [
            (f"{safe_line(name)} ", "$muted"),
            (f"{step}{number(score.value)}", "bold"),
            (f"  {safe_line(score.reason, 400)}\n", "$muted"),
        ]
        parts += [(f"  {safe_line(line, 400)}\n", "$muted") for line in sentence_lines(score)]
        for message in score.detail.get("sent") or ():
            parts += [
                (f"  sent to the judge as {safe_line(str(message.get('role')))} ", "$accent"),
                (f"{safe_text(str(message.get('content')))[:4000]}\n", "$muted"),
            ]
    return parts
