"""Ask the draft once more, and look at the answer token by token."""

from __future__ import annotations

from dataclasses import replace

from screens.playground.inside_screen import InsideScreen
from screens.playground.state import PlaygroundState
from screens.shell.shell import Shell


async def look_inside(shell: Shell, state: PlaygroundState) -> None:
    """Open the screen on the draft with its model; told where there is none."""
    model, draft = state.model, state.draft
    if model is None or not (draft.system.strip() or draft.template.strip()):
        shell.say("Write a prompt and choose a model first: m chooses one.", severity="warning")
        return
    request = replace(state.request(), version=state.matching)
    await shell.ask(InsideScreen(request, model, utf8=shell.profile.utf8))
