"""The list of datasets."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmops_tui.datasets.version import DatasetVersion
from screens.datasets import rendering
from screens.shell.pane import Pane
from screens.widgets.motions import Options


class DatasetListPane(Pane):
    """One line a dataset, with what its newest version holds."""

    class Chosen(Message):
        """A dataset is to be opened."""

        def __init__(self, dataset: str) -> None:
            super().__init__()
            self.dataset = dataset

    def __init__(self) -> None:
        super().__init__(title="Datasets", jump_key="d", id="datasets-list", help_text=rendering.HELP_DATASETS)

    def compose(self) -> ComposeResult:
        """The list."""
        yield Options(id="dataset-list", markup=False, compact=True)

    def show(self, logs: dict[str, list[DatasetVersion]], current: str) -> None:
        """Show datasets, with the cursor on the one that is open; ``current`` is empty where none is."""
        options = self.query_one(OptionList)
        options.clear_options()
        for name, log in logs.items():
            options.add_option(rendering.dataset_option(log[0], current=name == current))
        if not logs:
            options.add_option(Option(Content.styled(rendering.NO_DATASETS, "$muted"), disabled=True))
        elif current in logs:
            options.highlighted = list(logs).index(current)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Chosen(event.option_id))
