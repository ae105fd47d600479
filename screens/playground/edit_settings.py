"""Change what the draft holds beside its texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens.playground.settings_dialog import SettingsDialog
from screens.playground.state import PlaygroundState
from screens.shell.shell import Shell

if TYPE_CHECKING:
    from llmops_tui.inference.answer_settings import AnswerSettings


async def edit_parameters(shell: Shell, state: PlaygroundState) -> str | None:
    """Sample otherwise; the JSON of the draft's settings then, none where all was left as it was."""
    from screens.playground.parameters_dialog import ParametersDialog

    chosen = await shell.ask(ParametersDialog(state.sampling))
    return None if chosen is None else state.take_sampling(chosen)


async def edit_settings(shell: Shell, state: PlaygroundState) -> str | None:
    """The JSON of the new settings, empty for none; none where they were left as they are.

    Raises:
        InputRefusedError: ``bad_settings``: those that are held cannot be read, and would be lost.
    """
    from llmops_tui.datasets.prompt_examples import settings_of_text

    await state.opened.wait()
    held = state.draft.answer_settings
    services = shell.services

    def read(text: str) -> AnswerSettings | None:
        return settings_of_text(text, "the settings", services.datasets)

    title = f"What {state.name} holds beside its texts"
    found = await shell.ask(SettingsDialog(title, held.as_yaml() if held is not None else "", read))
    return None if found is None else found if isinstance(found, str) else found.as_text()
