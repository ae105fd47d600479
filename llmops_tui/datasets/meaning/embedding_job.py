"""The job that embeds the rows of a version: only texts that no other version has vectors of, and on from where it was."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from llmops_tui.counts import counted
from llmops_tui.datasets.meaning.index import MeaningIndex, VectorsRecord
from llmops_tui.datasets.progress import Report
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.embeddings.embedder import EmbedderRecord, EmbedderSpec, TextEmbedder
from llmops_tui.embeddings.known_vectors import KnownVectors
from llmops_tui.embeddings.opened import opened_embedder
from llmops_tui.embeddings.vector_file import NO_TEXT, VectorFile, text_key
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.locks import try_lock

ENTRY: JobEntry[VectorsRecord] = JobEntry("llmops_tui.datasets.meaning.embedding_job:run_embedding_job")
KIND = "embed"
# Rows that are written at once.
_ROWS = 512

Half = npt.NDArray[np.float16]


@dataclass
class _Counts:
    computed: int = 0
    reused: int = 0
    began: float = field(default_factory=time.monotonic)


@contextmanager
def _alone(index: MeaningIndex) -> Iterator[None]:
    """Hold the folder of the vectors: of two that write rows one after the other, each would write its own after the other's."""
    index.begin()
    lock = try_lock(index.folder / "embedding.lock")
    if lock is None:
        told = f"{index.version.ref} is being embedded by another job"
        raise InputRefusedError("job_running", told, "llmops job list shows it.")
    try:
        yield
    finally:
        os.close(lock)


async def embed_version(index: MeaningIndex, embedder: TextEmbedder, report: Report) -> VectorsRecord:
    """Make what is missing of the vectors of a version, and return what is to be said of them.

    Raises:
        InputRefusedError: ``job_running``: another job is at it.
    """
    with _alone(index):
        return index.mean_again() if index.ready else await _embed_version(index, embedder, report)


async def _embed_version(index: MeaningIndex, embedder: TextEmbedder, report: Report) -> VectorsRecord:
    probe = await embedder.rows(["."])
    dimensions = int(probe.shape[1])
    file = VectorFile(index.folder, dimensions)
    if index.begun() != dimensions:
        # Rows of another length are none that can be gone on with: a server of others may have another model now.
        file.discard()
        index.note_begun(dimensions)
    known = KnownVectors([f for f in index.siblings() if f.dimensions == dimensions], file)
    counts = _Counts()
    there = file.rows
    counts.reused = there
    total = index.version.rows
    report(there / max(1, total), f"{there:,} of {counted(total, 'row')} are there")
    for texts in _texts_from(index, there):
        keys = [text_key(text) for text in texts]
        vectors = await _vectors_of(texts, keys, known, embedder, dimensions, counts)
        file.append(keys, vectors)
        known.note(keys, there)
        there += len(keys)
        report(there / max(1, total), _progress(there, total, counts))
    about: VectorsRecord = {
        "version": index.version.ref,
        "sha256": index.version.sha256,
        "embedder": index.spec.as_dict(),
        "of": index.text.of,
        "embedded": index.text.told,
        "dimensions": dimensions,
        "rows": total,
        "computed": counts.computed,
        "reused": counts.reused,
        "cut": embedder.cut,
        "without_text": int((~file.has_text()).sum()),
        "bytes": file.size,
        "seconds": round(time.monotonic() - counts.began, 1),
    }
    index.finish(about)
    return about


def _texts_from(index: MeaningIndex, first: int) -> Iterator[list[str]]:
    for batch in index.version.read(f"_row >= {first}" if first else "", batch=_ROWS):
        yield [index.text.text(row) for _, row in batch]


async def _vectors_of(
    texts: list[str], keys: list[bytes], known: KnownVectors, embedder: TextEmbedder, dimensions: int, counts: _Counts
) -> Half:
    made = np.zeros((len(texts), dimensions), np.float16)
    places: dict[bytes, list[int]] = {}
    for place, key in enumerate(keys):
        found = None if key == NO_TEXT else known.get(key)
        if key == NO_TEXT:
            continue
        if found is not None:
            made[place] = found
            counts.reused += 1
        else:
            places.setdefault(key, []).append(place)
    wanted = list(places.values())
    vectors = await embedder.many([texts[at[0]] for at in wanted], dimensions)
    for at, vector in zip(wanted, vectors, strict=True):
        made[at] = vector
    counts.computed += len(wanted)
    counts.reused += sum(len(at) - 1 for at in wanted)
    return made


def _progress(done: int, total: int, counts: _Counts) -> str:
    seconds = time.monotonic() - counts.began
    rate = f", {counts.computed / seconds:,.0f} texts/s" if counts.computed and seconds > 1 else ""
    return f"{done:,} of {counted(total, 'row')}{rate}"


def run_embedding_job(context: JobContext, ref: str, embedder: EmbedderRecord, of: str = "") -> VectorsRecord:
    """The job: embed a version. Cancelled or killed, it goes on where it was."""
    catalog = Catalog(context.workspace)
    version: DatasetVersion = DatasetStore(catalog).get(ref)
    index = MeaningIndex(version, EmbedderSpec(**embedder), of)
    if index.ready:
        return index.mean_again()
    context.report(0.0, f"starting {index.spec.model}")

    async def work() -> VectorsRecord:
        async with opened_embedder(catalog, index.spec) as opened:
            return await embed_version(index, opened, context.report)

    return asyncio.run(work())
