"""Taking documents out of an index: out of every version of it, with their text, their words and their vectors."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from llmops_tui.embeddings.vector_file import BLOCK, VectorFile
from llmops_tui.errors import NotFoundError
from llmops_tui.retrieval.build import index_digest
from llmops_tui.retrieval.chunk_file import NAME, ChunkFile
from llmops_tui.retrieval.records import IndexRecord
from llmops_tui.retrieval.store import VECTORS, Index, IndexStore
from llmops_tui.retrieval.written_queries import WrittenQueries
from llmops_tui.workspace.files import bytes_in, make_folder_within, sync_file

_STAGED = ".removing"


def documents_in(index: Index, names: Collection[str]) -> list[str]:
    """Which of some documents a version has."""
    with ChunkFile.opened(index.folder) as file:
        there = set(file.names())
    return [name for name in names if name in there]


def remove_documents(store: IndexStore, name: str, names: Collection[str]) -> list[Index]:
    """Take documents out of all versions of an index, for good; returns the versions that had one, as they are now.

    A version that has no other document is removed whole. Later builds leave the documents out, too.

    Raises:
        NotFoundError: no version has a document of such a name, nor left it out before. InputRefusedError: ``job_running``.
    """
    log = store.log(name)
    known = {one for index in log for one in (*documents_in(index, names), *index.record["excluded"])}
    if missing := [one for one in names if one not in known]:
        raise NotFoundError("document", missing[0], f"llmops index show {name} --documents lists them.")
    return take_out(store, name, lambda index: documents_in(index, names), list(names))


def take_out(store: IndexStore, name: str, going_of: Callable[[Index], list[str]], excluded: list[str]) -> list[Index]:
    """As :func:`remove_documents`, of each version what ``going_of`` says; later builds leave out what is ``excluded``."""
    changed, empty, gone = [], [], set(excluded)
    queries = WrittenQueries(store, name)
    with store.building(name) as home:
        # What was embedded for a version that was never finished may be of them.
        store.abandon(name)
        queries.forget(excluded)
        for index in store.log(name):
            going = going_of(index)
            queries.forget(going)
            gone.update(going)
            if not going:
                store.note_source(index, index.record["source"], _with(index.record["excluded"], excluded))
            elif len(going) == index.record["documents"]:
                empty.append(index)
            else:
                changed.append(_without(store, index, going, excluded, home / _STAGED))
    if empty:
        store.remove(name, [index.record["number"] for index in empty])
    # A job that writes queries may have added one while its passage was still there.
    queries.forget(gone)
    return [*changed, *empty]


def _with(before: list[str], more: list[str]) -> list[str]:
    return list(dict.fromkeys([*before, *more]))


def _without(store: IndexStore, index: Index, going: list[str], excluded: list[str], staged: Path) -> Index:
    record = index.record
    shutil.rmtree(staged, ignore_errors=True)
    make_folder_within(staged)
    with ChunkFile.opened(index.folder) as file:
        document_of = file.document_of()
        gone = frozenset(going)
        writer = file.copy_without(staged / NAME, gone, record["chunker"]["tokens"])
        digest = writer.finish()
    sync_file(staged / NAME)
    if record["embedder"] is not None:
        kept = np.array([chunk - 1 for chunk, name in sorted(document_of.items()) if name not in gone], np.int64)
        _copy_vectors(index.vectors, kept, VectorFile(staged / VECTORS, record["dimensions"]))
    decides = (digest, record["chunker"]["tokens"], record["embedder"], record["source"])
    sha256 = index_digest(*decides, record.get("reranker"), record.get("fusion"))
    changed: IndexRecord = {
        **record,
        "sha256": sha256,
        "content": index_digest(*decides),
        "folder": f"{record['number']}-{sha256[:12]}",
        "excluded": _with(record["excluded"], excluded),
        "documents": writer.documents,
        "chunks": writer.chunks,
        "tokens": writer.tokens,
        "bytes": bytes_in(staged),
    }
    return store.replace(staged, changed, index)


def _copy_vectors(before: VectorFile, rows: np.ndarray[tuple[int], np.dtype[np.int64]], made: VectorFile) -> None:
    keys, vectors = before.text_keys(), before.vectors()
    for begin in range(0, len(rows), BLOCK):
        some = rows[begin : begin + BLOCK]
        made.append([bytes(keys[row]) for row in some], vectors[some])
    made.finish()
