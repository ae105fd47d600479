"""``llmops prompt sync``: prompts and the files of a folder, kept in step both ways."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.names import as_name

if TYPE_CHECKING:
    from llmops_tui.prompts.folder import Change, PromptFolder, Side

_LOOK_SECONDS = 0.5
_QUIET = {"in step"}
_OPEN = {"conflict", "refused"}
# Somebody else is at work, and will have ended.
_PASSING = {"workspace_locked", "sync_busy"}
# What happened, which may happen again; the others are states.
_DONE = {"read", "written"}


def sync(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder; each prompt is a file NAME.prompt.yaml in it.")],
    take: Annotated[
        str,
        typer.Option(
            metavar="folder|workspace", help="Whose text counts where both changed; the other's is kept as a version."
        ),
    ] = "",
    prompt: Annotated[list[str] | None, typer.Option(help="Only this prompt; repeatable.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until interrupted, and take over each change.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would happen, and change nothing.")] = False,
) -> None:
    """Keep prompts in step with files that git can hold: changes on either side are taken over, conflicts are shown."""
    from llmops_tui.prompts.folder import PromptFolder
    from llmops_tui.prompts.store import PromptStore

    session = session_of(context)
    if watch and (take or dry_run):
        raise InputRefusedError(
            "bad_option", "--watch decides no conflict and changes what it says", "Leave out --take and --dry-run."
        )
    files = PromptFolder(folder, PromptStore(session.catalog), session.event_log)
    only = [as_name(one) for one in prompt or ()]
    if watch:
        _watch(session, files, only)
        return
    changes = files.sync(take=_side(take), only=only, dry_run=dry_run)
    data = {"folder": str(files.folder), "changes": [change.as_dict() for change in changes]}
    session.emit(data, lambda: _text(changes) or f"{counted(len(changes), 'prompt')} in step")
    if open_ := [change for change in changes if change.what in _OPEN]:
        raise LlmopsError(
            "not_in_step",
            f"{counted(len(open_), 'prompt')} of {files.folder} could not be brought in step",
            "--take folder or --take workspace decides conflicts; a file that was refused says why above.",
        )


def _side(given: str) -> Side | None:
    if given == "folder":
        return "folder"
    if given == "workspace":
        return "workspace"
    if given:
        raise InputRefusedError("bad_option", f"--take {given}: neither folder nor workspace", "Choose one of them.")
    return None


def _watch(session: Session, files: PromptFolder, only: Sequence[str]) -> None:
    """Bring both sides in step, at once and after each change; a state that stays as it was is told once."""
    told: set[Change] = set()
    synced: tuple[object, ...] | None = None
    last = files.stamp()
    while True:
        now = files.stamp()
        # Somebody may still be writing: what stays the same for a moment is taken.
        settled, last = now == last, now
        if settled and now != synced:
            try:
                changes = files.sync(only=only)
            except LlmopsError as error:
                if error.code not in _PASSING:
                    raise
                session.say(f"{error.message}; trying again")
                continue
            _tell(session, [change for change in changes if change not in told])
            told = {change for change in changes if change.what not in _DONE}
            if synced is None:
                session.say(f"watching {files.folder}; ctrl+c ends it")
            # What changed since is looked at again, and so is what was just written.
            synced = now
        time.sleep(_LOOK_SECONDS)


def _tell(session: Session, changes: Sequence[Change]) -> None:
    if text := _text(changes):
        session.emit({"changes": [change.as_dict() for change in changes if change.what not in _QUIET]}, lambda: text)


def _text(changes: Sequence[Change]) -> str:
    lines = []
    for change in changes:
        if change.what in _QUIET:
            continue
        where = f"@{change.version}" if change.version is not None else ""
        detail = f": {change.detail}" if change.detail else ""
        lines.append(f"{change.what:<13} {change.prompt}{where}{detail}")
    return "\n".join(lines)
