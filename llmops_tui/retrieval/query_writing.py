"""Queries with the passage that answers them, written by a local model about chunks of an index; somebody confirms each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterator
from hashlib import sha256

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.local_writer import Writer, opened_writer
from llmops_tui.retrieval.records import PassageRecord, QueriesRecord, WriterRecord, WrittenQueryRecord
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.retrieval.written_queries import OPEN, WrittenQueries
from llmops_tui.words import WORD
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_text

ENTRY: JobEntry[QueriesRecord] = JobEntry("llmops_tui.retrieval.query_writing:run_query_job")
KIND = "queries"
# Questions that have so many of their words in common are one.
_ALIKE = 0.7
_LEAST_TOKENS = 12
_LONGEST = 300
_SYSTEM = "You write questions that people ask, so that it can be seen whether a search finds their answers."
_ASKED = (
    "A passage of the document {name}:\n\n{text}\n\nEnd of the passage. Write one question that this passage answers, in other "
    "words than the passage has, as somebody would ask who does not know the passage. Do not mention a passage or a document."
)
_FORM = {
    "type": "json_schema",
    "json_schema": {
        "name": "question",
        "schema": {
            "type": "object",
            "properties": {"question": {"type": "string", "minLength": 5, "maxLength": _LONGEST}},
            "required": ["question"],
            "additionalProperties": False,
        },
    },
}
# Words of the request, which a model that repeats it says of any passage.
_TOLD = frozenset({"passage", "document", "question"})
_WORD = re.compile(WORD)


async def write_queries(
    store: IndexStore, name: str, record: WriterRecord, count: int, writer: Writer, report: Callable[[float, str], None]
) -> QueriesRecord:
    """Have so many more queries written, about chunks that have none; what is near to a query that is there falls.

    Raises:
        InputRefusedError: ``bad_count``. NotFoundError: there is no such index. LlmopsError: the server is gone.
    """
    if count < 1:
        raise InputRefusedError("bad_count", f"{count} queries cannot be written", "Write one or more.")
    index, kept = store.get(name), WrittenQueries(store, name)
    known = kept.all()
    about = {(one["document"], one["sha256"]) for one in known}
    said = [words_of(one["query"]) for one in known]
    written = alike = empty = gone = 0
    with ChunkFile.opened(index.folder) as file:
        for passage in _drawn(file, about):
            if written >= count:
                break
            if not kept.has_passage(index.ref, passage):
                # This file is as it was; the document was taken out since.
                gone += 1
                continue
            question = await _question(writer, passage)
            words = words_of(question)
            if not words or _TOLD & words - words_of(passage["text"]):
                empty += 1
            elif any(likeness(words, other) >= _ALIKE for other in said):
                alike += 1
            elif kept.add(_record(index.ref, record, passage, question, words)):
                said.append(words)
                written += 1
            else:
                gone += 1
            report(written / count, f"{written:,} of {count:,} written, {alike + empty + gone:,} fell")
    total = len(kept.all())
    return {"index": index.ref, "written": written, "alike": alike, "empty": empty, "gone": gone, "total": total}


def _drawn(file: ChunkFile, about: Collection[tuple[str, str]]) -> Iterator[PassageRecord]:
    """The chunks that no query is about, in an order that has nothing to do with theirs, and is always the same."""
    chosen = [
        (sha256(f"{passage['document']}\0{passage['sha256']}".encode()).digest(), passage["chunk"])
        for passage in file.all_passages()
        if passage["tokens"] >= _LEAST_TOKENS and (passage["document"], passage["sha256"]) not in about
    ]
    for _, chunk in sorted(chosen):
        yield file.passages([chunk])[chunk]


async def _question(writer: Writer, passage: PassageRecord) -> str:
    messages: list[ChatMessage] = [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": _ASKED.format(name=passage["document"], text=passage["text"])},
    ]
    said = await writer.write(messages, 200, _FORM)
    try:
        value = parse_json(said.text)
    except ValueError:
        # It was cut off.
        return ""
    question = value.get("question") if isinstance(value, dict) else None
    return " ".join(question.split()) if isinstance(question, str) else ""


def _record(
    ref: str, writer: WriterRecord, passage: PassageRecord, question: str, words: frozenset[str]
) -> WrittenQueryRecord:
    return {
        "id": sha256_text(f"{passage['document']}\0{question}")[:10],
        "query": question,
        "document": passage["document"],
        "start": passage["start"],
        "end": passage["end"],
        "sha256": sha256_text(passage["text"]),
        "state": OPEN,
        "model": writer["model"],
        "model_sha256": writer["sha256"],
        "of": ref,
        "copied": round(len(words & words_of(passage["text"])) / len(words), 3),
    }


def words_of(text: str) -> frozenset[str]:
    """The different words of a text, whatever their case."""
    return frozenset(word.lower() for word in _WORD.findall(text))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """How many of all words of two texts both have (Jaccard)."""
    return len(one & other) / len(one | other) if one or other else 1.0


def run_query_job(context: JobContext, name: str, record: WriterRecord, count: int) -> QueriesRecord:
    """The job: have queries written. Killed, those that were written are there."""
    store = IndexStore(Catalog(context.workspace))

    async def work() -> QueriesRecord:
        context.report(0.0, f"starting {record['model']}")
        async with opened_writer(store.catalog, record) as writer:
            return await write_queries(store, name, record, count, writer, context.report)

    return asyncio.run(work())
