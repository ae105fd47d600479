"""The ``llmops`` command: global options, the nouns, and how failures become exit codes."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from llmops_tui import __version__, streams
from llmops_tui.cli import (
    data,
    doctor,
    evaluate,
    generate,
    job,
    maintenance,
    model,
    model_get,
    model_remove,
    monitor,
    prompt,
    record_remove,
    serve,
    sql,
    traces,
    train,
    trust,
    work_remove,
)
from llmops_tui.cli.options import Globals, split_globals
from llmops_tui.cli.output import Session, report_error, session_of, unforeseen
from llmops_tui.cli.start import need_terminal, offered, open_app
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.system_errors import explain_system_error
from llmops_tui.workspace.checksums import record_checksums_at_end
from llmops_tui.workspace.layout import Workspace, find_workspace, read_only_error

_EPILOG = "Everywhere: --workspace DIR, --json, --quiet, --no-color. Exit codes: 0 done, 1 failed, 2 usage, 3 refused."

app = typer.Typer(
    name="llmops",
    help="Local LLM engineering in the terminal. Without a command it opens the app on the workspace.",
    epilog=_EPILOG,
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.add_typer(prompt.app, name="prompt")
app.add_typer(model.app, name="model")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="eval")
app.add_typer(monitor.app, name="monitor")
app.add_typer(traces.app, name="traces")
app.add_typer(job.app, name="job")
model.app.command("get")(model_get.get)
model.app.command("remove")(model_remove.remove)
train.app.command("remove")(work_remove.training)
evaluate.app.command("remove")(work_remove.evaluation)
job.app.command("remove")(work_remove.job)
data.app.command("remove")(record_remove.dataset)
prompt.app.command("remove")(record_remove.prompt)
traces.app.command("remove")(record_remove.traces)
app.command("generate")(generate.generate)
app.command("serve")(serve.serve)
app.command("embed")(serve.embed)
app.command("doctor")(doctor.doctor)
app.command("sql")(sql.sql)
app.command("lineage")(maintenance.lineage)
app.command("backup")(maintenance.backup)
app.command("restore")(maintenance.restore)
app.command("trust")(trust.trust)
app.command("check")(maintenance.check)
app.command("gc")(maintenance.gc)


@app.callback(invoke_without_command=True)
def tui(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version.")] = False,
) -> None:
    """Open the app on the workspace."""
    session = session_of(context)
    if version:
        session.emit({"version": __version__}, lambda: f"llmops {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(open_app(offered(session.place)))


@app.command()
def init(
    context: typer.Context,
    sample: Annotated[bool, typer.Option("--sample", help="Fill it from the sample data.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="With --sample: fetch its real model, 93 MB, first.")] = False,
    lost: Annotated[
        bool,
        typer.Option(
            "--replace-lost", help="Create an empty catalog or event log if the file of this workspace is missing."
        ),
    ] = False,
) -> None:
    """Create a workspace, optionally with the sample data."""
    from llmops_tui.workspace.marker import make_workspace, replace_lost

    session = session_of(context)
    if lost:
        names = replace_lost(session.place)
        session.say(f"begun anew: {', '.join(names)}" if names else "nothing of this workspace is lost")
    session.used = workspace = make_workspace(session.place)
    if fetch and not sample:
        raise LlmopsError("usage", "--fetch goes with --sample", exit_code=ExitCode.USAGE)
    if sample:
        from llmops_tui.cli.real_model import find_real_model, missing_text
        from llmops_tui.sample import fill

        real = find_real_model(session, fetch=fetch)
        facts = fill(workspace, real)
        if real is None:
            session.say(missing_text(("init", "--sample"), session.options.workspace))
    else:
        session.catalog.read(lambda _connection: None)
        facts = {"workspace": str(workspace.root), "models": [], "datasets": [], "prompts": [], "suites": []}
    session.emit(facts, lambda: f"workspace ready: {facts['workspace']}")


@app.command()
def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Where the demo workspace is kept; else llmops-demo.", show_default=False),
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch a real instruct model, 93 MB, first.")] = False,
) -> None:
    """Open the app on a workspace with the sample data."""
    from llmops_tui.cli.real_model import find_real_model, missing_text
    from llmops_tui.sample import fill
    from llmops_tui.workspace.layout import FOLDER_NAME

    session = session_of(context)
    need_terminal()
    given = session.options.workspace
    if given and folder:
        raise LlmopsError("usage", "--dir and --workspace name two places: give one", exit_code=ExitCode.USAGE)
    workspace = find_workspace(given or (folder or Path("llmops-demo")) / FOLDER_NAME)
    real = find_real_model(session, fetch=fetch)
    if not workspace.root.exists():
        session.say(f"Making the demo's workspace, once: {workspace.root}")
    fill(workspace, real)
    notes = () if real is not None else (missing_text(("demo", *(("--dir", str(folder)) if folder else ())), given),)
    for note in notes:
        session.say(note)
    raise typer.Exit(open_app(workspace, notes))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    options = Globals(json="--json" in arguments)
    signal.signal(signal.SIGINT, _interrupted)
    try:
        options, rest = split_globals(arguments)
        if not options.color:
            os.environ["NO_COLOR"] = "1"
        with streams.watched():
            return _call(Session(options), rest)
    except LlmopsError as error:
        return report_error(options, error)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        return int(ExitCode.FAILED)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever nobody foresaw
        return report_error(options, _explain(error, find_workspace(options.workspace)))


def _call(session: Session, rest: list[str]) -> int:
    """Call the command; what it reads and writes of a workspace is checksummed at its end, however that is."""
    try:
        app(rest, prog_name="llmops", obj=session)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(ExitCode.DONE if stop.code is None else ExitCode.FAILED)
    finally:
        if session.used is not None:
            record_checksums_at_end(session.used)
    return int(ExitCode.DONE)


def _explain(error: Exception, workspace: Workspace) -> LlmopsError:
    """What was refused, where nobody nearer to it said so."""
    if isinstance(error, OSError) and workspace.read_only:
        return read_only_error(workspace)
    return explain_system_error(error, str(workspace.root)) or unforeseen(error)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    raise LlmopsError("interrupted", "interrupted", exit_code=ExitCode.INTERRUPTED)
