"""``llmops prompt partials``: the prompts whose text another one holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.errors import ExitCode, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.prompts.partial_versions import HeldPartial
    from llmops_tui.prompts.store import PromptStore, PromptVersion


def partials(
    context: typer.Context,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="name, name@number or name@label; default: the newest version.")
    ],
    take: Annotated[
        bool, typer.Option("--take", help="Save a version with what the names of the partials stand for now.")
    ] = False,
    replace_edited: Annotated[
        bool, typer.Option("--replace-edited", help="With --take: replace those, too, whose text was edited here.")
    ] = False,
    used_by: Annotated[bool, typer.Option("--used-by", help="List the prompts that hold this one instead.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="With --take: a note for the version.")] = "",
) -> None:
    """List the partials of a prompt and which are newer, take the newer ones, or list the prompts that hold this one."""
    from llmops_tui.prompts.store import PromptStore

    if used_by and (take or replace_edited):
        raise LlmopsError("usage", "--used-by lists, and --take saves: give one of them", exit_code=ExitCode.USAGE)
    if (replace_edited or message) and not take:
        raise LlmopsError("usage", "--replace-edited and --message go with --take", exit_code=ExitCode.USAGE)
    session = session_of(context)
    store = PromptStore(session.catalog)
    if used_by:
        _used_by(session, store, ref)
        return
    version = store.get(ref if "@" in ref else f"{ref}@latest")
    if take:
        _take(session, store, version, message, edited=replace_edited)
    else:
        _list(session, version, _held(store, version))


def _held(store: PromptStore, version: PromptVersion) -> list[HeldPartial]:
    from llmops_tui.prompts.partial_versions import held_partials

    return held_partials(store, version.system, version.template)


def _list(session: Session, version: PromptVersion, held: list[HeldPartial]) -> None:
    data = {"prompt": version.prompt, "version": version.number, "partials": [one.as_dict() for one in held]}
    told = "\n".join(one.told for one in held) or f"{version.ref} holds no partials"
    session.emit(data, lambda: told)


def _take(session: Session, store: PromptStore, version: PromptVersion, message: str, *, edited: bool) -> None:
    from llmops_tui.prompts.partial_versions import take_newer

    system, template = (
        take_newer(store, version.prompt, text, edited=edited) for text in (version.system, version.template)
    )
    made, created = store.save(
        version.prompt,
        system=system,
        template=template,
        note=message or "newer partials",
        parent=version.number,
    )
    if made.ref == version.ref:
        session.say(f"{version.ref} holds what its partials stand for now")
    held = _held(store, made)
    data = {
        "prompt": made.prompt,
        "version": made.number,
        "created": created,
        "partials": [one.as_dict() for one in held],
    }
    told = "\n".join([f"{made.ref}{'' if created else ' (unchanged)'}", *(f"  {one.told}" for one in held)])
    session.emit(data, lambda: told)


def _used_by(session: Session, store: PromptStore, name: str) -> None:
    from llmops_tui.prompts.partial_versions import users

    found = users(store, name)
    if not found:
        store.versions(name)  # a prompt that is not there is told
    rows = [(version.ref, one.told) for version, held in found for one in held]
    data = {
        "partial": name,
        "prompts": [
            {"prompt": v.prompt, "version": v.number, "partials": [h.as_dict() for h in held]} for v, held in found
        ],
    }
    session.emit(data, lambda: session.rows(("prompt", "holds"), rows) if rows else f"{name} is a partial of no prompt")
