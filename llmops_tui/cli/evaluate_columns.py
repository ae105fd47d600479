"""``llmops eval columns``: the answers of several runs side by side, those that disagree first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.evaluate_options import store_of
from llmops_tui.cli.output import LIMIT, session_of
from llmops_tui.errors import InputRefusedError
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.evaluation.columns.side_by_side import Narrowed

_SHOWN = 40


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(columns)


def columns(
    context: typer.Context,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs of one suite, or one: all its columns.")],
    metric: Annotated[str, typer.Option(help="Show and order by this metric; default: the first that all have.")] = "",
    differ: Annotated[bool, typer.Option("--differ", help="Only cases on which the runs disagree.")] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only cases that some run has not wholly right.")] = False,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", metavar="NAME=VALUE", help="Only cases of this slice; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many cases are printed.")] = LIMIT,
) -> None:
    """Print what several runs answered to each case, side by side; cases on which they disagree come first."""
    from llmops_tui.evaluation.columns.side_by_side import by_disagreement, columns_of, metrics_of, read_side_by_side

    session = session_of(context)
    if differ and wrong:
        raise InputRefusedError("bad_option", "--differ and --wrong exclude each other")
    store = store_of(session)
    chosen = [store.get(name) for name in dict.fromkeys(runs)]
    if len(chosen) == 1:
        chosen = columns_of(chosen[0], store.all())
    known = metrics_of(chosen)
    if metric and metric not in known:
        raise InputRefusedError(
            "unknown_metric", f"not all of these runs have the metric {metric!r}", f"All have {', '.join(known)}."
        )
    metric = metric or (known[0] if known else "")
    rows = by_disagreement(read_side_by_side(chosen, _slices(slices or [])), metric)
    narrowed: Narrowed = "differ" if differ else "wrong" if wrong else "all"
    found = [row for row in rows if row.is_among(metric, narrowed)]
    data = {
        "runs": [run.name for run in chosen],
        "columns": [run.column for run in chosen],
        "metric": metric,
        "total": len(found),
        "rows": [row.as_dict(metric) for row in found[:limit]],
    }

    def cells(row_scores: list[float | None], texts: list[str]) -> list[str]:
        return [
            f"{'–' if score is None else format(score, '.3g')} {safe_line(text, _SHOWN)}".rstrip()
            for score, text in zip(row_scores, texts, strict=True)
        ]

    def human() -> str:
        shown = [
            (
                row.case.index,
                *cells(row.scores(metric), ["" if r is None else r.answer.text or r.answer.error for r in row.results]),
            )
            for row in found[:limit]
        ]
        heads = [f"{run.name}: {metric}" if metric else run.name for run in chosen]
        return session.rows(("case", *heads), shown, len(found))

    session.emit(data, human)


def _slices(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputRefusedError(
                "bad_option", f"--slice {text!r} is no NAME=VALUE", "For example --slice intent=refund."
            )
        if found.setdefault(name, value) != value:
            raise InputRefusedError("bad_option", f"a case has one value of the slice {name!r}, and two are given")
    return found
