"""Which versions of indexes a piece of work began with: where it goes on, passages come from the same ones."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from llmops_tui.errors import NotFoundError
from llmops_tui.models.answering_files import refuse_others
from llmops_tui.retrieval.in_prompts import HeldVersions
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.workspace.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from llmops_tui.retrieval.in_prompts import PromptRetrieval
    from llmops_tui.workspace.catalog import Catalog

NOTE = "indexes.json"


def hold_versions(
    retrieval: PromptRetrieval, catalog: Catalog, folder: Path, work: str, anew: str, *, goes_on: bool = True
) -> None:
    """Have prompts search the versions that are noted in the work's folder, and note which others they search first.

    A name in a prompt means the newest version, and the work takes longer than until the next one is built. Work that does
    not go on forgets what was noted; ``work`` and ``anew`` are what is refused, and how it is begun again.

    Raises:
        InputRefusedError: ``model_changed``: a version is not there any more, or is another one.
    """
    note = folder / NOTE
    began: HeldVersions = json.loads(note.read_text()) if goes_on and note.exists() else {}
    before, now = {f"index {one['ref']}": one["sha256"] for one in began.values()}, {}
    store = IndexStore(catalog)
    for one in began.values():
        with suppress(NotFoundError):
            now[f"index {one['ref']}"] = store.get(one["ref"]).record["sha256"]
    refuse_others(before, now, work, anew)
    retrieval.hold(began, lambda held: write_atomic(note, json.dumps(held)))
