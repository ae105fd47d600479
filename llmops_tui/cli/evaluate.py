"""``llmops eval``: run suites, list runs, and check them against gates."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli import (
    evaluate_columns,
    evaluate_models,
    evaluate_people,
    evaluate_plan,
    evaluate_redteam,
    evaluate_report,
    evaluate_task,
)
from llmops_tui.cli.archive import AlsoArchived, left
from llmops_tui.cli.evaluate_options import Fresh, RunName, SuiteName, store_of, suite_of
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.errors import ExitCode, InputRefusedError, Interrupted, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.evaluation.store import EvaluationStore

app = typer.Typer(help="Evaluation.", no_args_is_help=True, rich_markup_mode=None)
evaluate_report.add_to(app)
evaluate_columns.add_to(app)
evaluate_models.add_to(app)
evaluate_people.add_to(app)
evaluate_plan.add_to(app)
evaluate_task.add_to(app)
evaluate_redteam.add_to(app)

_FOLLOW_SECONDS = 0.3


@app.command()
def run(
    context: typer.Context,
    given: SuiteName,
    models: Annotated[list[str] | None, typer.Option("--model", help="The model to evaluate; repeatable.")] = None,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", help="The prompt version to use; repeatable.")
    ] = None,
    parallel: Annotated[
        int, typer.Option(min=0, max=64, help="Number of parallel requests; 0: the value from the settings.")
    ] = 0,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Run a sample of this many cases, drawn with the suite's seed; the suite stays as it is."
        ),
    ] = None,
    fresh: Fresh = False,
    target: Annotated[
        str, typer.Option("--target", metavar="ray:ADDRESS", help="Have the nodes of a Ray cluster answer.")
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Run every case of a suite, score the answers, and print each metric with its interval; one job for all columns."""
    from llmops_tui.cli.batch import cluster_of
    from llmops_tui.evaluation.runner.failing import require_answers
    from llmops_tui.evaluation.runner.on_cluster import refuse_elsewhere

    session = session_of(context)
    store = store_of(session)
    # The job loads models by them; what is wrong in them is told here, where somebody reads it.
    _ = session.settings
    version = suite_of(session, store, given)
    columns = store.columns(version.suite, models, prompts, parallel, limit=limit, fresh=fresh)
    if target:
        refuse_elsewhere(version.suite, columns, store.registry)
    runs = store.start(version, columns, cluster_of(target))
    names = [entry.name for entry in runs]
    if not detach:
        follow(session, store, names)
    states = store.states([store.get(name) for name in names])
    shown = [state.as_dict() for state in states]
    session.emit(shown[0] | {"runs": shown}, lambda: "\n\n".join(evaluate_report.run_text(session, s) for s in states))
    require_answers([state.run for state in states])


def follow(session: Session, store: EvaluationStore, names: list[str]) -> None:
    """Wait until all runs have ended, with their running figures; an interrupt cancels the job."""
    from llmops_tui.jobs.launcher import JobLauncher
    from llmops_tui.jobs.store import JobState

    job = store.state(store.get(names[0])).job
    assert job is not None
    show = session.progress(job.title)
    said = ""
    try:
        while not job.state.final:
            if show is not None:
                show(min(job.progress, 0.99))
            elif job.message != said:
                said = job.message
                session.say(said)
            time.sleep(_FOLLOW_SECONDS)
            job = store.jobs.get(job.id)
    except (LlmopsError, Interrupted):
        JobLauncher(session.workspace).cancel(job.id)
        raise
    # A run that ended without an answer has its record, which says why: whoever asked for it tells that.
    if job.state != JobState.DONE and any(store.get(name).summary is None for name in names):
        hint = f"Answers so far are kept; llmops eval resume {names[0]} continues."
        raise LlmopsError("job_failed", f"{job.title}: {job.state.value}: {job.cause}", hint)


@app.command()
def resume(
    context: typer.Context,
    name: RunName,
    detach: Annotated[bool, typer.Option("--detach")] = False,
    here: Annotated[
        bool, typer.Option("--here", help="This machine answers the rest of what a Ray cluster was to answer.")
    ] = False,
) -> None:
    """Continue a run that ended early, where it was to be answered; answered cases are not run again."""
    from llmops_tui.evaluation.runner.failing import require_answers

    session = session_of(context)
    store = store_of(session)
    target = store.resume(name, here=here).run.target
    if here:
        session.say(f"{name} goes on on this machine; what the cluster answered stays")
    elif target:
        session.say(f"{name} goes on on {target}; --here has this machine answer the rest")
    if not detach:
        follow(session, store, [name])
    state = store.state(store.get(name))
    session.emit(state.as_dict(), lambda: evaluate_report.run_text(session, state))
    require_answers([state.run])


def _name_damaged(session: Session, damaged: dict[str, LlmopsError]) -> None:
    """Name the rows that cannot be read; those that can are listed all the same."""
    for name, error in damaged.items():
        session.say(f"{name} is left out: {error.message}")


@app.command("list")
def list_(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT, archived: AlsoArchived = False
) -> None:
    """List runs, newest first."""
    session = session_of(context)
    store = store_of(session)
    sound, damaged = store.readable()
    _name_damaged(session, damaged)
    runs = left(session, "evaluation", sound, lambda run: run.name, also=archived)
    states = store.states(runs[:limit])
    rows = [(s.run.name, s.shown, s.run.suite_ref, s.run.column, evaluate_report.first_figure(s)) for s in states]
    session.emit(
        {"runs": [s.as_dict() for s in states], "total": len(runs), "damaged": sorted(damaged)},
        lambda: session.rows(("run", "state", "suite", "asked", "figure"), rows, len(runs)),
    )


@app.command()
def suites(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT, archived: AlsoArchived = False
) -> None:
    """List the saved suites and the bundled ones."""
    from llmops_tui.evaluation.bundled_suites import shipped

    session = session_of(context)
    every, damaged = store_of(session).readable_suites()
    _name_damaged(session, damaged)
    kept = {v.suite.name for v in every} | {ref.partition("@")[0] for ref in damaged}
    found = left(session, "suite", every, lambda v: v.suite.name, also=archived)
    rows: list[tuple[Any, ...]] = [
        (
            v.ref,
            evaluate_report.cases_text(v.suite),
            ", ".join(m.called for m in v.suite.made_metrics()),
            v.suite.description,
        )
        for v in found[:limit]
    ]
    extra = [suite for name, suite in shipped().items() if name not in kept]
    rows += [
        (s.name, evaluate_report.cases_text(s), ", ".join(m.called for m in s.made_metrics()), s.description)
        for s in extra
    ]
    data = {
        "suites": [v.as_dict() for v in found[:limit]],
        "total": len(found),
        "damaged": sorted(damaged),
        "shipped": [{"suite": s.name, "description": s.description} for s in extra],
    }
    session.emit(data, lambda: session.rows(("suite", "cases", "metrics", "description"), rows))


@app.command()
def suite(context: typer.Context, given: SuiteName) -> None:
    """Print a suite as YAML; a file is validated and saved as a new version."""
    session = session_of(context)
    version = suite_of(session, store_of(session), given)
    session.emit(version.as_dict(), lambda: f"# {version.ref}\n{version.suite.to_yaml().rstrip()}")


@app.command()
def gate(
    context: typer.Context,
    name: RunName,
    baseline: Annotated[str | None, typer.Option(help="The baseline run.")] = None,
    rules: Annotated[
        list[str] | None, typer.Option("--rule", help="A rule; repeatable. Default: the rules of the suite.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Also fail if the result of a rule is uncertain.")] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the results to this JUnit file.")
    ] = None,
) -> None:
    """Check a run against rules. Exit 1 if the gate fails."""
    from llmops_tui.evaluation.gates import passes
    from llmops_tui.evaluation.reports import export as write
    from llmops_tui.evaluation.run_comparison import gate as ask_gate

    session = session_of(context)
    store = store_of(session)
    rulings = ask_gate(store, name, baseline, rules or [])
    opens = passes(rulings, strict=strict)
    if junit is not None:
        if junit.suffix != ".xml":
            raise InputRefusedError("bad_suffix", f"--junit {junit}: the name of a JUnit file ends in .xml")
        write(store.get(name), junit, rulings=rulings)
    data = {"run": name, "baseline": baseline, "passes": opens, "rules": [r.as_dict() for r in rulings]}
    rows = [(r.outcome, r.rule, r.why) for r in rulings]
    verdict = "the gate passes" if opens else "the gate fails"
    session.emit(data, lambda: f"{session.rows(('', 'rule', 'why'), rows)}\n{verdict}")
    if not opens:
        raise typer.Exit(int(ExitCode.FAILED))
