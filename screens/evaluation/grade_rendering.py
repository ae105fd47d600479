"""Rendering of grading: progress, an answer or two beside what was asked, keys, agreement and ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.evaluation.grading.agreement import agreement_of, ranking_of
from llmops_tui.evaluation.grading.files import line_of, question_of
from llmops_tui.evaluation.grading.sheets import VoteSheet
from llmops_tui.safe_text import safe_line, safe_text

if TYPE_CHECKING:
    from llmops_tui.evaluation.grading.records import Kappas
    from llmops_tui.evaluation.grading.sheets import GradeSheet

_BAR = 40
_LONG = 20_000


def head(sheet: GradeSheet | VoteSheet, done: int, total: int) -> Content:
    """How far this person is, and what is asked."""
    filled = round(_BAR * done / max(1, total))
    return Content.assemble(
        (safe_line(sheet.criterion.name), "bold $accent"),
        f"  by {safe_line(sheet.grader)}   ",
        ("█" * filled, "$success"),
        ("·" * (_BAR - filled), "$line"),
        f" {done:,} of {total:,}\n",
        (safe_text(sheet.criterion.question)[:2000], "$muted"),
        "\n",
    )


def item(sheet: GradeSheet | VoteSheet, item_id: str) -> Content:
    """An answer, or two in this person's order, behind what was asked."""
    if not isinstance(sheet, VoteSheet):
        return Content.assemble(*_asked(line_of(sheet.items[item_id])), *_answer("answer", sheet.items[item_id]))
    one, two = sheet.shown(item_id)
    parts = _asked(line_of(one))
    if question_of(one) != question_of(two):
        parts += [("asked of the second ", "$accent"), safe_text(question_of(two))[:_LONG], "\n"]
    return Content.assemble(*parts, *_answer("── 1 ──\n", one), *_answer("── 2 ──\n", two))


def _asked(line: Mapping[str, Any]) -> list[Any]:
    parts: list[Any] = []
    for name, style in (("question", "$accent"), ("context", "$accent"), ("expected", "$success")):
        if line[name]:
            parts += [(f"{name} ", style), safe_text(line[name])[:_LONG], "\n"]
    return [*parts, "\n"]


def _answer(name: str, shown: Any) -> list[Any]:
    return [(f"{name} ", "bold $accent"), safe_text(shown.result.answer.text)[:_LONG] or "(empty)", "\n"]


def keys(sheet: GradeSheet | VoteSheet) -> Content:
    """What each key does."""
    parts: list[Any] = []
    if isinstance(sheet, VoteSheet):
        parts += [("1", "$accent bold"), " the first   ", ("2", "$accent bold"), " the second   "]
        parts += [("t", "$accent bold"), " a tie   "]
    else:
        c = sheet.criterion
        parts += [(f"{c.low}", "$accent bold"), " worst … ", (f"{c.high}", "$accent bold"), " best   "]
    parts += [("space", "$accent"), " skip   ", ("z", "$accent"), " undo   ", ("a", "$accent"), " agreement   "]
    if not isinstance(sheet, VoteSheet):
        parts += [("s", "$accent"), " dataset   ", ("e", "$accent"), " examples for the judge   "]
    return Content.assemble(*parts, ("esc", "$accent"), " close")


def done(sheet: GradeSheet | VoteSheet) -> Content:
    """What is said where nothing is left."""
    what = "Every pair is decided." if isinstance(sheet, VoteSheet) else "Every answer is graded."
    more = "" if isinstance(sheet, VoteSheet) else " s makes a dataset of the grades, e shows the judge some of them."
    return Content.styled(f"{what} a shows the agreement.{more}", "$success")


def figures(sheet: GradeSheet | VoteSheet) -> Content:
    """Agreement between people, and a judge's with them; of votes the ranking."""
    return _ranking(sheet) if isinstance(sheet, VoteSheet) else _agreement(sheet)


def _agreement(sheet: GradeSheet) -> Content:
    found = agreement_of(sheet)
    if not found["graders"]:
        return Content.styled("Nobody has graded these answers yet.", "$muted")
    alpha = found["alpha"]
    parts: list[Any] = [
        (", ".join(f"{safe_line(name)} {count:,}" for name, count in found["graders"].items()), "bold"),
        f"\n\nKrippendorff's alpha over {counted(found['with_several'], 'answer')} graded by several\n",
        f"  nominal {_figure(alpha['nominal'])}   ordinal {_figure(alpha['ordinal'])}   ",
        f"interval {_figure(alpha['interval'])}\n\n",
    ]
    rows = list(found["pairs"].items())
    rows += [(f"{found['metric']} · {name}", kappas) for name, kappas in found["judge"].items()]
    if len(found["judge"]) > 1 and found["judge_mean"] is not None:
        rows.append((f"{found['metric']} · mean of people", found["judge_mean"]))
    for name, kappas in rows:
        parts += [f"{safe_line(name, 40):<42}", *_kappas(kappas), "\n"]
    return Content.assemble(*parts, ("\nesc goes back to the queue", "$muted"))


def _kappas(found: Kappas) -> list[Any]:
    quadratic = f"quadratic {_figure(found['kappa_quadratic'])}"
    return [f"κ {_figure(found['kappa'])}   {quadratic}   ", (counted(found["n"], "answer"), "$muted")]


def _ranking(sheet: VoteSheet) -> Content:
    found = ranking_of(sheet)
    if not found["votes"]:
        return Content.styled("Nobody has voted between these runs yet.", "$muted")
    who = ", ".join(f"{safe_line(name)} {count:,}" for name, count in found["graders"].items())
    parts: list[Any] = [
        (f"{counted(found['votes'], 'vote')} ({who}), {counted(found['ties'], 'tie')}\n\n", "bold"),
        "strength in log-odds, with its 95 % interval (Bradley–Terry)\n",
    ]
    for run in found["runs"]:
        ends = "" if run["low"] is None else f" [{run['low']:.2f}, {run['high']:.2f}]"
        told = "" if run["strength"] is None else f"{run['strength']:+.2f}{ends}"
        parts.append(f"{safe_line(run['run'], 24):<26}{told:<26}{safe_line(run['column'], 60)}\n")
    if found["reason"]:
        parts.append((f"\n{found['reason']}\n", "$warning"))
    parts.append(f"\nKrippendorff's alpha {_figure(found['alpha'])}\n")
    return Content.assemble(*parts, ("\nesc goes back to the queue", "$muted"))


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"
