"""Rendering of cases: a line of the list, and one case with the difference of two answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.evaluation.kept_summary import answered_at
from llmops_tui.evaluation.metrics.model_graded import conversation_of, message_text
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.text_diff import diff_words
from screens.evaluation.rendering import COSTS, number
from screens.widgets.diff_text import diff_parts
from screens.widgets.line_list import Line, cell

if TYPE_CHECKING:
    from llmops_tui.evaluation.comparison import Pair
    from llmops_tui.evaluation.runner.results import Result


def pair_line(pair: Pair, metric: str, width: int, *, utf8: bool) -> Line:
    """A case of a comparison in the list."""
    worse, better, same = ("▼", "▲", "=") if utf8 else ("-", "+", "=")
    if pair.change is None:
        mark, style = "?", "muted"
    else:
        mark, style = (worse, "bad") if pair.change < 0 else (better, "good") if pair.change > 0 else (same, "muted")
    score = pair.candidate.scores.get(metric)
    why = score.reason if score is not None else ""
    # Without a reason the answers get all the room.
    room = max(10, (width - 10) // (3 if why else 2) - 1)
    return [
        (f"{mark} {pair.baseline.case.index:>6} ", style),
        (cell(safe_line(_said(pair.baseline), room), room) + " ", "muted"),
        (cell(safe_line(_said(pair.candidate), room), room) + " ", "plain"),
        (safe_line(why, room), "muted"),
    ]


def result_line(result: Result, metric: str, width: int) -> Line:
    """A case of one run in the list."""
    score = result.scores.get(metric)
    value = score.value if score is not None else None
    style = "muted" if value is None else "bad" if value == 0 else "good" if value == 1 else "plain"
    why = safe_line(score.reason, width) if score is not None else ""
    # Without a reason the answer gets all the room.
    room = max(10, (width - 20) // 2) if why else max(10, width - 18)
    what = f"{result.case.index:>6}{'~' if result.case.variation else ' '}"
    return [
        (f"{what} {number(value):>6} ", style),
        (cell(safe_line(_said(result), room), room) + " ", "plain"),
        (why, "muted"),
    ]


def _said(result: Result) -> str:
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
    for name, value in case.variables.items():
        parts += [(f"{safe_line(name)} ", "$accent"), safe_text(str(value))[:4000], "\n"]
    for message in conversation_of(case, result.answer):
        parts += [
            (f"{safe_line(str(message.get('role')))} ", "$accent"),
            safe_text(message_text(message))[:4000],
            "\n",
        ]
    if case.context and case.context not in "".join(str(m.get("content")) for m in case.messages):
        parts += [("context ", "$accent"), safe_text(case.context)[:4000], "\n"]
    if case.expected is not None:
        parts += [("expected ", "$success"), safe_text(case.expected_text)[:4000], "\n"]
    if before is not None:
        parts += [("baseline ", "$accent"), safe_text(_said(before))[:4000], "\n", ("candidate ", "$accent")]
        parts += [*diff_parts(diff_words(_said(before)[:4000], _said(result)[:4000])), "\n"]
    else:
        parts += [("answer ", "$accent"), safe_text(_said(result))[:4000], "\n"]
    for call in result.answer.calls:
        arguments = json.dumps(call.get("arguments"), ensure_ascii=False)
        parts += [("called ", "$accent"), f"{safe_line(str(call.get('name')))} {safe_line(arguments, 2000)}\n"]
    if result.answer.state:
        told = json.dumps(result.answer.state, ensure_ascii=False)
        parts += [("state ", "$accent"), (f"{safe_line(told, 2000)}\n", "$muted")]
    if result.answer.thinking:
        parts += [("thinking ", "$accent"), (safe_text(result.answer.thinking)[:4000], "$muted"), "\n"]
    if result.answer.error:
        parts += [(f"refused: {safe_line(result.answer.error, 400)}\n", "$error")]
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
        for message in score.detail.get("sent") or ():
            parts += [
                (f"  sent to the judge as {safe_line(str(message.get('role')))} ", "$accent"),
                (f"{safe_text(str(message.get('content')))[:4000]}\n", "$muted"),
            ]
    return parts
