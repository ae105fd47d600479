"""Save the draft as a version, with a note."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from screens.playground.state import PlaygroundState
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion


async def save_version(shell: Shell, state: PlaygroundState) -> PromptVersion | None:
    """Ask for a note and save; the version with this text, none where nothing was answered."""
    note = await shell.ask(LineDialog(f"Save {state.name}", "A note for this version; it may stay empty."))
    if note is None:
        return None
    # Read only now: what was typed just before the key may have been told since.
    draft, store = state.draft, shell.services.prompts
    version, created = await asyncio.to_thread(
        lambda: store.save(
            state.name,
            template=draft.template,
            system=draft.system,
            note=note,
            parent=draft.base,
            settings=draft.answer_settings,
        )
    )
    if not created and note and version.note != note:
        version = await asyncio.to_thread(store.set_note, version.ref, note)
    shell.say(f"{version.ref} {'saved' if created else 'was already saved; its note is kept'}")
    return version
