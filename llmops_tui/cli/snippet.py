"""``llmops snippet``: texts and macros that are kept by name for the app."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of

if TYPE_CHECKING:
    from llmops_tui.user_entries import EntryChange

app = typer.Typer(help="Texts and macros by name.", no_args_is_help=True, rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, - and _.")]


def _note(session: Session, change: EntryChange) -> None:
    """Note a change in the history of the workspace, where there is one: snippets are the user's, in all of them."""
    from llmops_tui.errors import LlmopsError
    from llmops_tui.maintenance.undo import UndoHistory

    with suppress(LlmopsError):
        UndoHistory(session.catalog, session.event_log).note_entries(change)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List snippets and macros, and what is wrong in their file."""
    from llmops_tui.snippets import load_snippets, snippets_path

    session = session_of(context)
    kept, problems = load_snippets()
    for problem in problems:
        session.say(problem)
    rows = [("snippet", name, " ".join(text.split())) for name, text in kept.texts.items()]
    rows += [("macro", name, " ".join(keys)) for name, keys in kept.macros.items()]
    found = {
        "file": str(snippets_path()),
        "snippets": kept.texts,
        "macros": {n: list(k) for n, k in kept.macros.items()},
    }
    session.emit({**found, "problems": problems}, lambda: session.rows(("kind", "name", "content"), rows))


@app.command()
def add(
    context: typer.Context,
    name: _Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; - reads it from standard input.")],
) -> None:
    """Keep a text, in place of one of the same name."""
    from llmops_tui.errors import InputRefusedError
    from llmops_tui.snippets import load_snippets, problem_of_text, save_snippets
    from llmops_tui.user_entries import SNIPPET, EntryChange

    session = session_of(context)
    text = sys.stdin.read() if text == "-" else text
    if problem := problem_of_text(name, text):
        raise InputRefusedError("bad_snippet", f"{name!r} cannot be kept: {problem}", "llmops snippet list shows all.")
    kept, _ = load_snippets()
    former = save_snippets(replace(kept, texts={**kept.texts, name: text}))
    if former is not None:
        session.say(f"The former file is kept as {former}")
    _note(session, EntryChange(SNIPPET, name, kept.texts.get(name), text))
    session.emit({"name": name, "text": text}, lambda: f"{name} is kept")


@app.command()
def remove(
    context: typer.Context,
    name: _Name,
    macro: Annotated[bool, typer.Option("--macro", help="A macro of this name, not a snippet.")] = False,
) -> None:
    """Forget a snippet or a macro."""
    from llmops_tui.errors import NotFoundError
    from llmops_tui.snippets import Snippets, load_snippets, save_snippets
    from llmops_tui.user_entries import MACRO, SNIPPET, EntryChange

    session = session_of(context)
    kept, _ = load_snippets()
    held: dict[str, object] = {**(kept.macros if macro else kept.texts)}
    if name not in held:
        raise NotFoundError("macro" if macro else "snippet", name, "llmops snippet list shows all.")
    texts = {n: text for n, text in kept.texts.items() if macro or n != name}
    macros = {n: keys for n, keys in kept.macros.items() if not macro or n != name}
    former = save_snippets(Snippets(texts, macros))
    if former is not None:
        session.say(f"The former file is kept as {former}")
    before = list(kept.macros[name]) if macro else kept.texts[name]
    _note(session, EntryChange(MACRO if macro else SNIPPET, name, before, None))
    session.emit({"name": name, "removed": True}, lambda: f"{name} is removed")
