"""What is asked for when a standard task is to run: checked, with what is installed for it, and as the job takes it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.tasks.inspect_task import find_program
from llmops_tui.evaluation.tasks.records import TaskArguments
from llmops_tui.user_files import with_home

LM_EVAL, INSPECT = "lm-eval", "inspect"


class TaskAsked(BaseModel):
    """A standard task, as it is written in a form or on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    harness: Annotated[Literal["lm-eval", "inspect"], Field(description="What prompts and scores.")] = "lm-eval"
    task: Annotated[
        str, Field(description="Its name in the harness, such as gsm8k; for inspect also FILE.py or FILE.py@TASK.")
    ] = ""
    model: Annotated[str, Field(description="The model, or MODEL+ADAPTER.")] = ""
    files: Annotated[
        tuple[str, ...],
        Field(description='The data that is asked: a file; with examples: ["test.jsonl", "train=train.jsonl"].'),
    ] = ()
    limit: Annotated[int | None, Field(ge=1, description="Ask only the first so many documents; empty: all.")] = None
    fewshot: Annotated[
        int | None, Field(ge=0, le=100, description="Examples before each question; empty: as the task says.")
    ] = None
    chat: Annotated[bool, Field(description="Ask by the chat template, not as text to continue.")] = False
    fresh: Annotated[bool, Field(description="Ask everything again; use no answer that was kept before.")] = False
    program: Annotated[str, Field(description="Of inspect: its program, if it is not found by itself.")] = ""


def arguments_of(asked: TaskAsked) -> TaskArguments:
    """What the job is given.

    Raises:
        InputRefusedError: ``bad_option``, ``unknown_harness``, ``not_installed``, ``file_missing``, ``bad_file``.
    """
    if not asked.task.strip():
        raise InputRefusedError("bad_option", "no task is named", "Give its name in the harness, such as gsm8k.")
    if not asked.model.strip():
        raise InputRefusedError("bad_option", "no model is named", "Give one of the workspace: llmops model list.")
    _check_options(asked)
    check_harness(asked.harness, asked.program)
    return {
        "harness": asked.harness,
        "task": _task(asked.task.strip(), asked.harness),
        "model": asked.model.strip(),
        "files": _files(asked.files),
        "limit": asked.limit,
        "fewshot": asked.fewshot,
        "chat": asked.chat,
        "fresh": asked.fresh,
        "program": asked.program,
    }


def check_harness(name: str, program: str) -> None:
    """Refuse a harness that is not known, or not installed.

    Raises:
        InputRefusedError: ``unknown_harness``, ``not_installed``.
    """
    if name == INSPECT:
        find_program(program)
    elif name != LM_EVAL:
        raise InputRefusedError("unknown_harness", f"{name!r} is no harness", f"Known: {LM_EVAL}, {INSPECT}.")
    elif find_spec("lm_eval") is None:
        raise InputRefusedError(
            "not_installed", "lm-eval is not installed beside llmops", "Install it: pip install 'llmops-tui[tasks]'"
        )


def installed() -> dict[str, str]:
    """By harness, in words, what is installed, or what is to be done to have it."""
    found = {}
    for name in (LM_EVAL, INSPECT):
        try:
            check_harness(name, "")
        except InputRefusedError as error:
            found[name] = f"not installed. {error.hint}"
        else:
            found[name] = f"installed, {find_program('')}" if name == INSPECT else f"installed, {_version('lm_eval')}"
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of no known version"


def _task(name: str, harness: str) -> str:
    """The task as the job finds it, which is at work in a folder of its own; a file may name one of its tasks: FILE.py@TASK."""
    file, at, one = name.partition("@")
    path = with_home(file)
    return f"{path.resolve()}{at}{one}" if harness == INSPECT and path.is_file() else name


def _check_options(asked: TaskAsked) -> None:
    """Refuse options that the harness would not be told.

    Raises:
        InputRefusedError: ``bad_option``.
    """
    theirs = {
        "a data file": bool(asked.files),
        "a number of examples": asked.fewshot is not None,
        "the chat template": asked.chat,
        "asking again": asked.fresh,
    }
    if asked.harness != INSPECT:
        theirs = {"a program": bool(asked.program)}
    for option, is_given in theirs.items():
        if is_given:
            raise InputRefusedError(
                "bad_option",
                f"{option} is not for {asked.harness}",
                "Tasks of Inspect name their data and examples, and are always asked anew."
                if asked.harness == INSPECT
                else "",
            )


def _files(given: Sequence[str]) -> dict[str, str]:
    """Files by split; one without a name is what is asked.

    Raises:
        InputRefusedError: ``file_missing``, ``bad_file``.
    """
    found: dict[str, str] = {}
    for text in given:
        split, equals, rest = text.partition("=")
        path, name = (Path(rest), split) if equals and not with_home(text).exists() else (Path(text), "test")
        path = with_home(path).resolve()
        if not path.is_file():
            raise InputRefusedError("file_missing", f"{path} is no file")
        if name in found:
            raise InputRefusedError("bad_file", f"two files are given for the split {name}")
        found[name] = str(path)
    if found and "test" not in found:
        raise InputRefusedError("bad_file", "no file is what is asked", "Give one without a split, too.")
    return found
