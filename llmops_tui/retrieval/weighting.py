"""Another version of an index that differs in how both rankings are fused alone: nothing is read, cut or embedded again."""

from __future__ import annotations

import shutil
import time

from llmops_tui.errors import InputRefusedError
from llmops_tui.retrieval.build import index_digest, note_lineage
from llmops_tui.retrieval.chunk_file import NAME, ChunkFile
from llmops_tui.retrieval.records import FusionRecord, IndexRecord
from llmops_tui.retrieval.store import VECTORS, Index, IndexStore
from llmops_tui.workspace.files import copy_durable, make_folder_within

_STAGED = ".weighting"


def content_of(index: Index) -> str:
    """The hash of what can be found in a version at all, whatever orders it."""
    if "content" in index.record:
        return index.record["content"]
    record = index.record
    return index_digest(_documents(index), record["chunker"]["tokens"], record["embedder"], record["source"])


def keep_fusion(store: IndexStore, index: Index, fusion: FusionRecord | None) -> Index:
    """Make the next version, with a weight that was learnt, or without; where that is the one that is there, it is returned.

    Raises:
        InputRefusedError: ``not_newest``: there is a newer version; ``no_vectors``: there is nothing to be fused;
            ``job_running``.
    """
    record = index.record
    if index.spec is None:
        raise InputRefusedError("no_vectors", f"{index.ref} is searched by words alone: there is nothing to weigh")
    with store.building(record["name"]) as home:
        newest = store.newest(record["name"])
        if newest is None or newest.record["number"] != record["number"]:
            told = f"{index.ref} is not the newest version" + (f", {newest.ref} is" if newest is not None else "")
            raise InputRefusedError("not_newest", told, f"llmops index tune {record['name']} takes that.")
        decides = (_documents(index), record["chunker"]["tokens"], record["embedder"], record["source"])
        digest = index_digest(*decides, record.get("reranker"), fusion)
        if digest == record["sha256"]:
            return store.note(index, {**record, "fusion": fusion, "content": index_digest(*decides)})
        staged = home / _STAGED
        shutil.rmtree(staged, ignore_errors=True)
        for folder in (staged, staged / VECTORS):
            make_folder_within(folder)
        copy_durable(index.folder / NAME, staged / NAME)
        for path in index.vectors.folder.iterdir():
            copy_durable(path, staged / VECTORS / path.name)
        number = record["number"] + 1
        changed: IndexRecord = {
            **record,
            "number": number,
            "sha256": digest,
            "folder": f"{number}-{digest[:12]}",
            "fusion": fusion,
            "content": index_digest(*decides),
            "computed": 0,
            "reused": record["chunks"],
            "made_at": time.time(),
        }
        made = store.keep(staged, changed)
    note_lineage(store, made)
    return made


def _documents(index: Index) -> str:
    with ChunkFile.opened(index.folder) as file:
        return file.digest()
