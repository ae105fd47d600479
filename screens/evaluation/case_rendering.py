"""Rendering of cases: a line of the list, and one case with the difference of two answers."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.evaluation.case_names import told_case
from llmops_tui.evaluation.facts_told import passage_lines, sentence_lines
from llmops_tui.evaluation.kept_summary import answered_at
from llmops_tui.evaluation.metrics.model_graded import conversation_of, message_text
from llmops_tui.evaluation.metrics.registry import forbidden
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.text_diff import apart, diff_words
from screens.evaluation.answers_beside import beside, squeezed
from screens.evaluation.rendering import COSTS, number
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.diff_text import diff_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmops_tui.evaluation.comparison import Pair
    from llmops_tui.evaluation.metrics.base import Case, Score
    from llmops_tui.inference.wire import ChatMessage

NO_KINDS: Mapping[str, str] = MappingProxyType({})
_SHOWN = 300
# Cells in which two answers stand beside each other.
_BESIDE = 96
# Characters of a text of a case.
_LONG = 4000
# Of an error's.
_ERROR = 400
# Cells that a text needs to say anything; where that is too much for all of them, the last are left out.
_READABLE = 24
# Cells of what a text of a case is called, such as `candidate` or the name of a metric.
_LABEL = 11


def pair_columns(metric: str, *, utf8: bool, kinds: Mapping[str, str] = NO_KINDS) -> list[Column[Pair | Result]]:
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
        _question(),
        _expected(kinds),
        Column("candidate", _after, share=3, least=_READABLE),
        Column("baseline", _before, share=3, least=_READABLE, rank=3),
        _why(metric),
        *_slices(),
    ]


def result_columns(metric: str, kinds: Mapping[str, str] = NO_KINDS) -> list[Column[Pair | Result]]:
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
        _question(),
        _expected(kinds),
        Column("answer", _after, share=3, least=_READABLE),
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


def _expected(kinds: Mapping[str, str]) -> Column[Pair | Result]:
    def shown(row: Pair | Result) -> Part:
        result = _candidate(row)
        told = safe_line(result.case.expected_text, _SHOWN) if result.case.expected is not None else "–"
        return f"not {told}" if told != "–" and forbidden(result.scores, kinds) else told, "muted"

    return Column("expected", shown, share=3, least=_READABLE, spare=True, rank=2)


def _question() -> Column[Pair | Result]:
    """The last message of a user, by which a case is known; instructions are the same in all."""

    def shown(row: Pair | Result) -> Part:
        result = _candidate(row)
        asked = [m for m in conversation_of(result.case, result.answer) if m.get("role") == "user"]
        text = message_text(asked[-1]) if asked else ", ".join(str(value) for value in result.case.variables.values())
        return safe_line(text, _SHOWN) or "–", "plain"

    return Column("question", shown, share=3, least=_READABLE, spare=True, rank=1)


def _after(row: Pair | Result) -> Part:
    """What the candidate answered; where it is what was expected, that is quicker to read. An error has the colour of one."""
    result = _candidate(row)
    if result.answer.error:
        return safe_line(said(result), _SHOWN), "bad"
    right = result.case.expected is not None and said(result).strip() == result.case.expected_text.strip() != ""
    return ("as expected", "muted") if right else (safe_line(said(result), _SHOWN), "plain")


def _before(row: Pair | Result) -> Part:
    """What the baseline answered; where it is the same, that is quicker to read than the text once more."""
    before = said(_baseline(row))
    if _baseline(row).answer.error:
        return safe_line(before, _SHOWN), "bad"
    return ("the same" if before == said(_candidate(row)) else safe_line(before, _SHOWN)), "muted"


def _why(metric: str) -> Column[Pair | Result]:
    def shown(row: Pair | Result) -> Part:
        score = _candidate(row).scores.get(metric)
        return (_reason(_candidate(row), score, _SHOWN) if score is not None else ""), "muted"

    return Column("why", shown, share=2, least=_READABLE - 6, spare=True, rank=4)


def _reason(result: Result, score: Score, most: int) -> str:
    """Why a score is what it is; nothing where that only says again what stands beside it."""
    answer = said(result)
    # "ANSWER is not EXPECTED", each shortened.
    return "" if answer and score.reason.startswith(answer[:_READABLE]) else safe_line(score.reason, most)


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


def place_of(result: Result) -> str:
    """Which case it is, for a title: its place, its row and its slices."""
    case = result.case
    parts = [safe_line(told_case(case)), f"row {case.row:,}" if case.row is not None else "", safe_line(case.variation)]
    parts += [f"{safe_line(k)} {safe_line(v, 40)}" for k, v in case.slices.items()]
    return " · ".join(part for part in parts if part)


def case_content(result: Result, before: Result | None, width: int, kinds: Mapping[str, str] = NO_KINDS) -> Content:
    """A case in lines of so many cells: what was expected and answered, beside the baseline; then what was asked.

    ``kinds`` are the types of the metrics by what they are called, where that is something else.
    """
    case = result.case
    parts: list[Any] = []
    if case.expected is not None:
        unwanted = forbidden(result.scores, kinds)
        label, style = ("must not occur", "$warning") if unwanted else ("expected", "$success")
        parts += field(label, case.expected_text, width, style)
    if before is not None and width >= _BESIDE:
        parts += beside(_answer(before), _answer(result, before), width)
    elif before is not None:
        parts += field("baseline", _answer(before), width)
        parts += field("candidate", _answer(result, before), width)
    else:
        parts += field("answer", _answer(result), width)
    for call in result.answer.calls:
        arguments = json.dumps(call.get("arguments"), ensure_ascii=False)
        parts += field("called", f"{safe_line(str(call.get('name')))} {safe_line(arguments, 2000)}", width)
    if result.answer.state:
        state = json.dumps(result.answer.state, ensure_ascii=False)
        parts += field("state", Content.styled(safe_line(state, 2000), "$muted"), width)
    if result.answer.thinking:
        parts += field("thinking", Content.styled(safe_text(result.answer.thinking)[:_LONG], "$muted"), width)
    if result.answer.error and result.answer.text:
        parts += field("error", Content.styled(safe_line(result.answer.error, _ERROR), "$error"), width)
    parts += _score_parts(result, before, width)
    parts += input_parts(case, conversation_of(case, result.answer), width)
    if case.context and case.context not in "".join(str(m.get("content")) for m in case.messages):
        parts += field("context", case.context, width)
    parts += [part for line in passage_lines(result.answer) for part in field("retrieved", safe_line(line, 400), width)]
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


def _answer(result: Result, before: Result | None = None) -> Content:
    """An answer, with what differs from one ``before`` where they are alike; an error is no answer, and is compared with none."""
    if result.answer.error and not result.answer.text:
        return Content.styled(f"error: {safe_line(result.answer.error, _ERROR)}", "$error")
    if before is not None and before.answer.text:
        changes = diff_words(squeezed(said(before), _LONG), squeezed(said(result), _LONG))
        if not apart(changes):
            return Content.assemble(*diff_parts(changes))
    return Content(safe_text(squeezed(said(result), _LONG)))


def input_parts(case: Case, messages: Sequence[ChatMessage], width: int) -> list[Any]:
    """What was asked: the messages, and the variables that are none of them."""
    parts: list[Any] = []
    said_so = {message_text(message).strip() for message in messages}
    for name, value in case.variables.items():
        # A variable that is a whole message stands there.
        if str(value).strip() not in said_so:
            parts += field(safe_line(name), str(value), width)
    for message in messages:
        parts += field(safe_line(str(message.get("role"))), message_text(message), width)
    return parts


def field(name: str, text: str | Content, width: int, style: str = "$accent") -> list[Any]:
    """What a text is, in a column of its own, and the text beside it: none of its lines begins below the name."""
    begin = max(_LABEL, cell_len(name)) + 2
    shown = Content(safe_text(text)[:_LONG]) if isinstance(text, str) else text
    lines = shown.wrap(max(_READABLE, width - begin))
    return [(f"{name:<{begin}}", style), Content(f"\n{' ' * begin}").join(lines), "\n"]


def _score_parts(result: Result, before: Result | None, width: int) -> list[Any]:
    """What each metric says, and what a judge was sent for it."""
    parts: list[Any] = []
    for name, score in result.scores.items():
        if name in COSTS:
            continue
        old = before.scores.get(name) if before is not None else None
        step = f"{number(old.value)} → " if old is not None else ""
        value = Content.assemble(
            (f"{step}{number(score.value)}", "bold"), (f"  {_reason(result, score, 400)}".rstrip(), "$muted")
        )
        parts += field(safe_line(name), value, width, "$muted")
        parts += [(f"  {safe_line(line, 400)}\n", "$muted") for line in sentence_lines(score)]
        for message in score.detail.get("sent") or ():
            parts += [
                (f"  sent to the judge as {safe_line(str(message.get('role')))} ", "$accent"),
                (f"{safe_text(str(message.get('content')))[:4000]}\n", "$muted"),
            ]
    return parts
