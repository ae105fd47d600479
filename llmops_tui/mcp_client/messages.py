"""What the process that speaks to a tool server and its parent tell each other: one JSON object a line."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from llmops_tui.errors import ErrorRecord
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.schema_keywords import Schema


class ToolRecord(TypedDict):
    """A tool as its server describes it, cut where it is far too long.

    ``digest`` is the hash of all that the server says of it: what was switched on is known again by that. ``problem`` says
    why it cannot be offered, empty where it can. The hints are the server's own word: nothing depends on them.
    """

    name: str
    title: str
    description: str
    parameters: Schema
    digest: str
    problem: str
    reads_only: bool | None
    destroys: bool | None


class Ready(TypedDict):
    """The server answered: who it says it is, its protocol's revision, its tools, and what was left out."""

    event: Literal["ready"]
    server: str
    version: str
    protocol: str
    tools: list[ToolRecord]
    note: str


class Failed(TypedDict):
    """The connection could not be made, or broke."""

    event: Literal["failed"]
    error: ErrorRecord


class Progress(TypedDict):
    """A word of the server on a call that goes on."""

    event: Literal["progress"]
    id: int
    told: str


class Outcome(TypedDict):
    """What came of a call: text for a model; ``failed`` where the tool says that it failed."""

    event: Literal["outcome"]
    id: int
    text: str
    failed: bool


Told = Ready | Failed | Progress | Outcome


class Asked(TypedDict):
    """What the parent asks: a call, to leave a call, the tools as they are now, or to end."""

    op: Literal["call", "leave", "list", "end"]
    id: NotRequired[int]
    tool: NotRequired[str]
    arguments: NotRequired[JsonObject]


class Start(TypedDict):
    """The worker's task, its first line."""

    command: list[str]
    variables: list[str]
