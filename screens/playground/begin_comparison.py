"""What the playground brings to the comparison: its draft, its model, its parameters, its variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from screens.navigation import ComparePlace
from screens.playground.state import PlaygroundState
from screens.shell.shell import Shell

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion


async def begin_comparison(shell: Shell, state: PlaygroundState, marked: Sequence[PromptVersion] = ()) -> None:
    """Go to the comparison with what the playground has, once that was read: its draft, or the marked versions."""
    await state.opened.wait()
    state.catch_up()
    place = comparison_of(state, marked)
    if place is None:
        shell.say("Write a prompt and choose a model first: m chooses one.", severity="warning")
    else:
        shell.open_place(place)


def comparison_of(state: PlaygroundState, marked: Sequence[PromptVersion] = ()) -> ComparePlace | None:
    """The place to go to; none where there is no text or no model.

    Raises:
        InputRefusedError: ``too_many_columns``: more versions are marked than are compared.
    """
    from llmops_tui.prompts.compare.columns import Column, check_count, with_version

    draft, model = state.draft, state.model
    if model is None or not (draft.system.strip() or draft.template.strip()):
        return None
    version = state.matching.number if state.matching is not None else None
    held = draft.answer_settings
    column = Column(state.name, version, draft.system, draft.template, model.name, state.sampling, held)
    variables = tuple(draft.variables.items())
    if len(marked) > 1:
        check_count(len(marked))
        columns = [with_version(column, one) for one in sorted(marked, key=lambda one: one.number)]
        return ComparePlace(column=columns[0], others=tuple(columns[1:]), variables=variables)
    return ComparePlace(column=column, variables=variables)
