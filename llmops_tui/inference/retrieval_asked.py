"""What a prompt asks an index for, between the process that renders templates and the one that has indexes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from llmops_tui.workspace.events import TracedRetrieval

# Among the values of a template: what was retrieved for it so far, by what it asked. No template can name it.
RETRIEVED = " retrieved"


_NOTED: ContextVar[list[TracedRetrieval] | None] = ContextVar("retrievals", default=None)


class RetrievalAsked(TypedDict):
    """``k`` chunks for a ``query``; an empty ``index`` is the only one there is, an empty ``by`` its usual way.

    Without ``check`` passages that try to command the model are given like all others.
    """

    query: str
    k: int
    index: str
    by: str
    check: bool


class GivenPassage(TypedDict):
    """A passage as a prompt has it: of which version of an index, which characters of which document, and its text.

    ``left_out`` are words that try to command the model; whatever of text, heading and document has them is empty.
    """

    index: str
    document: str
    start: int
    end: int
    heading: str
    text: str
    left_out: NotRequired[str]


@dataclass
class Retrieved:
    """What was retrieved for something that was asked: how often was searched, and the passages in their order."""

    searches: int = 0
    passages: list[GivenPassage] = field(default_factory=list)


# The word in an expression: behind it, one ends before another begins. Text that speaks of it asks for nothing.
_ASKS = re.compile(r"\bretrieve(?:\(|\b(?:(?!\{[{%]).)*?[}%]\})", re.DOTALL)
_GIVEN: ContextVar[Retrieved | None] = ContextVar("passages", default=None)


def asks_for_passages(source: str) -> bool:
    """Whether a template may ask for passages, so that it is rendered for each set of values alone."""
    return _ASKS.search(source) is not None


def retrieval_key(asked: RetrievalAsked) -> str:
    """Under what name the answer to it is given."""
    return json.dumps(asked, sort_keys=True)


@contextmanager
def retrievals_noted() -> Iterator[list[TracedRetrieval]]:
    """What is retrieved inside of the block, also in threads that it waits for: for the trace of what is rendered there."""
    found: list[TracedRetrieval] = []
    token = _NOTED.set(found)
    try:
        yield found
    finally:
        _NOTED.reset(token)


@contextmanager
def passages_noted() -> Iterator[Retrieved]:
    """The passages that come inside of the block, also for the steps of a chain and in threads that it waits for."""
    found = Retrieved()
    token = _GIVEN.set(found)
    try:
        yield found
    finally:
        _GIVEN.reset(token)


def note_retrieval(found: TracedRetrieval, given: Sequence[GivenPassage]) -> None:
    """Have whoever renders know of a search, and of the passages that it gave, where that is wanted."""
    if (noted := _NOTED.get()) is not None:
        noted.append(found)
    if (retrieved := _GIVEN.get()) is not None:
        retrieved.searches += 1
        retrieved.passages += given
