"""Queries with what should come: documents, with grades where some matter more, or spans of their text; and with answers.

A query that the documents cannot answer is marked, so that what becomes of it in answers can be measured.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json, text_of
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.workspace.files import sha256_text

_MOST = 256 << 20
_KEYS = frozenset({"id", "query", "documents", "spans", "answer", "answerable"})
_SPAN_KEYS = frozenset({"document", "start", "end", "text"})
_FORM = (
    'Such as {"query": "…", "documents": ["a.md"]}, {"query": "…", "documents": {"a.md": 2, "b.md": 1}} or '
    '{"query": "…", "spans": [{"document": "a.md", "start": 10, "end": 90}]}, a line each; "answer" is what is expected, and '
    '"answerable": false says that nothing answers it.'
)


@dataclass(frozen=True)
class Span:
    """Characters of a document's text."""

    document: str
    start: int
    end: int


@dataclass(frozen=True)
class GoldQuery:
    """A query, with the documents that should come and their grades, or the spans; one of both is empty.

    ``reference`` is the expected answer, else the text of the spans; empty where neither is known. A query that is not
    ``answerable`` has none of all this.
    """

    id: str
    text: str
    documents: dict[str, float]
    spans: tuple[Span, ...]
    reference: str = ""
    answerable: bool = True

    @property
    def ranked(self) -> bool:
        """Whether something should come, so that rankings can be measured on it."""
        return bool(self.documents or self.spans)

    @property
    def sha256(self) -> str:
        """The hash of its words, whatever case and blanks they have: by it queries are the same."""
        return sha256_text(" ".join(self.text.split()).casefold())


def left_out(queries: Iterable[GoldQuery]) -> dict[str, int]:
    """How many queries no ranking can be measured on, by the reason."""
    why = (
        "with an answer and nothing that should come" if one.answerable else "cannot be answered"
        for one in queries
        if not one.ranked
    )
    return dict(Counter(why))


class _Reader:
    def __init__(self, path: Path, file: ChunkFile, index: str) -> None:
        self._path = path
        self._file = file
        self._index = index
        self._names = set(file.names())
        self._ids: dict[str, int] = {}
        self._marks: dict[str, tuple[int, bool]] = {}

    def refuse(self, line: int, why: str, hint: str = _FORM) -> InputRefusedError:
        return InputRefusedError("bad_queries", f"{self._path}, line {line}: {why}", hint)

    def query(self, line: int, value: Any) -> GoldQuery:
        if not isinstance(value, dict):
            raise self.refuse(line, "it is no object")
        if unknown := sorted(set(value) - _KEYS):
            raise self.refuse(line, f"{unknown[0]!r} is none of {', '.join(sorted(_KEYS))}")
        text = value.get("query")
        if not isinstance(text, str) or not text.strip():
            raise self.refuse(line, "it has no query")
        if "answerable" in value and not isinstance(value["answerable"], bool):
            raise self.refuse(line, "answerable is true or false")
        given = [name for name in ("documents", "spans") if name in value]
        if len(given) > 1 or not (given or "answer" in value or value.get("answerable") is False):
            raise self.refuse(line, "it needs either documents or spans that should come, or an answer")
        documents = self._documents(line, value["documents"]) if "documents" in value else {}
        spans = tuple(self._spans(line, value["spans"])) if "spans" in value else ()
        answer = value.get("answer", "")
        if "answer" in value and not (isinstance(answer, str) and answer.strip()):
            raise self.refuse(line, "its answer is no text")
        known = self._answerable(line, value, bool(documents or spans), bool(given))
        reference = answer or "\n".join((self._file.text(s.document) or "")[s.start : s.end] for s in spans)
        return GoldQuery(str(value.get("id", line)), text, documents, spans, reference, known)

    def require_first(self, line: int, value: JsonObject, query: GoldQuery) -> None:
        """Refuse an id that was given before, and a query that can be answered on one line and cannot on another."""
        if "id" in value and (before := self._ids.setdefault(query.id, line)) != line:
            raise self.refuse(line, f"its id {query.id!r} is that of line {before}")
        before, known = self._marks.setdefault(query.sha256, (line, query.answerable))
        if known != query.answerable:
            raise self.refuse(line, f"it is the query of line {before}, and only one of both can be answered")

    def _answerable(self, line: int, value: JsonObject, comes: bool, told: bool) -> bool:
        """Whether there is an answer; what says both is refused. ``told``: documents or spans are given, if only none."""
        mark = value.get("answerable")
        nothing = told and not comes
        if mark is True and nothing:
            raise self.refuse(line, "answerable is true, and nothing should come")
        known = not nothing if mark is None else bool(mark)
        if not known and (comes or "answer" in value):
            what = "something should come" if comes else "it has an answer"
            raise self.refuse(line, f"it is marked as one that cannot be answered, and {what}")
        return known

    def _documents(self, line: int, value: Any) -> dict[str, float]:
        if isinstance(value, list):
            given: dict[Any, Any] = (
                dict.fromkeys(value, 1.0) if all(isinstance(name, str) for name in value) else {0: 0}
            )
        else:
            given = value if isinstance(value, dict) else {0: 0}
        for name, grade in given.items():
            if not isinstance(name, str):
                raise self.refuse(line, "documents is a list of names, or an object of names and grades")
            if isinstance(grade, bool) or not isinstance(grade, int | float) or not 0 < grade < math.inf:
                raise self.refuse(line, f"the grade of {name} is no number above 0")
            self._require(line, name)
        return {name: float(grade) for name, grade in given.items()}

    def _require(self, line: int, name: str) -> None:
        if name not in self._names:
            hint = "llmops index show NAME --documents lists them; documents of a dataset are named by row or by --id."
            raise self.refuse(line, f"{self._index} has no document {name!r}", hint)

    def _spans(self, line: int, value: Any) -> Iterator[Span]:
        if not isinstance(value, list):
            raise self.refuse(line, "spans is no list")
        for one in value:
            if not isinstance(one, dict) or not isinstance(one.get("document"), str) or set(one) - _SPAN_KEYS:
                raise self.refuse(line, "a span has a document, and start and end or text")
            self._require(line, one["document"])
            yield self._by_text(line, one) if "text" in one else self._by_place(line, one)

    def _by_text(self, line: int, one: JsonObject) -> Span:
        text = self._file.text(one["document"]) or ""
        wanted = one["text"]
        if not isinstance(wanted, str) or not wanted.strip() or "start" in one or "end" in one:
            raise self.refuse(line, "a span has either a text or start and end")
        count = text.count(wanted)
        if count != 1:
            told = (
                "does not have the span's text"
                if not count
                else f"has the span's text {count} times: give start and end"
            )
            raise self.refuse(line, f"{one['document']} {told}")
        start = text.index(wanted)
        return Span(one["document"], start, start + len(wanted))

    def _by_place(self, line: int, one: JsonObject) -> Span:
        start, end = one.get("start"), one.get("end")
        size = len(self._file.text(one["document"]) or "")
        whole = all(isinstance(at, int) and not isinstance(at, bool) for at in (start, end))
        if not whole or not 0 <= start < end <= size:  # type: ignore[operator]  # they are numbers
            raise self.refuse(line, f"{one['document']} has no characters from {start} to {end}: it has {size:,}")
        return Span(one["document"], start, end)  # type: ignore[arg-type]  # they are numbers


def read_queries(path: Path, file: ChunkFile, index: str) -> list[GoldQuery]:
    """The queries of a file of JSON Lines, held against the documents of an index.

    Raises:
        InputRefusedError: ``bad_queries``: which line, and why.
    """
    try:
        text = text_of(path, _MOST)
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InputRefusedError("bad_queries", f"{path} cannot be read: {told}", _FORM) from error
    reader = _Reader(path, file, index)
    found: list[GoldQuery] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ValueError as error:
            raise reader.refuse(number, f"it is no JSON: {error}") from error
        found.append(query := reader.query(number, value))
        reader.require_first(number, value, query)
    if not found:
        raise InputRefusedError("bad_queries", f"{path} has no queries", _FORM)
    if len({bool(query.spans) for query in found if query.ranked}) > 1:
        raise InputRefusedError(
            "bad_queries", f"{path} has documents and spans: one measure is made of one kind", _FORM
        )
    return found
