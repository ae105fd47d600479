"""Records of traces as ``--json`` has them. Moments are seconds since 1970, times milliseconds."""

from __future__ import annotations

from typing import Any, TypedDict

from llmops_tui.prompts.records import Times, TokenCounts


class Said(TypedDict):
    """What somebody said of an answer; ``score`` is 1 or -1."""

    said_at: float
    source: str
    score: int | None
    correction: str | None
    comment: str | None
    verdict: str | None


class Standing(TypedDict):
    """What is said of an answer in the end; ``score`` is ``up`` or ``down``."""

    score: str | None
    correction: str | None
    comment: str | None
    verdict: str | None


class LineRecord(TypedDict):
    """A trace in short: what the user said last, the answer, and how much of its ``content`` is kept."""

    trace: str
    started_at: float
    model: str
    prompt: str | None
    version: int | None
    made_for: str | None
    finish_reason: str
    error: str | None
    usage: TokenCounts
    timing: Times
    question: str | None
    text: str
    content: str
    feedback: Standing


class TraceRecord(LineRecord):
    """A trace with all that is kept of it."""

    messages: list[dict[str, Any]]
    variables: dict[str, Any]
    parameters: dict[str, Any]
    thinking: str
    reused_tokens: int | None
    reasoning_tokens: int | None
    engine: str | None
    model_sha256: str | None
    client: dict[str, Any] | None
    said: list[Said]


class Given(TypedDict):
    """Feedback that was just given, as it was given."""

    feedback: str
    trace: str
    score: str | None
    correction: str | None
    comment: str | None
    verdict: str | None
