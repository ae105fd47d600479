"""Label the rows of a version: the task is asked for once, then each row needs one key."""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, cast

from llmops_tui.datasets.held import held
from llmops_tui.datasets.version import DatasetVersion
from screens.datasets.label_screen import LabelScreen
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.datasets.assisted_labelling import LabelAssistant
    from llmops_tui.datasets.labelling import Labelling, Task, TaskKind
    from llmops_tui.datasets.profile_record import ColumnStatistics

_KINDS = {
    "classify": ("Classify", "one of several labels per row"),
    "review": ("Review", "accept, reject or correct each row"),
    "prefer": ("Prefer", "choose the better of two answers, shown in random order"),
}
_HINT = "name of the task, which becomes a column, then the labels, separated by spaces"
_MOST_SUGGESTED = 20


async def label_rows(shell: Shell, version: DatasetVersion, columns: list[ColumnStatistics]) -> DatasetVersion | None:
    """Ask what is to be labelled, how, and by whom, and label; the version that was made, none where none was.

    Labels are suggested from the statistics of the columns, as far as they are known.

    Raises:
        InputRefusedError: there can be no such task.
    """
    from llmops_tui.datasets.labelling import Labelling

    task = await _ask_for_task(shell, version, columns)
    if task is None:
        return None
    annotator = await shell.ask(
        LineDialog("Annotator", "your name, to measure the agreement between people", getpass.getuser())
    )
    if not annotator:
        return None
    datasets = shell.services.datasets
    work = await asyncio.to_thread(Labelling, datasets, version, task, annotator)
    assistant = await asyncio.to_thread(_assistant, work)
    # Nobody removes the version while its rows are labelled.
    with held([version]):
        ref = await shell.ask(LabelScreen(work, assistant))
    return await asyncio.to_thread(datasets.get, ref) if ref else None


def _assistant(work: Labelling) -> LabelAssistant | None:
    """Help, where the labels are of a classification and the version is embedded."""
    from llmops_tui.datasets.meaning.index import find_index

    index = find_index(work.version) if work.task.kind == "classify" else None
    if index is None:
        return None
    from llmops_tui.datasets.assisted_labelling import LabelAssistant

    return LabelAssistant(work, index)


async def _ask_for_task(shell: Shell, version: DatasetVersion, columns: list[ColumnStatistics]) -> Task | None:
    from llmops_tui.datasets.labelling import Task, suggested_task

    first = suggested_task(version.kind)
    order = [first, *(k for k in _KINDS if k != first)]
    choices = [Choice(k, *_KINDS[k]) for k in order if k != "prefer" or version.kind == "preference"]
    kind = await shell.ask(ChoiceDialog(f"Label {version.ref}", choices))
    text = kind
    if kind == "classify":
        text = await shell.ask(LineDialog("Classify", _HINT, _suggested(version, columns)))
    if kind is None or not text:
        return None
    name, *labels = text.split()
    return Task.make(name, cast("TaskKind", kind), tuple(labels))


def _suggested(version: DatasetVersion, columns: list[ColumnStatistics]) -> str:
    """The column of labels with its values, where there is one with few."""
    from llmops_tui.datasets.label_columns import label_column

    label = label_column(version.columns)
    known = next((c.get("top", []) for c in columns if c["name"] == label), [])
    values = dict.fromkeys(str(value) for value, _ in known) if len(known) <= _MOST_SUGGESTED else ()
    return f"{label or 'label'} {' '.join(values)}".strip()
