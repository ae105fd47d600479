"""``llmops job``: list, follow, cancel and resume background jobs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, cast, overload

import typer

from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.errors import Interrupted, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.jobs.entries import JobEntry
    from llmops_tui.jobs.launcher import JobLauncher
    from llmops_tui.jobs.store import Job

app = typer.Typer(help="Background jobs.", no_args_is_help=True, rich_markup_mode=None)

_Id = Annotated[str, typer.Argument(help="The job's id, or a prefix of it.")]
_FOLLOW_SECONDS = 0.3
Result = TypeVar("Result", bound=Mapping[str, object])


@app.command("list")
def list_(context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT) -> None:
    """List jobs, newest first."""
    from llmops_tui.jobs.outcomes import outcome
    from llmops_tui.jobs.store import JobStore

    session = session_of(context)
    found = JobStore(session.event_log).all()
    rows = [(j.id, j.word, f"{j.progress:.0%}", j.title, outcome(j)) for j in found[:limit]]
    data = {"jobs": [j.as_dict() for j in found[:limit]], "total": len(found)}
    session.emit(data, lambda: session.rows(("job", "state", "progress", "title", "note"), rows, len(found)))


@app.command()
def show(context: typer.Context, job_id: _Id) -> None:
    """Show one job."""
    from llmops_tui.jobs.store import JobStore

    session = session_of(context)
    facts = JobStore(session.event_log).get(job_id).as_dict()
    session.emit(facts, lambda: "\n".join(f"{key:12} {value}" for key, value in facts.items() if value is not None))


@app.command()
def logs(
    context: typer.Context,
    job_id: _Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the output until the job ends.")] = False,
) -> None:
    """Print the output of a job."""
    from llmops_tui.jobs.output import read_output
    from llmops_tui.jobs.store import JobStore

    session = session_of(context)
    store = JobStore(session.event_log)
    job = store.get(job_id)
    parts = read_output(store.folder(job))
    while True:
        ended = job.state.final
        # What was kept of before comes in parts; nothing new is an empty one, or a log that is not there yet.
        for part in itertools.takewhile(bool, parts):
            text = part.decode("utf-8", "replace")
            if session.options.json:
                for line in text.splitlines():
                    session.emit_line({"line": line})
            else:
                session.stream(text)
        if ended or not follow:
            return
        time.sleep(_FOLLOW_SECONDS)
        job = store.get(job.id)


@app.command()
def cancel(context: typer.Context, job_id: _Id) -> None:
    """Cancel a job."""
    from llmops_tui.jobs.launcher import JobLauncher

    session = session_of(context)
    job = JobLauncher(session.workspace).cancel(job_id)
    session.emit(job.as_dict(), lambda: f"{job.id} is {job.state.value}")


@app.command()
def resume(context: typer.Context, job_id: _Id) -> None:
    """Resume the work of an ended job, as a new job."""
    from llmops_tui.jobs.launcher import JobLauncher

    session = session_of(context)
    job = JobLauncher(session.workspace).resume(job_id)
    session.emit(job.as_dict(), lambda: f"started {job.id}")


@overload
def run_job(
    session: Session,
    *,
    kind: str,
    title: str,
    entry: JobEntry[Result],
    arguments: Mapping[str, object],
    detach: Literal[False] = False,
) -> Result: ...
@overload
def run_job(
    session: Session,
    *,
    kind: str,
    title: str,
    entry: JobEntry[Result],
    arguments: Mapping[str, object],
    detach: bool,
) -> Result | None: ...
def run_job(
    session: Session,
    *,
    kind: str,
    title: str,
    entry: JobEntry[Result],
    arguments: Mapping[str, object],
    detach: bool = False,
) -> Result | None:
    """Start a job and wait for its result; detached, tell which it is and return none.

    Raises:
        LlmopsError: ``job_failed``, with its cause.
    """
    from llmops_tui.jobs.launcher import JobLauncher

    launcher = JobLauncher(session.workspace)
    job = launcher.start(kind=kind, title=title, entry=entry, arguments=arguments)
    if detach:
        session.emit(job.as_dict(), lambda: f"started {job.id}; llmops job show {job.id}")
        return None
    return cast("Result", follow_to_end(session, launcher, job.id).result or {})


def follow_to_end(session: Session, launcher: JobLauncher, job_id: str) -> Job:
    """Wait for a job, whoever started it, its progress shown where somebody watches; an interrupt cancels it.

    Raises:
        LlmopsError: ``job_failed``, with its cause.
    """
    from llmops_tui.jobs.store import JobState

    job = launcher.store.get(job_id)
    show = session.progress(job.title)
    try:
        while not job.state.final:
            if show is not None:
                show(min(job.progress, 0.99))
            time.sleep(_FOLLOW_SECONDS)
            job = launcher.store.get(job_id)
    except (LlmopsError, Interrupted):
        launcher.cancel(job_id)
        raise
    if job.state != JobState.DONE:
        raise LlmopsError("job_failed", f"{job.title}: {job.state.value}: {job.cause}", f"llmops job logs {job.id}")
    if show is not None:
        show(1.0)
    return job
