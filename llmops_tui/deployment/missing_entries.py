"""Entries that the audit lacks because a process was killed between an act and its entry; whoever looks adds them first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_tui.models.alias_acts import settle_aliases
from llmops_tui.prompts.label_audit import note_moves
from llmops_tui.prompts.store import PromptStore

if TYPE_CHECKING:
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog


def add_missing_entries(catalog: Catalog, event_log: EventLog) -> None:
    """Add the entries of labels and aliases that moved, where the workspace may be written.

    Raises:
        LlmopsError: a database cannot be read or written.
    """
    note_moves(PromptStore(catalog), event_log)
    settle_aliases(catalog, event_log)
