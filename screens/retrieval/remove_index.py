"""Remove an index, or a document of it, after asking."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from llmops_tui.retrieval.store import Index
    from screens.services import Services
    from screens.shell.shell import Shell

_ALL = "\0all"


async def remove_index(shell: Shell, index: Index) -> bool:
    """Ask what is removed, and remove it; whether something was."""
    services, name = shell.services, index.record["name"]
    documents, versions = await asyncio.to_thread(_read, services, index)
    choices = [
        Choice(_ALL, "The whole index", f"{counted(versions, 'version')}, {index.record['bytes'] / 1e6:,.1f} MB")
    ]
    choices += [Choice(document, document, counted(chunks, "chunk")) for document, chunks in documents.items()]
    chosen = await shell.ask(ChoiceDialog(f"Remove from {name}", choices))
    if chosen is None:
        return False
    if chosen == _ALL:
        question, told = f"Remove the index {name}?", f"Goes: {counted(versions, 'version')}."
    else:
        question = f"Take {chosen} out of {name}?"
        told = "It goes out of every version with its words and vectors, and stays out when the index is built again."
    if not await shell.ask(DangerDialog(question, told)):
        return False
    await asyncio.to_thread(_remove, services, name, None if chosen == _ALL else chosen)
    shell.say(f"{name} is removed." if chosen == _ALL else f"{chosen} is out of {name}.")
    return True


def _read(services: Services, index: Index) -> tuple[dict[str, int], int]:
    from llmops_tui.retrieval.chunk_file import ChunkFile
    from llmops_tui.retrieval.store import IndexStore

    with ChunkFile.opened(index.folder) as file:
        return file.chunk_counts(), len(IndexStore(services.catalog).log(index.record["name"]))


def _remove(services: Services, name: str, document: str | None) -> None:
    from llmops_tui.retrieval.removal import remove_documents
    from llmops_tui.retrieval.store import IndexStore

    store = IndexStore(services.catalog)
    if document is None:
        store.remove(name)
    else:
        remove_documents(store, name, [document])
