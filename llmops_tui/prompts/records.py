"""Records of prompts and their runs as ``--json`` has them. Moments are seconds since 1970, times milliseconds."""

from __future__ import annotations

from typing import Any, TypedDict

from llmops_tui.inference.prompt_versions import VersionRecord
from llmops_tui.inference.wire import Warned

__all__ = [
    "AnswerTokens", "Answered", "CallRecord", "LabelRecord", "RunShown", "SummaryRecord", "Times", "TokenCounts",
    "VersionRecord",
]  # fmt: skip


class LabelRecord(TypedDict):
    """A label of an imported file: the version it was on before, if any, the one it is for, and whether it moved there."""

    label: str
    before: int | None
    version: int
    moved: bool


class SummaryRecord(TypedDict):
    """A prompt in a list, with the version of each label."""

    prompt: str
    latest: int
    versions: int
    labels: dict[str, int]
    changed_at: float


class TokenCounts(TypedDict):
    """Tokens of a request, none where they are not known."""

    prompt_tokens: int | None
    completion_tokens: int | None


class Times(TypedDict):
    """Times of a request, none where they are not known."""

    ttft_ms: float | None
    total_ms: float | None
    tokens_per_s: float | None


class AnswerTokens(TokenCounts):
    """Tokens of a request that was just made: those of the prompt that did not have to be evaluated again, and of thinking."""

    reused_tokens: int | None
    reasoning_tokens: int | None


class CallRecord(TypedDict):
    """A call of a tool in a run: what the model asked for, what came of it, and what went back to the model.

    ``state`` is ``done``, ``failed``, ``denied``, or ``refused``: it could not be made. ``arguments`` are as
    the model wrote them.
    """

    function: str
    server: str
    tool: str
    arguments: str
    state: str
    text: str


class Answered(TypedDict, total=False):
    """An answer that just came: from which model, or of which run; ``calls`` where tools were offered.

    ``warnings`` are what its server could not do as asked.
    """

    model: str
    run: str
    text: str
    thinking: str
    finish_reason: str
    usage: AnswerTokens
    timing: Times
    calls: list[CallRecord]
    warnings: list[Warned]


class RunShown(TypedDict):
    """A run of a prompt."""

    run: str
    started_at: float
    model: str
    prompt: str | None
    version: int | None
    variables: dict[str, str]
    parameters: dict[str, Any]
    text: str
    thinking: str
    finish_reason: str
    error: str | None
    usage: TokenCounts
    timing: Times
