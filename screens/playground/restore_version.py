"""Bring a version's text and settings back; what is in no version is saved as one first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from screens.playground.state import PlaygroundState
from screens.shell.shell import Shell

if TYPE_CHECKING:
    from llmops_tui.prompts.drafts import Draft
    from llmops_tui.prompts.store import PromptVersion


async def restore_version(shell: Shell, state: PlaygroundState, version: PromptVersion) -> Draft | None:
    """The draft with the version's text and settings; none where another prompt was opened meanwhile."""
    if state.dirty:
        draft = state.draft
        kept, _ = await asyncio.to_thread(
            lambda: shell.services.prompts.save(
                version.prompt,
                template=draft.template,
                system=draft.system,
                note=f"kept before going back to @{version.number}",
                parent=draft.base,
                settings=draft.answer_settings,
                as_it_is=True,
            )
        )
        shell.say(f"Your unsaved text is kept as {kept.ref}.")
    if state.prompt != version.prompt:
        return None
    return replace(
        state.draft,
        system=version.system,
        template=version.template,
        base=version.number,
        settings=version.settings_text,
    )
