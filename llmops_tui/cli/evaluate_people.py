"""``llmops eval grade`` and ``vote``: people grade answers, or choose between two; agreement, ranking, labelled sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.evaluate_options import store_of
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.safe_text import safe_line
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmops_tui.evaluation.grading.records import GradeAgreement, Kappas, Ranking
    from llmops_tui.evaluation.grading.sheets import GradeSheet, VoteSheet

_Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="The runs; their answers are mixed.")]
_Grader = Annotated[str, typer.Option(help="Who grades; default: the setting grader, else the user's name.")]
_Question = Annotated[str, typer.Option(help="What is asked about each answer.")]
_List = Annotated[bool, typer.Option("--list", help="Print what is still to be done, without the names of runs.")]
_Say = Annotated[
    list[str] | None, typer.Option("--say", metavar="ITEM=VALUE", help="Keep a grade or vote; repeatable.")
]
_Export = Annotated[
    Path | None, typer.Option("--export", metavar="FILE", help="Write what is still to be done as .csv or .jsonl.")
]
_Import = Annotated[
    Path | None, typer.Option("--import", metavar="FILE", help="Read a file that was filled in; all of it or nothing.")
]
_Limit = Annotated[int, typer.Option(min=1, help="How many items --list prints.")]
_SHOWN = 60


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(grade)
    app.command()(vote)


def grade(
    context: typer.Context,
    runs: _Runs,
    criterion: Annotated[
        str, typer.Option(help="A judge or metric of the runs, or a name; default: the first judge, else quality.")
    ] = "",
    scale: Annotated[str, typer.Option(help="For a criterion of your own: the scale, such as 1-5 or 0-1.")] = "",
    question: _Question = "",
    grader: _Grader = "",
    listed: _List = False,
    say: _Say = None,
    export: _Export = None,
    read: _Import = None,
    to_dataset: Annotated[
        str, typer.Option("--to-dataset", metavar="NAME", help="Keep the graded answers as a dataset version.")
    ] = "",
    teach: Annotated[
        int, typer.Option("--teach", min=0, max=50, help="Show the judge so many graded answers: a new suite version.")
    ] = 0,
    limit: _Limit = LIMIT,
) -> None:
    """Grade answers blind, and print how far people agree with each other and with the judge. The app takes one key each."""
    from llmops_tui.evaluation.grading.agreement import agreement_of
    from llmops_tui.evaluation.grading.graded import make_dataset, teach_judge
    from llmops_tui.evaluation.grading.opening import grade_sheet, grader_name
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    _one_of({"--list": listed, "--export": export, "--to-dataset": to_dataset, "--teach": teach})
    who = grader_name(grader, session.settings.grader)
    store = store_of(session)
    sheet = grade_sheet(store, runs, who, criterion=criterion, scale=scale, question=question)
    if _worked_on(session, sheet, say, read, export, limit, listed=listed):
        return
    if to_dataset:
        version = make_dataset(sheet, to_dataset)
        UndoHistory(session.catalog, session.event_log).note_rows(version)
        session.emit(version.as_dict(), lambda: f"{version.ref}: {counted(version.rows, 'row')}, {version.note}")
        return
    if teach:
        suites = sorted({item.run.suite for item in sheet.items.values()})
        if len(suites) > 1:
            raise InputRefusedError("several_suites", f"the runs are of {', '.join(suites)}", "Name runs of one suite.")
        taught, count = teach_judge(sheet, suites[0], teach)
        UndoHistory(session.catalog, session.event_log).note_suite(taught)
        session.emit(
            {**taught.as_dict(), "examples": count},
            lambda: f"{taught.ref}: {sheet.criterion.name} is shown {counted(count, 'graded answer')}",
        )
        return
    found = agreement_of(sheet)
    done, total = sheet.progress
    data = {"grader": who, "done": done, "of": total, **found}
    session.emit(data, lambda: f"{_done(done, total, who)}\n{agreement_text(session, found)}")


def vote(
    context: typer.Context,
    runs: _Runs,
    criterion: Annotated[str, typer.Option(help="Under which name votes are kept.")] = "",
    question: _Question = "",
    grader: _Grader = "",
    listed: _List = False,
    say: _Say = None,
    export: _Export = None,
    read: _Import = None,
    limit: _Limit = LIMIT,
) -> None:
    """Choose between answers blind, and print the ranking of the runs (Bradley–Terry) with intervals."""
    from llmops_tui.evaluation.grading.agreement import ranking_of
    from llmops_tui.evaluation.grading.opening import grader_name, vote_sheet

    session = session_of(context)
    _one_of({"--list": listed, "--export": export})
    who = grader_name(grader, session.settings.grader)
    sheet = vote_sheet(store_of(session), runs, who, criterion=criterion, question=question)
    if _worked_on(session, sheet, say, read, export, limit, listed=listed):
        return
    found = ranking_of(sheet)
    done, total = sheet.progress
    data = {"grader": who, "done": done, "of": total, **found}
    session.emit(data, lambda: f"{_done(done, total, who)}\n{ranking_text(session, found)}")


def _one_of(asked: Mapping[str, object]) -> None:
    """Refuse options of which each says what is done in the end."""
    given = [option for option, value in asked.items() if value]
    if len(given) > 1:
        raise InputRefusedError("bad_option", f"{' and '.join(given)} exclude each other", "Give one at a time.")


def _worked_on(
    session: Session,
    sheet: GradeSheet | VoteSheet,
    say: list[str] | None,
    read: Path | None,
    export: Path | None,
    limit: int,
    *,
    listed: bool,
) -> bool:
    """Do what is asked of a sheet's items; whether that was all that was asked."""
    from llmops_tui.evaluation.grading.files import lines_of, read_sheet, write_sheet
    from llmops_tui.evaluation.grading.words import read_words

    if say:
        sheet.say_all(read_words(sheet, say))
    if read is not None:
        known, empty = read_sheet(sheet, with_home(read))
        session.say(f"{counted(known, 'line')} read, {empty:,} without a value")
    if export is not None:
        count = write_sheet(sheet, with_home(export))
        session.emit({"file": str(export), "items": count}, lambda: f"{export}: {counted(count, 'item')}")
        return True
    if listed:
        lines = lines_of(sheet)
        c = sheet.criterion
        data = {"question": c.question, "values": list(sheet.values()), "items": lines[:limit], "total": len(lines)}
        rows = [
            (line["item"], _end_of(line["question"]), *(safe_line(a, _SHOWN) for a in _answers(line)))
            for line in lines[:limit]
        ]
        headers = ("item", "question", *(("answer 1", "answer 2") if sheet.kind == "vote" else ("answer",)))
        session.emit(data, lambda: f"{c.question}\n\n{session.rows(headers, rows, len(lines))}")
        return True
    return False


def _answers(line: object) -> list[str]:
    assert isinstance(line, dict)
    return [line[name] for name in ("answer", "answer_1", "answer_2") if name in line]


def _done(done: int, total: int, who: str) -> str:
    return f"{done:,} of {counted(total, 'item')} done by {who}"


def agreement_text(session: Session, found: GradeAgreement) -> str:
    """Agreement for people."""
    if not found["graders"]:
        return "Nobody has graded these answers yet: --list, --export FILE, or h on the evaluation screen."
    head = ", ".join(f"{name} {count:,}" for name, count in found["graders"].items())
    alpha = found["alpha"]
    parts = [
        f"{found['criterion']} ({found['scale'][0]} to {found['scale'][1]}): {head}",
        (
            f"Krippendorff's alpha over {counted(found['with_several'], 'answer')} graded by several: nominal "
            f"{_figure(alpha['nominal'])}, ordinal {_figure(alpha['ordinal'])}, interval {_figure(alpha['interval'])}"
        ),
    ]
    rows = [(name, *_cells(kappas)) for name, kappas in found["pairs"].items()]
    rows += [(f"{found['metric']} · {name}", *_cells(kappas)) for name, kappas in found["judge"].items()]
    if len(found["judge"]) > 1 and found["judge_mean"] is not None:
        rows.append((f"{found['metric']} · mean of people", *_cells(found["judge_mean"])))
    if rows:
        parts.append(session.rows(("between", "answers", "κ", "κ quadratic"), rows))
    return "\n".join(parts)


def _cells(found: Kappas) -> tuple[str, str, str]:
    return str(found["n"]), _figure(found["kappa"]), _figure(found["kappa_quadratic"])


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _end_of(question: str) -> str:
    """The end of what was asked, where the question stands: what comes before is often the same in all of them."""
    line = safe_line(question)
    return line if len(line) <= _SHOWN else f"…{line[1 - _SHOWN :]}"


def ranking_text(session: Session, found: Ranking) -> str:
    """A ranking for people."""
    if not found["votes"]:
        return "Nobody has voted between these runs yet: --list, --export FILE, or v on the evaluation screen."
    who = ", ".join(f"{name} {count:,}" for name, count in found["graders"].items())
    head = (
        f"{counted(found['votes'], 'vote')} ({who}) on {counted(found['cases'], 'case')}, {counted(found['ties'], 'tie')}; "
        f"Krippendorff's alpha {_figure(found['alpha'])}"
    )
    rows = [
        (r["run"], r["column"], r["votes"], _ends(r["strength"], r["low"], r["high"]),
         _ends(r["chance"], r["chance_low"], r["chance_high"]))
        for r in found["runs"]
    ]  # fmt: skip
    told = session.rows(("run", "asked", "votes", "strength, 95 %", "wins over the first, 95 %"), rows)
    return "\n".join([head, told, *([found["reason"]] if found["reason"] else [])])


def _ends(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
