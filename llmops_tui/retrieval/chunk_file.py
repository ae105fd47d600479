"""The documents, chunks and words of an index in one SQLite file, which is written once and then only read.

``words`` is an FTS5 table without content: its terms are stemmed by Porter's algorithm, without accents. Chunks are ranked by
BM25 from arrays of the same terms (:mod:`.postings`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from llmops_tui.embeddings.vector_file import text_key
from llmops_tui.errors import LlmopsError
from llmops_tui.retrieval.chunking import Chunk, cut
from llmops_tui.retrieval.documents import Document
from llmops_tui.retrieval.postings import TABLES as POSTINGS
from llmops_tui.retrieval.postings import TOKENIZER, Postings, has_arrays, write_postings
from llmops_tui.retrieval.records import PassageRecord
from llmops_tui.retrieval.sources import FileFacts
from llmops_tui.retrieval.terms import Term, coded_terms

NAME = "chunks.db"
_TABLES = (
    """CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
    paged INTEGER NOT NULL, file_sha256 TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL)""",
    """CREATE TABLE chunks (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
    heading TEXT NOT NULL, above TEXT NOT NULL, tokens INTEGER NOT NULL, sha256 TEXT NOT NULL, key BLOB NOT NULL)""",
    "CREATE INDEX chunks_of ON chunks (document, start)",
    f"CREATE VIRTUAL TABLE words USING fts5(text, codes, content='', tokenize='{TOKENIZER}')",
    *POSTINGS,
)
_PASSAGE = """SELECT c.id, d.name, c.start, c."end", c.heading, c.sha256, c.tokens, d.paged,
    substr(d.text, c.start + 1, c."end" - c.start), CASE WHEN d.paged THEN substr(d.text, 1, c.start) ELSE '' END
    FROM chunks c JOIN documents d ON d.id = c.document"""
# Of the chunks that have one, with the hash that it is kept by.
_CONTEXTS = "CREATE TABLE contexts (chunk INTEGER PRIMARY KEY, key BLOB NOT NULL, context TEXT NOT NULL)"
_MANY = 500


class ChunkWriter:
    """Writes the file of an index, document by document."""

    def __init__(self, path: Path, tokens: int) -> None:
        self._tokens = tokens
        self.documents = self.chunks = self.tokens = 0
        self._has_contexts = False
        # Of what is written, so that whoever makes the same again knows it.
        self._digest = sha256()
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("BEGIN")
        for statement in _TABLES:
            self._connection.execute(statement)

    def cut(self, document: Document) -> tuple[str, list[Chunk]]:
        """The text of a document as it is kept, and its chunks."""
        text = document.kept_text
        return text, cut(text, structured=document.structured, tokens=self._tokens)

    def add(
        self, document: Document, chunks: Sequence[Chunk] | None = None, contexts: Sequence[tuple[bytes, str]] = ()
    ) -> None:
        """Add a document, cut anew unless it comes with its chunks; with ``contexts`` one for each, with its key.

        Raises:
            LlmopsError: ``document_twice``: one of its name is there.
        """
        if chunks is None:
            text, chunks = self.cut(document)
        else:
            text = document.kept_text
        try:
            number = self._connection.execute(
                "INSERT INTO documents (name, title, text, paged, file_sha256, size, mtime_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    document.name,
                    document.title,
                    text,
                    document.paged,
                    document.file_sha256,
                    document.size,
                    document.mtime_ns,
                ),
            ).lastrowid
        except sqlite3.IntegrityError as error:
            raise LlmopsError("document_twice", f"two documents are called {document.name}") from error
        assert number is not None
        self._digest.update(_document_part(document.name, text))
        self._add_chunks(number, text, chunks, [context for _, context in contexts])
        self._keep_contexts(contexts)
        self.chunks += len(chunks)
        self.documents += 1

    def _keep_contexts(self, contexts: Sequence[tuple[bytes, str]]) -> None:
        if contexts and not self._has_contexts:
            self._connection.execute(_CONTEXTS)
            self._has_contexts = True
        rows = [(at, key, context) for at, (key, context) in enumerate(contexts, self.chunks + 1)]
        if rows:
            self._connection.executemany("INSERT INTO contexts VALUES (?, ?, ?)", rows)

    def _add_chunks(self, number: int, text: str, chunks: Sequence[Chunk], contexts: Sequence[str]) -> None:
        rows, words = [], []
        for at, chunk in enumerate(chunks, self.chunks + 1):
            said = text[chunk.start : chunk.end]
            context = contexts[at - self.chunks - 1] if contexts else ""
            meant = searched_text(chunk.above, said, context)
            digest = sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
            rows.append(
                (at, number, chunk.start, chunk.end, chunk.heading, chunk.above, chunk.tokens, digest, text_key(meant))
            )
            words.append((at, meant, coded_terms(meant)))
            self._digest.update(_chunk_part(chunk.start, chunk.end, context))
            self.tokens += chunk.tokens
        self._connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._connection.executemany("INSERT INTO words (rowid, text, codes) VALUES (?, ?, ?)", words)

    def finish(self) -> str:
        """All is there: make it durable, and return the hash of the documents with their chunks."""
        self._connection.execute("COMMIT")
        self._connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._connection.execute("BEGIN")
        write_postings(self._connection, self.chunks)
        self._connection.execute("COMMIT")
        # The next to open it waits for nothing that is still in memory alone.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA user_version = 1")
        self._connection.close()
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Let it go."""
        self._connection.close()


def _document_part(name: str, text: str) -> bytes:
    return f"{name}\0{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}\0".encode()


def _chunk_part(start: int, end: int, context: str = "") -> bytes:
    return f"{start}-{end}\0{context}{chr(0) if context else ''}".encode("utf-8", "surrogatepass")


def searched_text(above: str, text: str, context: str = "") -> str:
    """What is embedded and searched of a chunk: the headings that it stands under, its context, and its text."""
    return "\n".join(part for part in (above, context, text) if part)


class ChunkFile:
    """Reads the file of an index."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Its words, once they are searched.
        self._searched: Postings | None = None
        # The document of each file by its hash, for which there is no index.
        self._by_file: dict[str, int] | None = None
        self._contexts: bool | None = None

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[ChunkFile]:
        """The file in the folder of an index; what reads it may be another thread, one at a time.

        Raises:
            LlmopsError: ``index_damaged``: it is not there, or cannot be read.
        """
        path = folder / NAME
        try:
            connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise _damaged(path, error) from error
        with closing(connection):
            file = cls(connection)
            try:
                yield file
            except sqlite3.DatabaseError as error:
                raise _damaged(path, error) from error
            finally:
                if file._searched is not None:
                    file._searched.close()

    # ── words ──

    @property
    def _postings(self) -> Postings:
        if self._searched is None:
            self._searched = Postings(self._connection)
        return self._searched

    @property
    def has_arrays(self) -> bool:
        """Whether the words are there as arrays; not where an earlier version wrote the file."""
        return has_arrays(self._connection)

    def best(self, terms: Sequence[Term], count: int) -> list[tuple[int, float]]:
        """The chunks that have any of these terms, with their BM25, the best first; of equal ones the first in the text."""
        return self._postings.best(terms, count)

    def word_rank(self, terms: Sequence[Term], chunk: int) -> tuple[int, float] | None:
        """The rank of a chunk among all that have any of these terms, and its BM25; none where it has none of them."""
        return self._postings.rank(terms, chunk)

    def having(self, term: Term, chunks: Sequence[int]) -> set[int]:
        """Which of some chunks have a term."""
        having = self._postings.having(term)
        wanted = np.fromiter(chunks, np.int64)
        # They are in their order. What is behind the last one is not there.
        at = np.searchsorted(having, wanted)
        return set(wanted[having.take(at, mode="clip") == wanted].tolist()) if len(having) else set()

    def frequency(self, term: Term) -> int:
        """How many chunks have a term."""
        return len(self._postings.having(term))

    # ── chunks and documents ──

    def passages(self, chunks: Sequence[int]) -> dict[int, PassageRecord]:
        """Some chunks by their number."""
        found: dict[int, PassageRecord] = {}
        for at in range(0, len(chunks), _MANY):
            some = chunks[at : at + _MANY]
            rows = self._connection.execute(f"{_PASSAGE} WHERE c.id IN ({', '.join('?' for _ in some)})", list(some))
            found |= {int(row[0]): _passage(row) for row in rows}
        for chunk, (_, context) in self.contexts(list(found)).items():
            found[chunk]["context"] = context
        return found

    def with_hashes(self, hashes: Collection[str]) -> list[int]:
        """The chunks whose texts have these SHA-256."""
        rows = self._connection.execute("SELECT id, sha256 FROM chunks ORDER BY id")
        return [int(chunk) for chunk, digest in rows if digest in hashes]

    def contexts(self, chunks: Sequence[int] | None = None) -> dict[int, tuple[bytes, str]]:
        """The contexts of some chunks, or of all that have one, each with the hash that it is kept by."""
        if self._contexts is None:
            asked = "SELECT count(*) FROM sqlite_master WHERE name = 'contexts'"
            self._contexts = bool(self._connection.execute(asked).fetchone()[0])
        if not self._contexts:
            return {}
        asked = "SELECT chunk, key, context FROM contexts"
        if chunks is not None:
            asked += f" WHERE chunk IN ({', '.join(str(int(chunk)) for chunk in chunks)})"
        return {int(chunk): (bytes(key), str(context)) for chunk, key, context in self._connection.execute(asked)}

    def all_passages(self) -> Iterator[PassageRecord]:
        """All chunks, in the order of the documents."""
        for name, text, paged, rows in self._by_document('id, start, "end", heading, sha256, tokens'):
            page, counted = 1, 0
            for chunk, start, end, heading, digest, tokens in rows:
                page, counted = page + text.count("\f", counted, start), start
                yield {
                    "chunk": chunk,
                    "document": name,
                    "start": start,
                    "end": end,
                    "page": page if paged else None,
                    "heading": heading,
                    "sha256": digest,
                    "tokens": tokens,
                    "text": text[start:end],
                }

    def embedded_texts(self) -> Iterator[tuple[int, bytes, str]]:
        """Of each chunk its number, the hash of what is embedded of it, and that."""
        contexts = self.contexts()
        for _, text, _, rows in self._by_document('id, start, "end", above, key'):
            for chunk, start, end, above, key in rows:
                _, context = contexts.get(chunk, (b"", ""))
                yield chunk, bytes(key), searched_text(above, text[start:end], context)

    def _by_document(self, columns: str) -> Iterator[tuple[str, str, bool, Iterator[Any]]]:
        """Each document's name, text and whether it has pages, with these columns of its chunks.

        SQLite counts the characters of a text from its beginning for each part of it: a long one is read once and cut here.
        """
        documents = self._connection.execute("SELECT id, name, text, paged FROM documents ORDER BY id")
        for number, name, text, paged in documents:
            chunks = self._connection.execute(f"SELECT {columns} FROM chunks WHERE document = ? ORDER BY id", (number,))
            yield str(name), str(text), bool(paged), chunks

    def overlapping(self, document: str, start: int, end: int) -> list[PassageRecord]:
        """The chunks of a document that have any of these characters, in their order."""
        rows = self._connection.execute(
            f'{_PASSAGE} WHERE d.name = ? AND c.start < ? AND c."end" > ? ORDER BY c.start', (document, end, start)
        )
        return [_passage(row) for row in rows]

    def document_of(self) -> dict[int, str]:
        """The document of each chunk, by the chunk's number."""
        rows = self._connection.execute("SELECT c.id, d.name FROM chunks c JOIN documents d ON d.id = c.document")
        return {int(chunk): str(name) for chunk, name in rows}

    def names(self) -> list[str]:
        """The names of all documents, in their order."""
        return [str(name) for (name,) in self._connection.execute("SELECT name FROM documents ORDER BY id")]

    def chunk_counts(self) -> dict[str, int]:
        """How many chunks each document has."""
        rows = self._connection.execute(
            "SELECT d.name, count(c.id) FROM documents d LEFT JOIN chunks c ON c.document = d.id GROUP BY d.id ORDER BY d.id"
        )
        return {str(name): int(count) for name, count in rows}

    def text(self, document: str) -> str | None:
        """The text of a document; none where there is no such document."""
        row = self._connection.execute("SELECT text FROM documents WHERE name = ?", (document,)).fetchone()
        return None if row is None else str(row[0])

    def text_of_file(self, file_sha256: str) -> str | None:
        """The text that was read from a file with this hash."""
        if self._by_file is None:
            rows = self._connection.execute("SELECT file_sha256, id FROM documents")
            self._by_file = {str(digest): int(number) for digest, number in rows}
        row = self._connection.execute(
            "SELECT text FROM documents WHERE id = ?", (self._by_file.get(file_sha256),)
        ).fetchone()
        return None if row is None else str(row[0])

    def digest(self) -> str:
        """The hash of the documents with their chunks, as :meth:`ChunkWriter.finish` returned it."""
        found, contexts = sha256(), self.contexts()
        for name, text, _, rows in self._by_document('id, start, "end"'):
            found.update(_document_part(name, text))
            for chunk, start, end in rows:
                found.update(_chunk_part(start, end, contexts.get(chunk, (b"", ""))[1]))
        return found.hexdigest()

    def documents(self) -> Iterator[tuple[str, str]]:
        """The names and texts of all documents."""
        for name, text in self._connection.execute("SELECT name, text FROM documents ORDER BY id"):
            yield str(name), str(text)

    def files(self) -> dict[str, FileFacts]:
        """The files that documents were read from, as they were, by name."""
        rows = self._connection.execute("SELECT name, file_sha256, size, mtime_ns FROM documents")
        return {str(name): FileFacts(str(digest), int(size), int(mtime)) for name, digest, size, mtime in rows}

    def copy_without(self, path: Path, names: Iterable[str], tokens: int) -> ChunkWriter:
        """Write the same again without some documents, as if they had never been; the caller finishes it."""
        going, contexts = frozenset(names), self.contexts()
        writer = ChunkWriter(path, tokens)
        rows = self._connection.execute(
            "SELECT id, name, title, text, paged, file_sha256, size, mtime_ns FROM documents ORDER BY id"
        )
        for number, name, *rest in rows:
            if name in going:
                continue
            title, text, paged, digest, size, mtime = rest
            rows_of = self._connection.execute(
                'SELECT id, start, "end", heading, above, tokens FROM chunks WHERE document = ? ORDER BY id', (number,)
            ).fetchall()
            chunks = [Chunk(int(s), int(e), str(heading), str(above), int(n)) for _, s, e, heading, above, n in rows_of]
            document = Document(
                str(name),
                str(text),
                paged=bool(paged),
                title=str(title),
                file_sha256=str(digest),
                size=int(size),
                mtime_ns=int(mtime),
            )
            writer.add(document, chunks, [contexts[row[0]] for row in rows_of if row[0] in contexts])
        return writer


def _passage(row: Sequence[object]) -> PassageRecord:
    chunk, name, start, end, heading, digest, tokens, paged, text, before = row
    return {
        "chunk": int(str(chunk)),
        "document": str(name),
        "start": int(str(start)),
        "end": int(str(end)),
        "page": str(before).count("\f") + 1 if paged else None,
        "heading": str(heading),
        "sha256": str(digest),
        "tokens": int(str(tokens)),
        "text": str(text),
    }


def _damaged(path: Path, error: Exception) -> LlmopsError:
    return LlmopsError(
        "index_damaged",
        f"the index in {path} cannot be read: {error}",
        "Build it again: llmops index build NAME --again.",
    )
