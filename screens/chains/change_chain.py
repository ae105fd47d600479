"""Keep, label, compare, copy out and delete chains, each after what has to be asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.chains.store import ChainStore
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.dialogs import LineDialog

if TYPE_CHECKING:
    from llmops_tui.chains.store import ChainVersion
    from screens.shell.shell import Shell


async def save_chain(shell: Shell, name: str, text: str, parent: int | None) -> ChainVersion | None:
    """Keep a text as a version, of a new chain where there is no name yet; none where that was left."""
    called: str | None = name
    if not called:
        called = await shell.ask(LineDialog("Name of the chain", "letters, digits and . _ -"))
    if not called:
        return None
    version, created = await asyncio.to_thread(ChainStore(shell.services.catalog).save, called, text, "", parent)
    shell.say(f"{version.ref} is saved." if created else f"{version.ref} has this text already.")
    return version


async def label_version(shell: Shell, version: ChainVersion) -> bool:
    """Ask for a label and point it at a version; whether that was done. Where suites have rules for the chain, one may decide.

    Raises:
        LlmopsError: ``gate_closed``: the rules of the chosen suite do not allow it.
    """
    from screens.playground.move_label import allowed_by

    label = await shell.ask(LineDialog(f"Label for {version.ref}", "such as production; it moves here", "production"))
    if not label:
        return False
    told = await allowed_by(shell, version.served_name, version.served, label)
    if told is None:
        return False
    await asyncio.to_thread(shell.services.undo.move_label, version.served, label)
    shell.say(f"{label} is {version.ref} now{told}; z takes it back.")
    return True


async def diff_with_parent(shell: Shell, version: ChainVersion) -> tuple[str, str] | None:
    """The differences of a version from the one it was made of, with a title; none where there is none."""
    from llmops_tui.text_diff import diff_words, marked_text

    store = ChainStore(shell.services.catalog)
    if version.parent is None:
        raise InputRefusedError("no_parent", f"{version.ref} was made of no other version", "Choose a later one.")
    before = await asyncio.to_thread(store.get, f"{version.name}@{version.parent}")
    changes = await asyncio.to_thread(diff_words, before.text, version.text)
    return f"{before.ref} → {version.ref}", marked_text(changes)


async def write_chain(shell: Shell, name: str, text: str) -> None:
    """Ask for a file and write the text of a chain into it."""
    from llmops_tui.user_files import with_home
    from llmops_tui.workspace.files import write_atomic

    asked = await shell.ask(LineDialog("Write the chain to a file", "its path", f"{name or 'chain'}.yaml", path=True))
    if not asked:
        return
    path = with_home(asked)
    if path.exists() and not await shell.ask(DangerDialog(f"Replace {path}?", "What is in it goes.")):
        return
    await asyncio.to_thread(write_atomic, path.resolve(), text, mode=0o644)
    shell.say(f"Written to {path}; llmops chain save --file reads it.")


async def remove_chain(shell: Shell, version: ChainVersion) -> bool:
    """Ask, and delete a chain with all its versions; whether that was done."""
    from llmops_tui.maintenance.archiving import Archivable, forget_archived

    store = ChainStore(shell.services.catalog)
    versions = await asyncio.to_thread(store.versions, version.name)
    labels = ", ".join(label for one in versions for label in one.labels)
    told = f"{counted(len(versions), 'version')} go{f', with the labels {labels}' if labels else ''}."
    if not await shell.ask(DangerDialog(f"Delete the chain {version.name}?", f"{told} Its runs stay.")):
        return False
    await asyncio.to_thread(store.remove, version.name)
    await asyncio.to_thread(forget_archived, shell.services.workspace, Archivable.CHAIN, version.name)
    shell.say(f"{version.name} is deleted.")
    return True
