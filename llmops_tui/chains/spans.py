"""The journal of a run: a line for each step that was done, from which a run that was killed goes on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, cast

import orjson

from llmops_tui.chains.records import SpanRecord
from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.line_log import LineLog, whole_lines

FILE = "spans.jsonl"
_NO_SPACE = "What was done is kept; llmops job resume continues once there is space."


class Journal(Protocol):
    """Where steps are noted, and found again."""

    def find(self, path: str, key: str) -> SpanRecord | None:
        """A step that was done at this place with the same key."""

    def add(self, span: SpanRecord) -> None:
        """Note a step."""


class MemoryJournal:
    """For runs that nobody resumes. With ``pinned`` steps at these paths are as they were, whatever their key is."""

    def __init__(self, pinned: Iterable[SpanRecord] = ()) -> None:
        self.spans: list[SpanRecord] = []
        self._pinned = {span["path"]: span for span in pinned if span["state"] == "done"}

    def find(self, path: str, key: str) -> SpanRecord | None:
        """As :meth:`Journal.find`."""
        del key
        return self._pinned.get(path)

    def add(self, span: SpanRecord) -> None:
        """As :meth:`Journal.add`."""
        self.spans.append(span)


class FileJournal:
    """A file in the folder of a run's job. ``pinned`` are steps of the run that this one goes on from."""

    def __init__(self, folder: Path, pinned: Iterable[SpanRecord] = ()) -> None:
        self._pinned = {span["path"]: span for span in pinned if span["state"] == "done"}
        self._known = {(span["path"], span["key"]): span for span in read_spans(folder) if span["state"] == "done"}
        self._taken: set[str] = set()
        self._log = LineLog(folder / FILE)
        self.resumed = len(self._known)

    def find(self, path: str, key: str) -> SpanRecord | None:
        """As :meth:`Journal.find`."""
        found = self._known.get((path, key))
        if found is None and (found := self._pinned.get(path)) is not None and path not in self._taken:
            # It is part of this run, too.
            self._taken.add(path)
            self.add({**found, "cached": True})
        return found

    def add(self, span: SpanRecord) -> None:
        """As :meth:`Journal.add`; it outlives a killed process from here on.

        Raises:
            LlmopsError: ``results_failed``.
        """
        self._log.add(orjson.dumps(span) + b"\n", _NO_SPACE)

    def close(self) -> None:
        """Have the disk keep it, and close."""
        self._log.close()


def read_spans(folder: Path) -> list[SpanRecord]:
    """The steps of a run, in the order in which they were done, each place by what was noted last; also while it runs.

    Raises:
        LlmopsError: ``run_damaged``.
    """
    return list({span["path"]: span for span in _lines(folder / FILE)}.values())


def spans_behind(folder: Path, position: int) -> tuple[list[SpanRecord], int]:
    """The steps that were noted behind a position in the file of a run, and where that ends now: for whoever looks again."""
    path = folder / FILE
    if not path.is_file():
        return [], 0
    with path.open("rb") as file:
        if position > os.fstat(file.fileno()).st_size:
            position = 0
        file.seek(position)
        whole, end, _ = file.read().rpartition(b"\n")
    found = [_span(path, line) for line in whole.split(b"\n") if line]
    return found, position + len(whole) + len(end)


def _lines(path: Path) -> Iterator[SpanRecord]:
    for line in whole_lines(path):
        if line:
            yield _span(path, line)


def _span(path: Path, line: bytes) -> SpanRecord:
    try:
        found = orjson.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not SpanRecord.__required_keys__ <= set(found):
        raise LlmopsError(
            "run_damaged",
            f"{path} has a line that is no step of a chain",
            "Run the chain again: what is cached is not asked.",
        )
    return cast("SpanRecord", found)
