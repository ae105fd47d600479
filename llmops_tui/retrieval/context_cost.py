"""What the contexts of an index will take, before they are asked for: tokens, and minutes at the speed of the first of them.

Those that were written to measure are kept, and not asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llmops_tui.counts import counted
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.retrieval.build import known_contexts
from llmops_tui.retrieval.chunk_file import ChunkFile, searched_text
from llmops_tui.retrieval.chunking import Chunk, cut
from llmops_tui.retrieval.contexts import (
    Contextualizer,
    WrittenContexts,
    asked_tokens,
    context_key,
    parts_of,
)
from llmops_tui.retrieval.documents import Readers
from llmops_tui.retrieval.local_writer import Writer, Written, opened_writer
from llmops_tui.retrieval.records import BuildRecord, ContextCostRecord, ContextRecord
from llmops_tui.retrieval.sources import read_corpus
from llmops_tui.retrieval.store import BUILDING, CONTEXTS, IndexStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import make_folder_within

COST_ENTRY: JobEntry[ContextCostRecord] = JobEntry("llmops_tui.retrieval.context_cost:run_context_cost")
_MEASURED = 3
# What a context has unless any was written yet, in tokens.
_USUAL = 40


def cost_text(found: ContextCostRecord) -> str:
    """The cost in one line."""
    asked = found["chunks"] - found["known"]
    known = f", {found['known']:,} known" if found["known"] else ""
    if not asked:
        return f"contexts: {counted(found['chunks'], 'chunk')}{known}; none is asked for"
    minutes = "time not known" if found["seconds"] is None else f"about {max(1, round(found['seconds'] / 60)):,} min"
    measured = f" at the speed of the first {found['measured']}" if found["measured"] else ""
    return (
        f"contexts: {counted(asked, 'chunk')} to ask for{known}: about {found['prompt_tokens']:,} tokens read and "
        f"{found['answer_tokens']:,} written, {minutes}{measured}"
    )


@dataclass
class _Asked:
    """A run of chunks of a document that have no context yet, and the characters that they are asked within."""

    name: str
    text: str
    start: int
    end: int
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """About how many tokens are evaluated for it."""
        texts = [self.text[chunk.start : chunk.end] for chunk in self.chunks]
        return asked_tokens(self.name, self.text[self.start : self.end], texts)


async def measure_cost(
    store: IndexStore,
    name: str,
    asked: BuildRecord,
    record: ContextRecord,
    writer: Writer,
    told: Callable[[float, str], None],
) -> ContextCostRecord:
    """Count what is to be asked, and ask the first.

    Raises:
        InputRefusedError: ``job_running``.
    """
    chunks = known = prompt = answers = to_ask = 0
    speed = _Speed()
    with store.building(name) as home:
        staged = home / BUILDING
        make_folder_within(staged)
        written = WrittenContexts(staged / CONTEXTS, known_contexts(store, name))
        contextualizer = Contextualizer(record, written, writer, speed.note)
        told(0.0, "counting chunks")
        samples: list[str] = []
        for run, has in _runs(store, name, asked, record, written):
            chunks += has + len(run.chunks)
            known += has
            while run.chunks and len(samples) < _MEASURED:
                chunk = run.chunks.pop(0)
                said = await contextualizer.ask(run.name, run.text, chunk, run.start, run.end)
                written.put(_key(record, run, chunk), said)
                samples.append(said)
                told(0.5, f"asked for the first {len(samples)}")
                known += 1
            to_ask += len(run.chunks)
            prompt += run.tokens if run.chunks else 0
    each = speed.generated / speed.count if speed.count else _USUAL
    answers = round(each * to_ask)
    return {
        "chunks": chunks,
        "known": known,
        "prompt_tokens": prompt,
        "answer_tokens": answers,
        "seconds": speed.seconds(prompt, answers) if to_ask else 0.0,
        "measured": speed.count,
        "samples": samples,
    }


@dataclass
class _Speed:
    """How fast tokens were read and written."""

    count: int = 0
    evaluated: int = 0
    generated: int = 0
    reading_ms: float = 0.0
    writing_ms: float = 0.0

    def note(self, one: Written) -> None:
        """One that was written."""
        self.count += 1
        self.evaluated += one.evaluated
        self.generated += one.generated
        self.reading_ms += one.first_ms
        self.writing_ms += max(0.0, one.total_ms - one.first_ms)

    def seconds(self, prompt: int, answers: int) -> float | None:
        """How long so many tokens take; none where nothing was measured."""
        if not (self.evaluated and self.generated and self.reading_ms):
            return None
        each = self.writing_ms / self.generated
        return (prompt * self.reading_ms / self.evaluated + answers * each) / 1000


def _key(record: ContextRecord, run: _Asked, chunk: Chunk) -> bytes:
    return context_key(record, run.name, searched_text(chunk.above, run.text[chunk.start : chunk.end]))


def _runs(
    store: IndexStore, name: str, asked: BuildRecord, record: ContextRecord, written: WrittenContexts
) -> Iterator[tuple[_Asked, int]]:
    """What is to be asked of each run of chunks, and how many of its contexts are known."""
    before = store.newest(name)
    excluded = set() if asked["take_back"] or before is None else set(before.record["excluded"])
    with Readers() as readers:
        if before is None:
            yield from _of_corpus(store, asked, record, written, readers, lambda _digest: None, excluded)
            return
        with ChunkFile.opened(before.folder) as file:
            yield from _of_corpus(store, asked, record, written, readers, file.text_of_file, excluded)


def _of_corpus(
    store: IndexStore,
    asked: BuildRecord,
    record: ContextRecord,
    written: WrittenContexts,
    readers: Readers,
    known: Callable[[str], str | None],
    excluded: set[str],
) -> Iterator[tuple[_Asked, int]]:
    for document in read_corpus(store.catalog, asked["source"], readers, known).documents:
        if document.name in excluded:
            continue
        text = document.kept_text
        chunks = cut(text, structured=document.structured, tokens=asked["tokens"])
        for part in parts_of(text, chunks):
            run = _Asked(document.name, text, part[0].start, part[-1].end)
            run.chunks = [chunk for chunk in part if written.get(_key(record, run, chunk)) is None]
            yield run, len(part) - len(run.chunks)


def run_context_cost(context: JobContext, name: str, asked: BuildRecord) -> ContextCostRecord:
    """The job: say what the contexts of a build take."""
    store = IndexStore(Catalog(context.workspace))
    record = asked.get("context")
    assert record is not None

    async def work() -> ContextCostRecord:
        async with opened_writer(store.catalog, record) as writer:
            return await measure_cost(store, name, asked, record, writer, context.report)

    return asyncio.run(work())
