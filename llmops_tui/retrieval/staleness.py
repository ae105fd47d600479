"""What differs between an index and what it would be made of now."""

from __future__ import annotations

from llmops_tui.errors import LlmopsError, NotFoundError
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.chunking import REVISION
from llmops_tui.retrieval.contexts import prompt_sha256
from llmops_tui.retrieval.sources import FileFacts, source_differs
from llmops_tui.retrieval.store import Index, IndexStore


def stale_because(store: IndexStore, index: Index) -> list[str]:
    """What differs, in words; empty where the index is as it would be made now.

    Of a folder the times and sizes of files are looked at, and the content of those where these differ.
    """
    record = index.record

    def files() -> dict[str, FileFacts]:
        with ChunkFile.opened(index.folder) as file:
            return file.files()

    told = source_differs(store.catalog, record["source"], files, frozenset(record["excluded"]), record["refused"])
    if record["chunker"]["revision"] != REVISION:
        told.append("documents are cut otherwise by this release")
    elif not _has_arrays(index):
        told.append("an earlier release wrote its words, and searching by bm25 is slower in them")
    if record["embedder"] is not None:
        told += _model_differs(
            ModelRegistry(store.catalog), record["embedder"]["model"], record["embedder"]["sha256"], "embedded"
        )
    if (reranker := record.get("reranker")) is not None:
        told += _model_differs(ModelRegistry(store.catalog), reranker["model"], reranker["sha256"], "reranks")
    if (context := record.get("context")) is not None:
        told += _model_differs(
            ModelRegistry(store.catalog), context["model"], context["sha256"], "wrote the contexts of"
        )
        if context["prompt_sha256"] != prompt_sha256():
            told.append("contexts of chunks are asked for otherwise by this release")
    if (fusion := record.get("fusion")) is not None and fusion["content"] != record.get("content"):
        name = record["name"]
        told.append(f"its weight was learnt on {fusion['of']}, whose chunks were others: llmops index tune {name}")
    return told


def _has_arrays(index: Index) -> bool:
    try:
        with ChunkFile.opened(index.folder) as file:
            return file.has_arrays
    except LlmopsError:
        # It is damaged, which whoever searches it is told.
        return True


def _model_differs(registry: ModelRegistry, model: str, sha256: str, did: str) -> list[str]:
    try:
        now = registry.get(model).sha256
    except NotFoundError:
        return [f"the model {model}, which {did} it, is gone"]
    return [] if now == sha256 else [f"{model} is another model now than the one that {did} it"]
