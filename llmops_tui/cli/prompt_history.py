"""``llmops prompt blame`` and ``bisect``: which version brought a line, and which one broke a case."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.evaluation.bisection import Bisection, FoundRecord

_Ref = Annotated[str, typer.Argument(help="name, name@number or name@label.")]


def blame(context: typer.Context, ref: _Ref) -> None:
    """Show for each line of a version which version brought it, and when."""
    from llmops_tui.prompts.blame import blame as blamed
    from llmops_tui.prompts.store import PromptStore

    session = session_of(context)
    store = PromptStore(session.catalog)
    version = store.get(ref)
    lines = blamed(store.versions(version.prompt, candidates=True), version.number)
    rows = [(f"@{one.version.number}", _when(one.version.created_at), one.section, one.line, one.text) for one in lines]
    data = {"prompt": version.prompt, "version": version.number, "lines": [one.as_dict() for one in lines]}
    session.emit(data, lambda: session.rows(("since", "saved", "in", "line", "text"), rows))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def bisect(
    context: typer.Context,
    suite: Annotated[
        str, typer.Argument(help="The suite's name or file; it is run whole, so its other cases are known, too.")
    ],
    case: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|ID",
            help="The case that broke, by its number in llmops eval show RUN --failures, from 0, or its id.",
        ),
    ],
    good: Annotated[str, typer.Option(help="A version that was right: name@number or name@label.")],
    bad: Annotated[str, typer.Option(help="A later version that is wrong.")],
    model: Annotated[str, typer.Option("--model", help="The model; default: the suite's first.")] = "",
    metric: Annotated[str, typer.Option(help="What it is judged by; default: the suite's first metric.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Use no run and no answer that was kept before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before running; for scripts.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print how many runs it takes, and run none.")] = False,
) -> None:
    """Find the version of a prompt that broke a case, by as few evaluations as possible; runs that are there count."""
    from llmops_tui.cli.evaluate import follow
    from llmops_tui.cli.evaluate_options import suite_of
    from llmops_tui.evaluation.bisection import Bisection
    from llmops_tui.evaluation.store import EvaluationStore

    session = session_of(context)
    store = EvaluationStore(session.workspace)
    bisection = Bisection.between(
        store, suite_of(session, store, suite), good, bad, case=case, metric=metric, model=model, fresh=fresh
    )
    most = bisection.most_runs
    plan = _plan_text(bisection, most)
    if dry_run:
        session.emit({"versions": [v.number for v in bisection.versions], "most_runs": most}, lambda: plan)
        return
    if bisection.next() is not None and not yes:
        _ask(plan)
    while (wanted := bisection.next()) is not None:
        session.say(f"{wanted.ref} …")
        (run,) = store.start(bisection.suite, [bisection.column(wanted)])
        follow(session, store, [run.name])
        bisection.look(wanted, run.name)
    found = bisection.found()
    session.emit(found, lambda: _found_text(found))


def _ask(plan: str) -> None:
    if not sys.stdin.isatty():
        raise LlmopsError(
            "nobody_to_ask", f"{plan}, and without a terminal this cannot be confirmed", "Give --yes.", ExitCode.USAGE
        )
    if not typer.confirm(f"{plan}. Run them?", default=True, err=True):
        raise InputRefusedError("not_confirmed", "nothing was run", "--dry-run prints how many runs it takes.")


def _plan_text(bisection: Bisection, most: int) -> str:
    first, last = bisection.versions[0], bisection.versions[-1]
    return (
        f"{counted(len(bisection.versions), 'version')} from {first.ref} to {last.ref}: "
        f"at most {counted(most, 'run')} of {bisection.suite.ref} on {bisection.model}"
    )


def _found_text(found: FoundRecord) -> str:
    prompt, broke = found["prompt"], found["broke"]
    tried = "\n".join(
        f"  @{one['version']}  {one['run']}  {'not scored' if one['value'] is None else format(one['value'], 'g')}"
        for one in found["tried"]
    )
    head = f"{prompt}@{broke} broke case {found['case']} of {found['suite']} by {found['metric']}"
    if found["unclear"]:
        between = ", ".join(f"@{number}" for number in found["unclear"])
        head = f"{prompt}@{broke} or one before it broke case {found['case']}: {between} could not be scored"
    lines = [head, f"the last that was right: {prompt}@{found['last_good']}", "", tried, ""]
    lines += [found["caution"], ""] if found["caution"] else []
    return "\n".join([*lines, f"llmops prompt diff {prompt}@{found['last_good']} {prompt}@{broke}"])
