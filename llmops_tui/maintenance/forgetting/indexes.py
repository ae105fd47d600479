"""Documents of indexes that name a person: found in every version, and taken out with their words and vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.maintenance.forgetting.change import Change
from llmops_tui.maintenance.forgetting.search import names_person
from llmops_tui.privacy.person import Person
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.removal import take_out
from llmops_tui.retrieval.store import Index, IndexStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace


@dataclass(frozen=True)
class NamedDocuments:
    """The documents of a version of an index that name a person, with what they say."""

    index: Index
    texts: dict[str, str]


def named_documents(workspace: Workspace, person: Person) -> Iterator[NamedDocuments]:
    """All of them, version by version."""
    for index in _all(IndexStore(Catalog(workspace))):
        if texts := _named(index, person):
            yield NamedDocuments(index, texts)


def _all(store: IndexStore) -> list[Index]:
    return [index for name in store.names() for index in store.log(name)]


def _named(index: Index, person: Person) -> dict[str, str]:
    with ChunkFile.opened(index.folder) as file:
        return {
            name: text if person.named_in(text) else name
            for name, text in file.documents()
            if person.named_in(text) or person.named_in(name)
        }


def indexes_in_the_way(workspace: Workspace, person: Person) -> list[str]:
    """Indexes whose names name the person."""
    names = IndexStore(Catalog(workspace)).names()
    return [f"indexes: {name} is named so (llmops index remove {name})" for name in names if person.named_in(name)]


def files_of_documents(found: list[NamedDocuments], person: Person) -> Iterator[str]:
    """Files outside of the workspace that named documents were read from, and that still name the person."""
    seen: set[Path] = set()
    for one in found:
        source = one.index.record["source"]
        if source["kind"] != "folder":
            continue
        for name in one.texts:
            path = Path(source["place"]) / name
            if path not in seen and path.is_file() and (names_person(path, person) or person.named_in(name)):
                seen.add(path)
                yield f"{path}, from which {one.index.ref} was built: delete it, or take the person out of it"


def forget_in_indexes(workspace: Workspace, change: Change) -> None:
    """Take the documents out; the caller holds the lock of whoever maintains the workspace.

    Those of a folder stay out of later builds, whose files nothing here changes. Those of a dataset are made of what its rows
    are then. Hashes of rows that are gone are no longer named.
    """
    store = IndexStore(Catalog(workspace), maintained=True)
    for name in store.names():
        with store.building(name):
            store.abandon(name)
        log = store.log(name)
        named = {index.ref: _named(index, change.person) for index in log}
        if any(named.values()):
            of_folder = log[0].record["source"]["kind"] == "folder"
            going = [one for texts in named.values() for one in texts if not change.person.named_in(one)]
            take_out(store, name, lambda index, named=named: list(named[index.ref]), going if of_folder else [])  # type: ignore[misc]
    for index in _all(store):
        source = index.record["source"]
        if source["sha256"] in change.stones:
            stone = change.stones[source["sha256"]]
            store.note_source(index, {**source, "sha256": stone}, index.record["excluded"])
