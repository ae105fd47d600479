"""Queries that a model wrote about passages of an index, kept beside its versions; those that somebody confirmed are measured by.

Such queries compare indexes and ways to search as those of people do; they say less about a model's answers (arXiv 2508.11758). A
passage is kept by its place and the hash of its text, so that a query whose passage has changed is left out.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.foreign_text import parse_json
from llmops_tui.regular_files import read_regular
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.records import PassageRecord, WrittenQueryRecord
from llmops_tui.retrieval.store import Index, IndexStore
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.written import write_noted

FILE = "queries.jsonl"
_LOCK = "queries.lock"
_WAIT_SECONDS = 10.0
OPEN, CONFIRMED, REJECTED = "open", "confirmed", "rejected"


class WrittenQueries:
    """The queries of one index."""

    def __init__(self, store: IndexStore, name: str) -> None:
        self._store = store
        self._name = name
        self._path = store.home(name) / FILE

    def all(self) -> list[WrittenQueryRecord]:
        """All that were written, in their order.

        Raises:
            InputRefusedError: ``queries_damaged``.
        """
        if not self._path.exists():
            return []
        try:
            lines = read_regular(self._path).decode().splitlines()
            found = [parse_json(line) for line in lines]
            if not all(WrittenQueryRecord.__required_keys__ <= set(one) for one in found):
                raise ValueError("a line of it is no query")
        except (OSError, ValueError, TypeError) as error:
            told = f"the queries in {self._path} cannot be read: {error}"
            raise InputRefusedError("queries_damaged", told, "Remove the file, and have them written again.") from error
        return cast("list[WrittenQueryRecord]", found)

    def has_passage(self, ref: str, one: PassageRecord | WrittenQueryRecord) -> bool:
        """Whether a version still has a passage, or that of a query; its document may be taken out meanwhile."""
        try:
            index = self._store.get(ref)
        except NotFoundError:
            return False
        with ChunkFile.opened(index.folder) as file:
            return _is_there(file, one)

    def add(self, query: WrittenQueryRecord) -> bool:
        """Keep one more, durably; false where its passage is not there any more: what is forgotten does not come back.

        Raises:
            LlmopsError: ``queries_busy``.
        """
        with self._alone():
            if not self.has_passage(query["of"], query):
                return False
            self._write([*self.all(), query])
            return True

    def judge(self, state: str, ids: Collection[str]) -> list[WrittenQueryRecord]:
        """Confirm or reject some; returns all.

        Raises:
            NotFoundError: there is no such query. LlmopsError: ``queries_busy``.
        """
        with self._alone():
            queries = self.all()
            if missing := sorted(set(ids) - {one["id"] for one in queries}):
                raise NotFoundError("query", missing[0], f"llmops index queries {self._name} lists them.")
            changed: list[WrittenQueryRecord] = [
                {**one, "state": state} if one["id"] in ids else one for one in queries
            ]
            self._write(changed)
            return changed

    def forget(self, documents: Collection[str]) -> None:
        """Delete those about some documents, which go out of the index; nothing where the index is gone.

        Raises:
            LlmopsError: ``queries_busy``.
        """
        if not self._path.parent.is_dir():
            return
        with self._alone():
            before = self.all()
            kept = [one for one in before if one["document"] not in documents]
            if len(kept) < len(before):
                self._write(kept)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one who reads the file to write it: a job adds to it while somebody judges, or takes a document out."""
        self._store.workspace.refuse_if_read_only()
        if not self._path.parent.is_dir():
            raise NotFoundError("index", self._name, "llmops index list shows them.")
        with locked(self._path.with_name(_LOCK), _WAIT_SECONDS) as alone:
            if not alone:
                told = f"the queries of {self._name} are being changed by another process"
                raise LlmopsError("queries_busy", told, "Try again later.")
            yield

    def _write(self, queries: Sequence[WrittenQueryRecord]) -> None:
        write_noted(self._path, "".join(json.dumps(one) + "\n" for one in queries))


@contextmanager
def confirmed_queries(store: IndexStore, index: Index) -> Iterator[tuple[Path, list[str]]]:
    """A file of those that were confirmed and whose passages a version has as they were; and what is to be said of them.

    Raises:
        InputRefusedError: ``no_queries``: there is none.
    """
    name = index.record["name"]
    confirmed = [one for one in WrittenQueries(store, name).all() if one["state"] == CONFIRMED]
    with ChunkFile.opened(index.folder) as file:
        fitting = [one for one in confirmed if _is_there(file, one)]
    if not fitting:
        why = f"{name} has no confirmed queries" + (" whose passages are there" if confirmed else "")
        hint = f"Give --queries FILE, or have some written: llmops index queries {name} --model MODEL."
        raise InputRefusedError("no_queries", why, hint)
    copied = sum(one["copied"] for one in fitting) / len(fitting)
    told = [
        f"{counted(len(fitting), 'query', 'queries')} that a model wrote and somebody confirmed compare ways to search"
    ]
    told.append(f"they share {copied:.0%} of their words with their passages, which favours bm25")
    if left := len(confirmed) - len(fitting):
        told.append(f"{counted(left, 'query is', 'queries are')} left out: the passage has changed")
    lines = [json.dumps({"id": one["id"], "query": one["query"], "spans": [_span(one)]}) for one in fitting]
    descriptor, path = tempfile.mkstemp(prefix=".queries-", suffix=".jsonl", dir=store.home(name))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file_:
            file_.write("\n".join(lines))
        yield Path(path), told
    finally:
        Path(path).unlink(missing_ok=True)


def _span(one: WrittenQueryRecord) -> dict[str, object]:
    return {"document": one["document"], "start": one["start"], "end": one["end"]}


def _is_there(file: ChunkFile, one: PassageRecord | WrittenQueryRecord) -> bool:
    text = file.text(one["document"])
    return text is not None and sha256_text(text[one["start"] : one["end"]]) == one["sha256"]
