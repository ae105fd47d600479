"""The ``llmops`` command: global options, the nouns, and how failures become exit codes."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from llmops_tui import __version__, streams
from llmops_tui.cli.commands import LazyGroup
from llmops_tui.cli.options import Globals, split_globals
from llmops_tui.cli.output import Session, report_error, session_of
from llmops_tui.errors import ExitCode, Interrupted, LlmopsError
from llmops_tui.workspace.layout import Workspace, find_workspace, read_only_error

_EPILOG = "Everywhere: --workspace DIR, --json, --quiet, --no-color. Exit codes: 0 done, 1 failed, 2 usage, 3 refused."

app = typer.Typer(
    name="llmops",
    cls=LazyGroup,
    help="Local LLM engineering in the terminal. Without a command it opens the app on the workspace.",
    epilog=_EPILOG,
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        from llmops_tui.cli.start import offered, open_app

        raise typer.Exit(open_app(offered(session.place)))


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
    except Interrupted as stop:
        return report_error(options, LlmopsError("interrupted", stop.message, exit_code=ExitCode.INTERRUPTED))
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
    except Interrupted:
        raise
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(ExitCode.DONE if stop.code is None else ExitCode.FAILED)
    finally:
        if session.used is not None:
            from llmops_tui.workspace.checksums import record_checksums_at_end

            record_checksums_at_end(session.used)
    return int(ExitCode.DONE)


def _explain(error: Exception, workspace: Workspace) -> LlmopsError:
    """What was refused, where nobody nearer to it said so."""
    if isinstance(error, OSError) and workspace.read_only:
        return read_only_error(workspace)
    from llmops_tui.system_errors import explain_system_error, unforeseen

    return explain_system_error(error, str(workspace.root)) or unforeseen(error)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted
