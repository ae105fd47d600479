"""``llmops prompt save``: a text as a version, with what makes its answer beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from llmops_tui.cli.output import Session, session_of
from llmops_tui.cli.prompt import read_given
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.foreign_text import JsonObject, parse_json, parse_yaml, text_of
from llmops_tui.workspace.files import reason

if TYPE_CHECKING:
    from llmops_tui.inference.answer_settings import AnswerSettings
    from llmops_tui.prompts.store import PromptStore, PromptVersion

_COUNT = 4


def save(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The prompt's name.")],
    file: Annotated[Path | None, typer.Option(help="The user template; - reads stdin.")] = None,
    text: Annotated[str | None, typer.Option(help="The user template.")] = None,
    system: Annotated[str | None, typer.Option(help="The system template; empty: none.")] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="A note for the version.")] = "",
    model: Annotated[str | None, typer.Option("--model", help="The model that answers; empty: none is named.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A sampling parameter; NAME= takes it out; repeatable."),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:TYPE][=DEFAULT]",
            help="What a variable takes: text, integer, number, boolean or json; repeatable.",
        ),
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="A JSON Schema that the answer is held to.")] = None,
    tools: Annotated[
        Path | None, typer.Option(help="Tools that the model may call: name, description, parameters.")
    ] = None,
    examples: Annotated[
        str | None, typer.Option(metavar="DATASET@N", help="Draw few-shot examples from this version; empty: none.")
    ] = None,
    examples_count: Annotated[int | None, typer.Option(min=1, help=f"How many; default: {_COUNT}.")] = None,
    examples_seed: Annotated[int | None, typer.Option(help="Draw others.")] = None,
    examples_row: Annotated[
        list[int] | None, typer.Option(min=0, help="Take this row, and draw none; repeatable.")
    ] = None,
    examples_question: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of questions.")] = None,
    examples_answer: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of answers.")] = None,
    examples_variable: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Ask each question by the template, as the value of this variable."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="All that the version holds beside its texts, as prompt show tells it, in YAML.")
    ] = None,
    no_settings: Annotated[
        bool, typer.Option("--no-settings", help="Hold nothing that the version before held beside its texts.")
    ] = False,
) -> None:
    """Save a new version; what is not named stays as the version before has it."""
    from llmops_tui.prompts.partials import partials_of
    from llmops_tui.prompts.store import PromptStore

    named = (system, model, set_, variable, schema, tools, examples, settings)
    asked = no_settings or any(one is not None for one in named)
    if file is None and text is None and not asked:
        read_given(file, text, "the template")
    session = session_of(context)
    store = PromptStore(session.catalog)
    if no_settings and settings is not None:
        raise LlmopsError("usage", "--settings and --no-settings exclude each other", exit_code=ExitCode.USAGE)
    drawing = {
        "--examples-count": examples_count, "--examples-seed": examples_seed, "--examples-row": examples_row,
        "--examples-question": examples_question, "--examples-answer": examples_answer,
        "--examples-variable": examples_variable,
    }  # fmt: skip
    changes = _changes(model, schema, tools)
    if examples is not None:
        changes["examples"] = _drawn(session, examples, drawing) if examples else None
    elif without := next((option for option, value in drawing.items() if value is not None), ""):
        raise LlmopsError("usage", f"{without} needs --examples DATASET@N", exit_code=ExitCode.USAGE)
    before = _latest(store, name)
    kept = file is None and text is None and asked and before is not None
    template = before.template if kept and before is not None else read_given(file, text, "the template")
    if system is None and before is not None and before.system:
        system = before.system
        if not kept:
            session.say(f"the system text of {before.ref} stays; --system '' takes it out")
    held = _settings_of(session, settings) if settings is not None else {} if no_settings else _held(before)
    made = _settings(held, changes, set_ or [], variable or [], name)
    _tell_unknown_model(session, made)
    version, created = store.save(name, template=template, system=system or "", note=message, settings=made)
    facts: JsonObject = {"prompt": name, "version": version.number, "sha256": version.sha256, "created": created}
    if made is not None:
        facts["settings"] = made.as_record()
    head = f"{version.ref}{'' if created else ' (unchanged)'}  sha256 {version.sha256[:16]}…"
    if holds := list(dict.fromkeys(one.ref for one in partials_of(version.system, version.template))):
        facts["partials"] = holds
        head += f"  partials {' '.join(holds)}"
    session.emit(facts, lambda: head if made is None else f"{head}\n{made.brief()}")


def _latest(store: PromptStore, name: str) -> PromptVersion | None:
    try:
        return store.versions(name)[0]
    except NotFoundError:
        return None


def _settings(
    held: JsonObject, changes: JsonObject, given: list[str], variables: list[str], name: str
) -> AnswerSettings | None:
    from llmops_tui.inference.answer_settings import read_settings

    whole = {**held, **changes}
    for option, field, texts in (("--set", "parameters", given), ("--variable", "variables", variables)):
        if texts:
            part = dict(whole.get(field) or {})
            for text in texts:
                key, value = _parameter(text) if option == "--set" else _variable(text)
                part.pop(key, None)
                part |= {key: value} if value is not None else {}
            whole[field] = part or None
    return read_settings({key: value for key, value in whole.items() if value is not None}, f"the settings of {name}")


def _parameter(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise LlmopsError("usage", f"--set {text!r} is not of the form NAME=VALUE", exit_code=ExitCode.USAGE)
    return key.strip().replace("-", "_"), _value(value) if value else None


def _variable(text: str) -> tuple[str, JsonObject]:
    head, equals, default = text.partition("=")
    key, _, kind = head.partition(":")
    if not key.strip():
        raise LlmopsError("usage", f"--variable {text!r} names no variable", exit_code=ExitCode.USAGE)
    rule: JsonObject = {"type": kind} if kind else {}
    if equals:
        rule["default"] = default if kind in {"", "text"} else _value(default)
    return key.strip(), rule


def _value(text: str) -> object:
    try:
        return parse_json(text, constants=False)
    except ValueError:
        return text


def _settings_of(session: Session, path: Path) -> JsonObject:
    from llmops_tui.datasets.prompt_examples import settings_of_text
    from llmops_tui.datasets.store import DatasetStore

    found = settings_of_text(_text(path), str(path), DatasetStore(session.catalog))
    return found.as_record() if found is not None else {}


def _text(path: Path) -> str:
    try:
        return text_of(path)
    except UnicodeDecodeError as error:
        raise InputRefusedError("file_unreadable", f"cannot read {path}: it is no text in UTF-8") from error
    except OSError as error:
        raise InputRefusedError("file_unreadable", f"cannot read {path}: {reason(error)}") from error


def _read(path: Path, what: str) -> JsonObject:
    """A file in YAML, of which JSON is a part."""
    text = _text(path)
    try:
        body: JsonObject = parse_yaml(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputRefusedError("bad_settings", f"{path} is not {what}: {' '.join(str(error).split())}") from error
    return body


def _changes(model: str | None, schema: Path | None, tools: Path | None) -> JsonObject:
    """The parts that are said whole; one that is taken out is none."""
    changes: JsonObject = {}
    if model is not None:
        changes["model"] = model or None
    if schema is not None:
        changes["schema"] = _read(schema, "a JSON Schema")
    if tools is not None:
        changes["tools"] = _read(tools, "a list of tools")
    return changes


def _held(before: PromptVersion | None) -> JsonObject:
    return before.settings.as_record() if before is not None and before.settings is not None else {}


def _drawn(session: Session, ref: str, given: JsonObject) -> JsonObject:
    from llmops_tui.datasets.prompt_examples import draw_examples
    from llmops_tui.datasets.store import DatasetStore

    rows, count, seed = given["--examples-row"], given["--examples-count"], given["--examples-seed"]
    if rows and (count is not None or seed is not None):
        raise LlmopsError("usage", "--examples-row names the rows, so none are drawn", exit_code=ExitCode.USAGE)
    found = draw_examples(
        DatasetStore(session.catalog).get(ref),
        count=count or _COUNT,
        seed=seed or 0,
        rows=rows or (),
        question=given["--examples-question"] or "",
        answer=given["--examples-answer"] or "",
        variable=given["--examples-variable"] or "",
    )
    return found.model_dump(mode="json", exclude_defaults=True)


def _tell_unknown_model(session: Session, settings: AnswerSettings | None) -> None:
    from llmops_tui.models.registry import ModelRegistry

    if settings is None or not settings.model:
        return
    try:
        ModelRegistry(session.catalog).get(settings.model)
    except NotFoundError:
        session.say(
            f"there is no model {settings.model!r} in this workspace: runs have to name another one until there is"
        )
