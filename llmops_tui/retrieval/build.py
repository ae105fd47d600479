"""Building an index: documents are read and cut, words are indexed, and chunks that are new are embedded."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from llmops_tui.counts import counted
from llmops_tui.embeddings.embedder import EmbedderRecord, EmbedderSpec, TextEmbedder
from llmops_tui.embeddings.known_vectors import KnownVectors
from llmops_tui.embeddings.opened import opened_embedder
from llmops_tui.embeddings.vector_file import NO_TEXT, VectorFile
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.ranking import pooling_of
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.retrieval.chunk_file import NAME, ChunkFile, ChunkWriter, searched_text
from llmops_tui.retrieval.chunking import REVISION, Chunk
from llmops_tui.retrieval.contexts import Contextualizer, WrittenContexts
from llmops_tui.retrieval.documents import Readers
from llmops_tui.retrieval.local_writer import Writer, Written, opened_writer
from llmops_tui.retrieval.records import (
    BuildRecord,
    BuiltRecord,
    ContextRecord,
    FusionRecord,
    IndexRecord,
    RefusedRecord,
    RerankerRecord,
    SourceRecord,
)
from llmops_tui.retrieval.sources import Corpus, read_corpus, told_source
from llmops_tui.retrieval.store import BUILDING, CONTEXTS, EMBEDDED, VECTORS, Index, IndexStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import bytes_in, copy_durable, make_folder_within, sha256_text, sync_file
from llmops_tui.workspace.lineage import record_edges

ENTRY: JobEntry[BuiltRecord] = JobEntry("llmops_tui.retrieval.build:run_build_job")
KIND = "index"
Report = Callable[[float, str], None]
_AT_ONCE = 512
# Reading documents is a small part of the work where their chunks are embedded, as embedding is where contexts are written.
_READING = 0.1


@dataclass
class _Counts:
    dimensions: int = 0
    computed: int = 0
    reused: int = 0
    cut: int = 0
    began: float = field(default_factory=time.monotonic)


async def build_index(
    store: IndexStore,
    name: str,
    asked: BuildRecord,
    embedder: TextEmbedder | None,
    report: Report,
    pooling: str = "",
    writer: Writer | None = None,
) -> BuiltRecord:
    """Make the next version of an index; where that would be the one that is there, it is returned.

    ``writer`` writes the contexts of chunks where the request has them.

    Raises:
        InputRefusedError: ``no_documents``: there is nothing to index; ``job_running``: another process is at it.
    """
    with store.building(name) as home, ExitStack() as stack:
        before = store.newest(name)
        counts = _Counts()
        staged = home / BUILDING
        make_folder_within(staged)
        left = stack.enter_context(ChunkFile.opened(before.folder)) if before is not None else None
        excluded = [] if asked["take_back"] or before is None else before.record["excluded"]
        contexts = _Contexts(asked.get("context"), writer, staged, lambda: known_contexts(store, name))
        reading = 1.0 if embedder is None else 1 - _READING if contexts.asked else _READING
        written = await _write_chunks(
            store.catalog, asked, excluded, staged, left, lambda part, told: report(reading * part, told), contexts
        )
        reranker = asked.get("reranker")
        # Without vectors nothing is fused.
        fusion = asked.get("fusion") if asked["embedder"] is not None else None
        content = index_digest(written.digest, asked["tokens"], asked["embedder"], asked["source"])
        digest = index_digest(written.digest, asked["tokens"], asked["embedder"], asked["source"], reranker, fusion)
        if before is not None and left is not None and before.record["sha256"] == digest:
            # The same documents may have come from a later version of their dataset, or beside others that are refused.
            now: IndexRecord = {
                **before.record,
                "source": asked["source"],
                "excluded": excluded,
                "refused": written.refused,
                "other_files": dict(written.others),
                "content": content,
                "context": asked.get("context"),
            }
            if left.has_arrays:
                shutil.rmtree(staged)
                same = store.note(before, now)
            else:
                same = _with_arrays(store, before, now, staged)
            return {"index": same.record, "unchanged": True}
        if embedder is not None:
            await _embed(
                store, name, staged, written.chunks, embedder, counts,
                lambda part, told: report(reading + (1 - reading) * part, told),
            )  # fmt: skip
        number = 1 if before is None else before.record["number"] + 1
        record: IndexRecord = {
            "name": name,
            "number": number,
            "sha256": digest,
            "folder": f"{number}-{digest[:12]}",
            "source": asked["source"],
            "chunker": {"revision": REVISION, "tokens": asked["tokens"]},
            "embedder": asked["embedder"],
            "pooling": pooling,
            "reranker": reranker,
            "fusion": fusion,
            "content": content,
            "context": asked.get("context"),
            "excluded": excluded,
            "refused": written.refused,
            "other_files": dict(written.others),
            "documents": written.documents,
            "chunks": written.chunks,
            "tokens": written.tokens,
            "dimensions": counts.dimensions,
            "computed": counts.computed,
            "reused": counts.reused,
            "cut": counts.cut,
            "bytes": bytes_in(staged, apart=EMBEDDED) - (bytes_in(staged / CONTEXTS) if contexts.asked else 0),
            "seconds": round(time.monotonic() - counts.began, 1),
            "made_at": time.time(),
        }
        for left_over in (EMBEDDED, CONTEXTS):
            shutil.rmtree(staged / left_over, ignore_errors=True)
        made = store.keep(staged, record)
    note_lineage(store, made)
    report(1.0, "done")
    return {"index": made.record, "unchanged": False}


def _with_arrays(store: IndexStore, before: Index, now: IndexRecord, staged: Path) -> Index:
    """The same version with the file that was just written, whose words are there as arrays, and its vectors as they are."""
    for left in (EMBEDDED, CONTEXTS, VECTORS):
        shutil.rmtree(staged / left, ignore_errors=True)
    if now["embedder"] is not None:
        make_folder_within(staged / VECTORS)
        for path in before.vectors.folder.iterdir():
            copy_durable(path, staged / VECTORS / path.name)
    return store.replace(staged, {**now, "folder": f"{now['folder']}-arrays", "bytes": bytes_in(staged)}, before)


@dataclass
class _Written:
    digest: str
    documents: int
    chunks: int
    tokens: int
    refused: list[RefusedRecord]
    others: Counter[str]


class _Contexts:
    """The contexts of chunks where a build has them: those of other versions, what a build before wrote, and new ones."""

    def __init__(
        self, record: ContextRecord | None, writer: Writer | None, staged: Path, known: Callable[[], dict[bytes, str]]
    ) -> None:
        self.asked = record is not None
        self.count = 0
        self.told: Callable[[], None] = lambda: None
        self._of: Contextualizer | None = None
        if record is not None:
            assert writer is not None
            written = WrittenContexts(staged / CONTEXTS, known())
            self._of = Contextualizer(record, written, writer, self._note)

    def _note(self, _one: Written) -> None:
        self.count += 1
        # A cancel is noticed between two chunks.
        self.told()

    async def of(self, name: str, text: str, chunks: Sequence[Chunk]) -> list[tuple[bytes, str]]:
        """One for each chunk of a document; none where the build has none."""
        if self._of is None:
            return []
        return await self._of.of(name, text, chunks, lambda c: searched_text(c.above, text[c.start : c.end]))


def known_contexts(store: IndexStore, name: str) -> dict[bytes, str]:
    """The contexts that versions of an index have, by what they are kept by."""
    found: dict[bytes, str] = {}
    for index in store.log(name) if store.newest(name) is not None else []:
        if index.record.get("context") is not None:
            with ChunkFile.opened(index.folder) as file:
                found |= dict(file.contexts().values())
    return found


async def _write_chunks(
    catalog: Catalog,
    asked: BuildRecord,
    excluded: list[str],
    staged: Path,
    before: ChunkFile | None,
    report: Report,
    contexts: _Contexts,
) -> _Written:
    """Read and cut all documents into the staged folder."""
    path = staged / NAME
    path.unlink(missing_ok=True)
    writer = ChunkWriter(path, asked["tokens"])
    with Readers() as readers:
        corpus = read_corpus(catalog, asked["source"], readers, before.text_of_file if before else lambda _digest: None)
        try:
            await _add_all(corpus, writer, frozenset(excluded), report, contexts)
        except BaseException:
            writer.abandon()
            raise
    if not writer.chunks:
        writer.abandon()
        why = f"; {corpus.refused[0]['document']}: {corpus.refused[0]['why']}" if corpus.refused else ""
        raise InputRefusedError(
            "no_documents", f"{told_source(asked['source'])} has no document that can be indexed{why}", _TAKEN
        )
    digest = writer.finish()
    sync_file(path)
    return _Written(digest, writer.documents, writer.chunks, writer.tokens, corpus.refused, corpus.other_files)


_TAKEN = "Markdown, text, HTML and PDF files are read, and the rows of a dataset that have a text."


async def _add_all(
    corpus: Corpus, writer: ChunkWriter, excluded: frozenset[str], report: Report, contexts: _Contexts
) -> None:
    for number, document in enumerate(corpus.documents, 1):

        def told(done: int = number) -> None:
            written = f", {counted(contexts.count, 'context')} written" if contexts.asked else ""
            said = f"{counted(done, 'document')} read, {counted(writer.chunks, 'chunk')}{written}"
            report(done / max(1, corpus.count), said)

        if document.name not in excluded:
            # Meanwhile this one is not done.
            contexts.told = partial(told, number - 1)
            text, chunks = writer.cut(document)
            writer.add(document, chunks, await contexts.of(document.name, text, chunks))
        told()


async def _embed(
    store: IndexStore, name: str, staged: Path, chunks: int, embedder: TextEmbedder, counts: _Counts, report: Report
) -> None:
    """Make the vectors of all chunks: those of the index's other versions are taken, others computed.

    What is computed is kept beside, by the hash of its text, until all is there: a build that was killed goes on with it,
    whatever changed meanwhile.
    """
    counts.dimensions = int((await embedder.rows(["."])).shape[1])
    # Under the embedder's key: what another one left is of no use.
    place = staged / EMBEDDED
    make_folder_within(place)
    fresh = VectorFile(place / f"{embedder.spec.key}-{counts.dimensions}", counts.dimensions)
    known = KnownVectors([*_others(store, name, embedder.spec, counts.dimensions)], fresh)
    shutil.rmtree(staged / VECTORS, ignore_errors=True)
    final = VectorFile(staged / VECTORS, counts.dimensions)
    done = 0
    with ChunkFile.opened(staged) as file:
        for batch in _batches(file.embedded_texts()):
            missing = {key: text for _, key, text in batch if key != NO_TEXT and known.get(key) is None}
            if missing:
                vectors = await embedder.many(list(missing.values()), counts.dimensions)
                first = fresh.rows
                fresh.append(list(missing), vectors)
                known.note(list(missing), first)
            found = [known.get(key) for _, key, _ in batch]
            zeros = np.zeros(counts.dimensions, np.float16)
            final.append([key for _, key, _ in batch], np.stack([zeros if one is None else one for one in found]))
            done += len(batch)
            counts.computed += len(missing)
            counts.reused += len(batch) - len(missing)
            told = f"{done:,} of {counted(chunks, 'chunk')}, {counts.reused:,} known"
            report(done / chunks, told)
    final.finish()
    counts.cut = embedder.cut


def _others(store: IndexStore, name: str, spec: EmbedderSpec, dimensions: int) -> Iterator[VectorFile]:
    for index in store.log(name) if store.newest(name) is not None else []:
        if index.spec is not None and index.spec.key == spec.key and index.record["dimensions"] == dimensions:
            yield index.vectors


def _batches(texts: Iterator[tuple[int, bytes, str]]) -> Iterator[list[tuple[int, bytes, str]]]:
    while batch := list(islice(texts, _AT_ONCE)):
        yield batch


def index_digest(
    documents: str,
    tokens: int,
    embedder: EmbedderRecord | None,
    source: SourceRecord,
    reranker: RerankerRecord | None = None,
    fusion: FusionRecord | None = None,
) -> str:
    """The hash of all that decides what an index finds: documents with their chunks, the embedder, what orders them."""
    spec = None if embedder is None else [EmbedderSpec(**embedder).key, embedder["query_prefix"]]
    # The same documents from another place are another index only by their names.
    decides = [documents, REVISION, tokens, spec, source["kind"], source["of"]]
    if reranker is not None:
        decides.append(reranker["sha256"])
    if fusion is not None:
        decides.append([fusion["method"], fusion["weight"], fusion["recommended"]])
    return sha256_text(json.dumps(decides))


def note_lineage(store: IndexStore, index: Index) -> None:
    """Note what a version was made of."""
    record = index.record
    models = [one["sha256"] for one in (record["embedder"], record.get("context")) if one is not None]
    inputs = [one for one in (record["source"]["sha256"], *models) if one]
    recipe = json.dumps(
        {"index": index.ref, "chunker": record["chunker"], "of": record["source"]["of"]}, sort_keys=True
    )
    store.catalog.write(
        lambda db: record_edges(db, output=record["sha256"], kind="index", recipe=recipe, inputs=inputs)
    )


def run_build_job(context: JobContext, name: str, asked: BuildRecord) -> BuiltRecord:
    """The job: build an index. Killed, it goes on with the vectors that it has."""
    store = IndexStore(Catalog(context.workspace))

    async def work() -> BuiltRecord:
        async with AsyncExitStack() as stack:
            writer, embedder, pooling = None, None, ""
            if (contexts := asked.get("context")) is not None:
                writer = await stack.enter_async_context(opened_writer(store.catalog, contexts))
            if asked["embedder"] is not None:
                spec = EmbedderSpec(**asked["embedder"])
                context.report(0.0, f"starting {spec.model}")
                pooling = pooling_of(ModelRegistry(store.catalog).get(spec.model))
                embedder = await stack.enter_async_context(opened_embedder(store.catalog, spec))
            return await build_index(store, name, asked, embedder, context.report, pooling, writer)

    return asyncio.run(work())
