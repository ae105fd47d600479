"""``llmops eval task``: standard tasks of other harnesses, kept as runs here."""

from __future__ import annotations

from pathlib import Path
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
    from llmops_tui.evaluation.tasks.job import ENTRY, check_harness

    session = session_of(context)
    store = store_of(session)
    _check_options(harness, files or [], fewshot, program, chat=chat, fresh=fresh)
    check_harness(harness, program)
    store.registry.get(model)
    # The job loads the model by them; what is wrong in them is told here, where somebody reads it.
    _ = session.settings
    arguments = {
        "harness": harness,
        "task": _task(name, harness),
        "model": model,
        "files": _files(files or []),
        "limit": limit,
        "fewshot": fewshot,
        "chat": chat,
        "fresh": fresh,
        "program": program,
    }
    found = run_job(
        session, kind="task", title=f"{name} on {model}", entry=ENTRY, arguments={"arguments": arguments}, detach=detach
    )
    if found is None:
        return
    states = store.states([store.get(one["run"]) for one in found["runs"]])
    shown = [state.as_dict() for state in states]
    session.emit(shown[0] | {"runs": shown}, lambda: "\n\n".join(evaluate_report.run_text(session, s) for s in states))


def _task(name: str, harness: str) -> str:
    """The task as the job finds it, which is at work in a folder of its own; a file may name one of its tasks: FILE.py@TASK."""
    file, at, one = name.partition("@")
    path = Path(file).expanduser()
    return f"{path.resolve()}{at}{one}" if harness == "inspect" and path.is_file() else name


def _check_options(
    harness: str, files: list[str], fewshot: int | None, program: str, *, chat: bool, fresh: bool
) -> None:
    """Refuse options that the harness would not be told.

    Raises:
        InputRefusedError: ``bad_option``.
    """
    theirs = {"--file": bool(files), "--fewshot": fewshot is not None, "--chat": chat, "--fresh": fresh}
    for option, is_given in theirs.items() if harness == "inspect" else {"--program": bool(program)}.items():
        if is_given:
            raise InputRefusedError(
                "bad_option",
                f"{option} is not for {harness}",
                "Tasks of Inspect name their data and examples, and are always asked anew."
                if harness == "inspect"
                else "",
            )


def _files(given: list[str]) -> dict[str, str]:
    """Files by split; one without a name is what is asked.

    Raises:
        InputRefusedError: ``file_missing``, ``bad_file``.
    """
    found: dict[str, str] = {}
    for text in given:
        split, equals, rest = text.partition("=")
        path, name = (Path(rest), split) if equals and not Path(text).expanduser().exists() else (Path(text), "test")
        path = path.expanduser().resolve()
        if not path.is_file():
            raise InputRefusedError("file_missing", f"{path} is no file")
        if name in found:
            raise InputRefusedError("bad_file", f"two files are given for the split {name}")
        found[name] = str(path)
    if found and "test" not in found:
        raise InputRefusedError("bad_file", "no file is what is asked", "Give one without a split, too.")
    return found
