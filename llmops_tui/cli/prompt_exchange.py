"""``llmops prompt export`` and ``import``: prompts as files of our own form and of other programs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.cli.prompt import read_given
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.names import as_name

if TYPE_CHECKING:
    from llmops_tui.prompts.foreign_settings import Form

_FORMS = "openai|llm|dotprompt|promptfoo"


def export(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(help="The prompt's name; with --as name, name@number or name@label.")],
    to: Annotated[Path | None, typer.Option(help="The file to write; default: stdout.")] = None,
    as_: Annotated[str, typer.Option("--as", metavar=_FORMS, help="One version as another program keeps it.")] = "",
) -> None:
    """Export a prompt with all its versions as YAML, or one version as another program keeps it."""
    from llmops_tui.prompts import foreign_files, foreign_settings, prompt_files
    from llmops_tui.prompts.drafts import Drafts
    from llmops_tui.prompts.store import PromptStore
    from llmops_tui.workspace.files import write_atomic

    session = session_of(context)
    store = PromptStore(session.catalog)
    if form := _form(as_):
        version = store.get(ref)
        draft = Drafts(session.event_log).load(version.prompt)
        text = foreign_files.write_foreign(
            version.system,
            version.template,
            form,
            label=version.ref,
            values=draft.variables if draft else {},
            settings=version.settings,
        )
        versions = [version]
        if left := foreign_settings.left_behind(version.settings, form):
            session.say(f"not carried, since {form} has no words for it: {', '.join(left)}")
    else:
        versions = store.versions(ref)
        text = prompt_files.dump(versions)
    if to is None:
        data = {"prompt": versions[0].prompt, "versions": [v.as_dict() for v in versions]}
        if session.options.json:
            session.emit(data | ({"form": form, "text": text} if form else {}), str)
        else:
            # In a pipe or a file each character stays as it is.
            session.stream(text if text.endswith("\n") or not sys.stdout.isatty() else f"{text}\n")
        return
    write_atomic(to.resolve(), text, mode=0o644)
    session.emit(
        {"file": str(to), "versions": len(versions)}, lambda: f"{counted(len(versions), 'version')} written to {to}"
    )


def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="A file of llmops prompt export, OpenAI messages, an llm template, a .prompt file, or promptfoo's configuration."
        ),
    ],
    move_labels: Annotated[
        bool, typer.Option("--move-labels", help="Also move labels that are on other versions here.")
    ] = False,
    as_: Annotated[str, typer.Option("--as", metavar=_FORMS, help="Its form, where the file does not tell.")] = "",
    name: Annotated[str, typer.Option(help="The prompt's name, for the other forms; default: that of the file.")] = "",
) -> None:
    """Import versions from a file; existing versions, and labels that are set here, are left unchanged."""
    from llmops_tui.prompts.foreign_files import form_of

    session = session_of(context)
    text = read_given(file, None, "the file")
    form = _form(as_)
    if form is None:
        _refuse_synced(file, text)
        form = form_of(file.name, text)
    if form is not None:
        if move_labels:
            raise InputRefusedError("bad_option", f"a file of {form} has no labels", "Leave out --move-labels.")
        _import_foreign(session, text, form, name or _name_of(file), str(file))
        return
    if name:
        raise InputRefusedError("bad_option", "the file names its prompt", "Leave out --name.")
    _import_own(session, text, str(file), move_labels=move_labels)


def _name_of(file: Path) -> str:
    if str(file) == "-":
        raise InputRefusedError("no_name", "standard input does not name a prompt", "Give --name.")
    return as_name(file.stem)


def _refuse_synced(file: Path, text: str) -> None:
    """A file of a folder that is kept in step is read there, so that what both sides hold is known."""
    from llmops_tui.prompts.file_form import ENDING, parse_file

    if not file.name.endswith(ENDING):
        return
    try:
        parse_file(text.encode())
    except InputRefusedError:
        return
    folder, name = shlex.quote(str(file.parent)), file.name.removesuffix(ENDING)
    raise InputRefusedError(
        "bad_prompt_file",
        f"{file} is a file of llmops prompt sync",
        f"llmops prompt sync {folder} --prompt {shlex.quote(name)} reads it.",
    )


def _form(given: str) -> Form | None:
    from llmops_tui.prompts.foreign_files import FORMS

    if given and given not in FORMS:
        raise InputRefusedError("bad_option", f"--as {given}: none of {', '.join(FORMS)}", "Choose one of them.")
    return next((form for form in FORMS if form == given), None)


def _import_foreign(session: Session, text: str, form: Form, name: str, source: str) -> None:
    from llmops_tui.prompts.foreign_files import read_variants
    from llmops_tui.prompts.store import PromptStore

    store, found = PromptStore(session.catalog), read_variants(text, form, source)
    saved = [
        store.save(name, template=one.template, system=one.system, note=f"from {form}", settings=one.settings)
        for one in found
    ]
    left = found[0].left
    facts = {
        "prompt": name,
        "versions": [version.number for version, _ in saved],
        "created": sum(new for _, new in saved),
        "left": list(left),
    }
    lines = [f"{version.ref}: {'new' if new else 'was there already'}" for version, new in saved]
    lines += [f"not carried, since no version can hold it: {', '.join(left)}"] if left else []
    session.emit(facts, lambda: "\n".join(lines))


def _import_own(session: Session, text: str, source: str, *, move_labels: bool) -> None:
    from llmops_tui.maintenance.undo import UndoHistory
    from llmops_tui.prompts import prompt_files
    from llmops_tui.prompts.store import PromptStore

    move = UndoHistory(session.catalog, session.event_log).move_label
    parsed = prompt_files.parse(text, source)
    loaded = prompt_files.load(PromptStore(session.catalog), parsed, move_labels=move_labels, move=move)
    facts = {
        "prompt": parsed.prompt,
        "versions": [v.number for v in loaded.versions],
        "created": loaded.created,
        "labels": [change.as_dict() for change in loaded.labels],
    }
    lines = [f"{parsed.prompt}: {loaded.created} new of {counted(len(loaded.versions), 'version')}"]
    for change in loaded.labels:
        was = "" if change.before is None else f", was @{change.before}"
        lines.append(
            f"{change.label} is now @{change.number}{was}"
            if change.moved
            else f"{change.label} stays on @{change.before}; the file has it on @{change.number} (--move-labels moves it)"
        )
    session.emit(facts, lambda: "\n".join(lines))
