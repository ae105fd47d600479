"""``llmops eval task``: standard tasks of other harnesses, kept as runs here."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli import evaluate_report
from llmops_tui.cli.evaluate_options import Fresh, store_of
from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import session_of
from llmops_tui.errors import InputRefusedError


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(task)


def task(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="TASK", help="The task's name in the harness, such as gsm8k; for inspect also FILE.py."),
    ],
    model: Annotated[str, typer.Option(help="The model, or MODEL+ADAPTER.")],
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--file", metavar="[SPLIT=]FILE", help="The data, as .jsonl, .csv or .parquet; repeatable: train=FILE."
        ),
    ] = None,
    harness: Annotated[str, typer.Option("--with", help="The harness that scores: lm-eval or inspect.")] = "lm-eval",
    program: Annotated[
        str, typer.Option(metavar="PATH", help="For inspect: its program, if it has an environment of its own.")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Ask only the first so many documents.")] = None,
    fewshot: Annotated[
        int | None, typer.Option(min=0, max=100, help="Examples before each question; default: as the task says.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Ask by the model's chat template, not as text to continue.")
    ] = False,
    fresh: Fresh = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Run a standard task on a model with the harness's own scoring; the result is a run like any other."""
    from llmops_tui.evaluation.tasks.asking import INSPECT, LM_EVAL, TaskAsked, arguments_of
    from llmops_tui.evaluation.tasks.job import ENTRY

    session = session_of(context)
    store = store_of(session)
    if harness not in {LM_EVAL, INSPECT}:
        raise InputRefusedError("unknown_harness", f"{harness!r} is no harness", f"Known: {LM_EVAL}, {INSPECT}.")
    asked = TaskAsked(
        harness=harness,  # type: ignore[arg-type]  # checked above
        task=name,
        model=model,
        files=tuple(files or ()),
        limit=limit,
        fewshot=fewshot,
        chat=chat,
        fresh=fresh,
        program=program,
    )
    arguments = arguments_of(asked)
    store.registry.writing(model)
    # The job loads the model by them; what is wrong in them is told here, where somebody reads it.
    _ = session.settings
    found = run_job(
        session, kind="task", title=f"{name} on {model}", entry=ENTRY, arguments={"arguments": arguments}, detach=detach
    )
    if found is None:
        return
    states = store.states([store.get(one["run"]) for one in found["runs"]])
    shown = [state.as_dict() for state in states]
    session.emit(shown[0] | {"runs": shown}, lambda: "\n\n".join(evaluate_report.run_text(session, s) for s in states))
