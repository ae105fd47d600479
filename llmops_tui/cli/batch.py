"""``llmops batch``: answer a file of requests as a job."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import LIMIT, session_of
from llmops_tui.errors import ExitCode, LlmopsError

app = typer.Typer(help="Files of requests, answered as jobs.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def run(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Requests, one per line, in the form of OpenAI's batches.")],
    output: Annotated[Path | None, typer.Option(help="The file to write answers to; it must not exist.")] = None,
    model: Annotated[str, typer.Option("--model", help="Ask this model, whatever model the requests name.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Only check the requests.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many faulty lines to list.")] = LIMIT,
    target: Annotated[
        str, typer.Option("--target", metavar="ray:ADDRESS", help="Answer on the nodes of a Ray cluster.")
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Check every request of a file, then answer them; `llmops job resume` continues after an interruption."""
    from llmops_tui.inference.batch.job import open_requests, refusal
    from llmops_tui.inference.filed.batches import CLUSTER_ENTRY, ENTRY
    from llmops_tui.inference.filed.output import output_exists
    from llmops_tui.retrieval.batch_job import prompt_lines

    session = session_of(context)
    if output is None and not check:
        raise LlmopsError("usage", "where do the answers go? Give --output FILE, or --check", exit_code=ExitCode.USAGE)
    if output is not None and os.path.lexists(output):
        raise output_exists(output)
    with contextlib.ExitStack() as stack:
        # On nodes of a cluster there are no prompts.
        prompts = None if target else stack.enter_context(contextlib.closing(prompt_lines(session.workspace)))
        checked = open_requests(session.workspace, file, model, prompts=prompts).check()
    rows = [(p["line"], p["custom_id"], p["message"]) for p in checked.problems[:limit]]
    if check:
        asked = {name: len(lines) for name, lines in checked.by_model.items()}
        data = {
            "requests": len(checked.lines),
            "models": asked,
            "problems": checked.problems[:limit],
            "total_problems": len(checked.problems),
        }
        summary = ", ".join(f"{count} to {name}" for name, count in asked.items()) or "none can be asked"
        session.emit(
            data,
            lambda: (
                session.rows(("line", "custom_id", "problem"), rows, len(checked.problems))
                if rows
                else f"{len(checked.lines)} requests: {summary}"
            ),
        )
        if checked.problems:
            raise typer.Exit(int(ExitCode.REFUSED))
        return
    if checked.problems:
        for number, _, message in rows:
            session.say(f"line {number}: {message}")
        raise refusal(checked, file)
    assert output is not None
    arguments = {"requests": str(file.resolve()), "output": str(output.absolute()), "model": model}
    title = f"answer {len(checked.lines)} requests of {file.name}"
    entry = ENTRY
    if target:
        entry = CLUSTER_ENTRY
        arguments["target"] = cluster_of(target)
    found = run_job(session, kind="batch", title=title, entry=entry, arguments=arguments, detach=detach)
    if found is not None:
        session.emit(
            found, lambda: f"{found['output']}: {found['completed']} answered, {found['failed']} with an error"
        )


def cluster_of(given: str) -> str:
    """A target as it was given, or none.

    Raises:
        LlmopsError: ``usage``: it is none.
    """
    from llmops_tui.training.targets import target_of

    try:
        if given:
            target_of(given)
    except ValueError as error:
        raise LlmopsError("usage", str(error), exit_code=ExitCode.USAGE) from error
    return given


@app.command()
def status(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id, or a prefix of it.")],
) -> None:
    """Show how many requests of a batch are answered."""
    from llmops_tui.inference.filed.output import counts_of
    from llmops_tui.jobs.store import JobStore

    session = session_of(context)
    job = JobStore(session.event_log).get(job_id)
    if job.kind != "batch":
        raise LlmopsError("not_a_batch", f"{job.id} is a job of kind {job.kind}", f"llmops job show {job.id}")
    output = str(job.spec["arguments"]["output"])
    answered, failed = counts_of(Path(output))
    data = {**job.as_dict(), "output": output, "answered": answered, "failed": failed}
    told = f"{job.id} is {job.state.value}: {answered} answered, {failed} of them with an error, in {output}"
    session.emit(data, lambda: f"{told}\n{job.cause}".strip())
