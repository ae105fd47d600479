"""Short contexts of chunks: what a chunk is about within its document, written by a local model and searched with the chunk.

A chunk of "It is 30 days" says nothing of refunds; its context does (Anthropic, "Introducing Contextual Retrieval", 2024). The
document stands first in what is asked, and the chunk behind it, so that a document is evaluated once for all of its chunks. What
is written is kept by the hash of the document's name, the chunk and what it was asked of: only other chunks are asked again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.retrieval.chunking import Chunk, estimate_tokens
from llmops_tui.retrieval.local_writer import TOO_LONG, Writer, Written
from llmops_tui.retrieval.records import ContextRecord
from llmops_tui.workspace.files import append_bytes, make_folder_within, sha256_text, sync_file

_FILE = "written.jsonl"
MOST_TOKENS = 90
"""Of a context."""
_MOST_LETTERS = 500
# Of a document, in estimated tokens: what a context of 4,096 has room for beside the chunk, whatever the vocabulary.
PART_TOKENS = 2000
_SYSTEM = "You say what a passage of a document is about, so that it is found. You write one short sentence, and nothing else."
_DOCUMENT = "The document {name}:\n\n{document}\n\nEnd of the document."
_CHUNK = (
    "A passage of the document:\n\n{chunk}\n\nEnd of the passage. Say in one short sentence what this passage is about within "
    "the document: name the subject, and whom or what words such as 'it' stand for. Do not repeat the passage."
)
Key = bytes


def prompt_sha256() -> str:
    """The hash of how contexts are asked for."""
    return sha256_text(json.dumps([_SYSTEM, _DOCUMENT, _CHUNK, MOST_TOKENS, PART_TOKENS]))


def context_key(record: ContextRecord, document: str, searched: str) -> Key:
    """What the context of a chunk is kept by: 16 bytes."""
    facts = [record["sha256"], record["prompt_sha256"], document, searched]
    return blake2b(json.dumps(facts).encode(), digest_size=16).digest()


class WrittenContexts:
    """The contexts that there are: of other versions, and in a file those of a build that goes on."""

    def __init__(self, folder: Path, known: Mapping[Key, str]) -> None:
        make_folder_within(folder)
        self._path = folder / _FILE
        self._known = dict(known)
        self._known.update(_read(self._path))
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            # A killed writer left a half of a line, which the next one is not to be a part of.
            with append_bytes(self._path) as file:
                file.write(b"\n")

    def get(self, key: Key) -> str | None:
        """A context that was written."""
        return self._known.get(key)

    def put(self, key: Key, context: str) -> None:
        """Keep a context, durably."""
        line = json.dumps({"key": key.hex(), "context": context}).encode() + b"\n"
        with append_bytes(self._path) as file:
            file.write(line)
        sync_file(self._path)
        self._known[key] = context


def _read(path: Path) -> Iterator[tuple[Key, str]]:
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            value = parse_json(line.decode())
            yield bytes.fromhex(value["key"]), str(value["context"])
        except (ValueError, KeyError, TypeError):
            # A killed writer left a half of it; that chunk is asked again.
            continue


class Contextualizer:
    """Gives each chunk of a document its context; what is not known is asked of the model, one chunk after the other."""

    def __init__(
        self, record: ContextRecord, written: WrittenContexts, writer: Writer, told: Callable[[Written], None]
    ) -> None:
        """``told`` hears of each that was asked; a cancel is raised there."""
        self._record = record
        self._written = written
        self._writer = writer
        self._told = told

    async def of(
        self, name: str, text: str, chunks: Sequence[Chunk], searched: Callable[[Chunk], str]
    ) -> list[tuple[Key, str]]:
        """The key and the context of each chunk; ``searched`` is what is embedded of one without it."""
        found: list[tuple[Key, str]] = []
        for part in parts_of(text, chunks):
            start, end = part[0].start, part[-1].end
            for chunk in part:
                key = context_key(self._record, name, searched(chunk))
                context = self._written.get(key)
                if context is None:
                    context = await self.ask(name, text, chunk, start, end)
                    self._written.put(key, context)
                found.append((key, context))
        return found

    async def ask(self, name: str, text: str, chunk: Chunk, start: int, end: int) -> str:
        """The context of one chunk within the characters from ``start`` to ``end`` of its document.

        Raises:
            LlmopsError: the server is gone, or the chunk alone is too long for the model.
        """
        while True:
            try:
                said = await self._writer.write(
                    _messages(name, text[start:end], text[chunk.start : chunk.end]), MOST_TOKENS
                )
            except LlmopsError as error:
                if error.code != TOO_LONG or (start, end) == (chunk.start, chunk.end):
                    raise
                # Less of what is around it.
                start, end = (start + chunk.start + 1) // 2, (end + chunk.end) // 2
                continue
            context = one_line(said.text)
            self._told(said)
            return context


def parts_of(text: str, chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    """The chunks of a document in runs that a model reads at once, with all that stands between them."""
    begin, size = 0, 0
    for number, chunk in enumerate(chunks):
        own = estimate_tokens(text[chunk.start : chunk.end])
        if number > begin and size + own > PART_TOKENS:
            yield chunks[begin:number]
            begin, size = number, 0
        size += own
    if chunks:
        yield chunks[begin:]


def _messages(name: str, document: str, chunk: str) -> list[ChatMessage]:
    asked = f"{_DOCUMENT.format(name=name, document=document)}\n\n{_CHUNK.format(chunk=chunk)}"
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": asked}]


def asked_tokens(name: str, document: str, chunks: Sequence[str]) -> int:
    """About how many tokens are evaluated for a run of chunks: what stands before them once, and each of them."""
    before = estimate_tokens(_SYSTEM + _DOCUMENT.format(name=name, document=document))
    return before + sum(estimate_tokens(_CHUNK.format(chunk=chunk)) for chunk in chunks)


def one_line(said: str) -> str:
    """What a model wrote as one line without what was only formatting."""
    line = " ".join(said.replace("\0", " ").split()).strip("\"'*` ")
    return line if len(line) <= _MOST_LETTERS else line[:_MOST_LETTERS].rsplit(" ", 1)[0]
