"""What a prompt asks an index for, between the process that renders templates and the one that has indexes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypedDict

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


def note_retrieval(found: TracedRetrieval) -> None:
    """Have whoever renders know of a search, where that is wanted."""
    if (noted := _NOTED.get()) is not None:
        noted.append(found)
