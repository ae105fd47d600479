"""What the playground brings to the comparison: its draft, its model, its parameters, its variables."""

from __future__ import annotations

from screens.navigation import ComparePlace
from screens.playground.state import PlaygroundState
from screens.shell.shell import Shell


async def begin_comparison(shell: Shell, state: PlaygroundState) -> None:
    """Go to the comparison with what the playground has, once that was read."""
    await state.opened.wait()
    state.catch_up()
    place = comparison_of(state)
    if place is None:
        shell.say("Write a prompt and choose a model first: m chooses one.", severity="warning")
    else:
        shell.open_place(place)


def comparison_of(state: PlaygroundState) -> ComparePlace | None:
    """The place to go to; none where there is no text or no model."""
    from llmops_tui.prompts.compare.columns import Column

    draft, model = state.draft, state.model
    if model is None or not (draft.system.strip() or draft.template.strip()):
        return None
    version = state.matching.number if state.matching is not None else None
    column = Column(state.name, version, draft.system, draft.template, model.name, state.parameters)
    return ComparePlace(column=column, variables=tuple(draft.variables.items()))
