"""Save the rows that are shown: as a version, or their filter and sorting as a view, which can be chosen again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from screens.datasets.operation import Operation
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.datasets.window import RowWindow, View

# Of more rows the numbers are not listed in a recipe, which has them as a set of bits then.
_LISTED = 100_000


async def keep_rows(shell: Shell, window: RowWindow) -> Operation | None:
    """Ask what to keep, and keep a view; a version is given as the operation that makes it."""
    version, view = window.version, window.view
    choices = [
        Choice("view", "A view", "the filter and sort order, with a name"),
        Choice("version", "A version", counted(window.count, "row")),
    ]
    chosen = await shell.ask(ChoiceDialog("Save the shown rows as", choices))
    if chosen == "view":
        name = await shell.ask(LineDialog("Name of the view", "v shows saved views"))
        if name:
            await asyncio.to_thread(shell.services.undo.save_view, version.dataset, name, view.as_dict())
            shell.say(f"The view {name} is saved. z undoes it.")
    if chosen != "version":
        return None
    if view.filter.startswith("="):
        return Operation(version, "filter", {"where": view.filter[1:].strip()})
    numbers = window.numbers()
    if len(numbers) <= _LISTED:
        return Operation(version, "filter", {"where": f"_row IN ({', '.join(map(str, sorted(numbers)))})"})
    from llmops_tui.datasets.row_sets import encode_rows

    return Operation(version, "filter", {"rows": await asyncio.to_thread(encode_rows, numbers, version.rows)})


async def choose_view(shell: Shell, dataset: str) -> View | None:
    """One of the saved views of a dataset."""
    from llmops_tui.datasets.window import View

    views = await asyncio.to_thread(shell.services.datasets.views, dataset)
    choices = [
        Choice(name, name, view["filter"] + (f"  by {view['sort']}" if view["sort"] else ""))
        for name, view in views.items()
    ]
    name = await shell.ask(ChoiceDialog("Views", choices, "No saved views. ctrl+s saves the filter as one."))
    return View(**views[name]) if name is not None else None
