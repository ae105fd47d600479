"""What a build is asked for, from what a user names; what is not named is as it was before."""

from __future__ import annotations

from llmops_tui.embeddings.embedder import EmbedderRecord, embedder_spec
from llmops_tui.errors import InputRefusedError
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.retrieval.chunking import TOKENS
from llmops_tui.retrieval.contexts import prompt_sha256
from llmops_tui.retrieval.local_writer import writer_record
from llmops_tui.retrieval.records import BuildRecord, SourceRecord
from llmops_tui.retrieval.reranking import reranker_record
from llmops_tui.retrieval.sources import newest_source, source_of
from llmops_tui.retrieval.store import Index, IndexStore
from llmops_tui.workspace.catalog import Catalog

NONE = "none"


def build_request(
    store: IndexStore,
    name: str,
    *,
    source: str = "",
    of: str = "",
    id_column: str = "",
    embedder: str = "",
    row_prefix: str | None = None,
    query_prefix: str | None = None,
    tokens: int = 0,
    take_back: bool = False,
) -> BuildRecord:
    """The request. ``embedder`` is a registered model, or ``none`` for an index that is searched by words alone.

    What reranks it is put in by :func:`with_reranker`.

    Raises:
        InputRefusedError: ``no_source``: the index is new, and has none; ``no_embedder``; or the source is none.
    """
    before = store.newest(name)
    return {
        "source": _source(store.catalog, name, before, source, of, id_column),
        "tokens": tokens or (before.record["chunker"]["tokens"] if before is not None else TOKENS),
        "embedder": _embedder(ModelRegistry(store.catalog), before, embedder, row_prefix, query_prefix),
        "take_back": take_back,
        # A weight that was learnt stays until another is, and is told to be stale where it was learnt on other chunks.
        "fusion": before.record.get("fusion") if before is not None else None,
    }


def with_reranker(store: IndexStore, name: str, asked: BuildRecord, given: str = "") -> BuildRecord:
    """A request with what reranks the index: a registered model, or ``none``; empty: that of before, as it is now.

    Raises:
        NotFoundError: there is no such model. InputRefusedError: ``no_rank``: it can be none.
    """
    # That of before is not looked at where another is given: it may be gone.
    before = None if given else store.newest(name)
    was = before.record.get("reranker") if before is not None else None
    model = was["model"] if was is not None else given
    reranker = reranker_record(ModelRegistry(store.catalog), model) if model not in {"", NONE} else None
    return {**asked, "reranker": reranker}


def with_context(store: IndexStore, name: str, asked: BuildRecord, given: str = "") -> BuildRecord:
    """A request with what writes the contexts of chunks: a registered model, or ``none``; empty: that of before, as it is now.

    Raises:
        NotFoundError: there is no such model. InputRefusedError: ``no_context``: it can write none.
    """
    before = None if given else store.newest(name)
    was = before.record.get("context") if before is not None else None
    model = was["model"] if was is not None else given
    if model in {"", NONE}:
        return {**asked, "context": None}
    writer = writer_record(ModelRegistry(store.catalog), model, "no_context")
    return {**asked, "context": {**writer, "prompt_sha256": prompt_sha256()}}


def _source(catalog: Catalog, name: str, before: Index | None, given: str, of: str, id_column: str) -> SourceRecord:
    if given:
        return source_of(catalog, given, of, id_column)
    if before is None:
        raise InputRefusedError(
            "no_source",
            f"there is no index {name} yet",
            "Say where its documents are: --from DATASET or --from FOLDER.",
        )
    if of or id_column:
        raise InputRefusedError("no_source", "--of and --id say what of a dataset is taken", "Name it: --from DATASET.")
    return newest_source(catalog, before.record["source"])


def _embedder(
    registry: ModelRegistry, before: Index | None, given: str, row_prefix: str | None, query_prefix: str | None
) -> EmbedderRecord | None:
    was = None if before is None else before.record["embedder"]
    if given == NONE or (not given and before is not None and was is None):
        if row_prefix is not None or query_prefix is not None:
            raise InputRefusedError("no_embedder", "prefixes go with an embedder", "Name it: --embedder MODEL.")
        return None
    if not given and was is not None:
        # The model of that name as it is now, with the prefixes that were chosen.
        rows = was["row_prefix"] if row_prefix is None else row_prefix
        queries = was["query_prefix"] if query_prefix is None else query_prefix
        spec = embedder_spec(
            registry, was["model"], row_prefix=rows, query_prefix=queries, max_tokens=was["max_tokens"]
        )
    else:
        try:
            spec = embedder_spec(registry, given, row_prefix=row_prefix, query_prefix=query_prefix)
        except InputRefusedError as error:
            if error.code != "no_embedder":
                raise
            told = f"{error.hint} --embedder {NONE} makes an index that is searched by words alone."
            raise InputRefusedError(error.code, error.message, told) from error
    return spec.as_dict()
