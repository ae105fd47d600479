"""Other columns: another model, versions of the prompt, a sweep, parameters of one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from llmops_tui.prompts.compare.columns import MOST_COLUMNS, Column, check_count, read_sweep, swept, with_version
from screens.compare.mark_dialog import MarkDialog
from screens.compare.state import CompareState
from screens.playground.change_words import notes_of
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

Columns = tuple[Column, ...]


async def add_column(shell: Shell, state: CompareState, near: Column) -> Columns | None:
    """The columns with one more: the one that is looked at, with a model that is asked for; those not here yet first."""
    check_count(len(state.columns) + 1)
    model = await _ask_model(shell, state, f"Add a column: {near.ref} with the model …", near)
    return None if model is None else (*state.columns, replace(near, model=model))


async def change_model(shell: Shell, state: CompareState, column: Column) -> Columns | None:
    """The columns with another model in one of them."""
    model = await _ask_model(shell, state, f"The model of {column.ref}", column)
    return None if model is None else with_column(state.columns, column, replace(column, model=model))


async def _ask_model(shell: Shell, state: CompareState, title: str, near: Column) -> str | None:
    used = {column.model for column in state.columns}
    found = sorted(state.models, key=lambda model: (model.name == near.model, model.name in used))
    choices = [
        Choice(
            m.name,
            m.name,
            "remote" if m.kind == "remote" else f"{m.quantization}{', here' if m.name in used else ''}",
            "model",
        )
        for m in found
    ]
    empty = "No models are registered; the Models screen adds one."
    return await shell.ask(ChoiceDialog(title, choices, empty))


async def choose_versions(shell: Shell, state: CompareState, near: Column) -> Columns | None:
    """Columns of versions of the prompt that are marked, in place of those there are; several that are columns begin marked."""
    versions = await asyncio.to_thread(shell.services.prompts.versions, near.prompt)
    by_ref = {version.ref: version for version in versions}
    choices = [Choice(ref, ref, note) for ref, note in notes_of(versions).items()]
    here = {column.ref for column in state.columns if column.version is not None}
    # One alone is what is looked at, and no choice that was made.
    marked = here if len(here) > 1 else ()
    chosen = await shell.ask(MarkDialog(f"Versions of {near.prompt} as columns", choices, MOST_COLUMNS, marked))
    if not chosen:
        return None
    return tuple(with_version(near, by_ref[ref]) for ref in chosen)


async def sweep_columns(shell: Shell, column: Column) -> Columns | None:
    """Columns of one column with several values of a parameter."""
    hint = "such as temperature 0 0.5 1, seed 1..4, thinking on off, top_p 0.5 0.9"
    given = await shell.ask(LineDialog("Sweep over", hint, "temperature 0 0.5 1"))
    if not given:
        return None
    field, values = read_sweep(given)
    return tuple(swept(column, field, values))


async def change_parameters(shell: Shell, state: CompareState, column: Column) -> Columns | None:
    """The columns with other parameters in one of them."""
    from screens.playground.parameters_dialog import ParametersDialog

    found = await shell.ask(ParametersDialog(column.parameters))
    return None if found is None else with_column(state.columns, column, replace(column, parameters=found))


def with_column(columns: Sequence[Column], old: Column, new: Column) -> Columns:
    """The columns with one in the place of another."""
    return tuple(new if column is old else column for column in columns)
