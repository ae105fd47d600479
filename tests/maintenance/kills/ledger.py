"""What a process that is about to be killed tells of its writing: what it began, and what was acknowledged."""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.maintenance.findings import Finding
from llmops_tui.workspace.layout import Workspace

# Told to whoever cannot be served now; nothing else may meet those who work beside one that is killed.
BUSY = {"workspace_locked", "keeping_busy", "jobs_busy"}


class Enough(BaseException):
    """So much was written as was asked for."""


@dataclass(frozen=True)
class Place:
    """Where is written: a workspace, and a folder for whatever else there is."""

    root: Path
    folder: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)


@dataclass
class Told:
    """One writing: what, with which facts, and what was acknowledged; ``done`` is none where nothing was."""

    what: str
    facts: dict[str, Any]
    done: dict[str, Any] | None = None


class Ledger:
    """Tells through a descriptor, a line a time, so that what was told outlives whoever told it."""

    def __init__(self, descriptor: int, label: str, limit: int = -1) -> None:
        self.label = label
        self._descriptor = descriptor
        self._number = 0
        self._left = limit

    def fresh(self) -> str:
        """A name that nobody else has."""
        self._number += 1
        return f"{self.label}x{self._number}"

    @contextlib.contextmanager
    def doing(self, what: str, **facts: Any) -> Iterator[dict[str, Any]]:
        """Something that is acknowledged when it comes back; who is told to come later has nothing acknowledged."""
        if self._left == 0:
            raise Enough
        self._left -= 1
        number, done = self._number, dict[str, Any]()
        self._number += 1
        self._tell(["begun", number, what, facts])
        try:
            yield done
        except LlmopsError as error:
            if error.code not in BUSY:
                raise
            self._tell(["busy", number])
        else:
            self._tell(["done", number, done])

    def noted(self, what: str, **facts: Any) -> None:
        """Something that is acknowledged on the way."""
        number = self._number
        self._number += 1
        self._tell(["begun", number, what, facts])
        self._tell(["done", number, {}])

    def failed(self) -> None:
        """Tell of the error that is being handled."""
        self._tell(["failed", -1, traceback.format_exc()[-6000:]])

    def _tell(self, line: list[Any]) -> None:
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


@dataclass
class Known:
    """All that was told so far by those that write one kind."""

    all: list[Told] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    busy: int = 0

    def add(self, lines: bytes) -> None:
        """Take in what one process told; a line that its end cut off is none."""
        open_: dict[int, Told] = {}
        for line in lines.split(b"\n")[:-1]:
            kind, number, *rest = json.loads(line)
            if kind == "begun":
                open_[number] = Told(rest[0], rest[1])
                self.all.append(open_[number])
            elif kind == "done":
                open_[number].done = rest[0]
            elif kind == "busy":
                self.busy += 1
            else:
                self.failures.append(str(rest[0]))

    def acknowledged(self, what: str) -> list[Told]:
        return [told for told in self.all if told.what == what and told.done is not None]

    def begun(self, what: str) -> list[Told]:
        """All of a kind, also what may not have come about."""
        return [told for told in self.all if told.what == what]

    def last(self, *whats: str) -> list[Told]:
        """The last that was acknowledged of some kinds, and those after it, of which each may count."""
        mine = [told for told in self.all if told.what in whats]
        done = [place for place, told in enumerate(mine) if told.done is not None]
        return mine[done[-1] :] if done else mine


def being_removed(known: Known, *whats: str) -> Callable[[str], bool]:
    """Whether something of a name may be gone halfway: its removal was killed, or the other writer may be just at it.

    What that one does is told at its end; then nothing of its own is half any more.
    """
    names = {told.facts["name"] for what in whats for told in known.begun(what) if told.done is None}
    ended = any(str(told.facts.get("name", "")).startswith("t") for told in known.all)
    return lambda name: name in names or (name.startswith("t") and not ended)


@dataclass(frozen=True)
class Kind:
    """One kind of writing.

    Attributes:
        prepare: makes what is needed first.
        write: writes until it is killed.
        verify: asserts that what was acknowledged is there once, and the rest wholly or not at all. With ``whole`` nothing
            is half any more, since one that was not killed came last.
        shared: another process writes the same way at the same time.
        may_find: of a check after a kill, what may be found since the next writing fixes it.
    """

    write: Callable[[Place, Ledger, Random], None]
    verify: Callable[[Place, Known, bool], None]
    prepare: Callable[[Place], None] = lambda _place: None
    shared: bool = True
    may_find: Callable[[Finding, Known], bool] = lambda _finding, _known: False
