"""Learn how hybrid search weighs meaning against words: on a file of labelled queries, shown before it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from screens.widgets.dialogs import ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.retrieval.records import FusionRecord
    from llmops_tui.retrieval.store import Index
    from screens.services import Services
    from screens.shell.shell import Shell
    from screens.widgets.panel import Panel

_HINT = 'a file of lines such as {"query": "…", "documents": ["a.md"]}: queries whose answers you know'


async def tune_index(shell: Shell, progress: Panel, index: Index) -> bool:
    """Ask for the queries, say what they say, and make another version where that is wanted; whether it was."""
    from llmops_tui.retrieval.told import fusion_text

    path = await shell.ask(LineDialog(f"Weigh meaning against words in {index.ref}", _HINT, path=True))
    if not path:
        return False
    loop = asyncio.get_running_loop()

    def tell(share: float, _what: str) -> None:
        loop.call_soon_threadsafe(progress.set_note, f"learning {share:.0%}")

    try:
        found = await asyncio.to_thread(_learn, shell.services, index, path, tell)
    finally:
        progress.set_note("")
    if not await shell.ask(ConfirmDialog(f"Keep this weight as another version of {index.ref}?", fusion_text(found))):
        return False
    kept = await asyncio.to_thread(_keep, shell.services, index, found)
    shell.say(f"{kept.ref} is searched by {found['recommended']} unless you say otherwise.")
    return True


def _learn(services: Services, index: Index, path: str, tell: Callable[[float, str], None]) -> FusionRecord:
    from llmops_tui.evaluation.retrieval.weight_learning import learn_weight
    from llmops_tui.retrieval.store import IndexStore
    from llmops_tui.user_files import with_home

    return learn_weight(IndexStore(services.catalog), index, with_home(Path(path)), tell)


def _keep(services: Services, index: Index, found: FusionRecord) -> Index:
    from llmops_tui.retrieval.store import IndexStore
    from llmops_tui.retrieval.weighting import keep_fusion

    return keep_fusion(IndexStore(services.catalog), index, found)
