"""Records of a synthesis in jobs and ``--json``. Times are seconds; tokens are the model's own."""

from __future__ import annotations

from typing import TypedDict

from llmops_tui.datasets.reports import VersionRecord
from llmops_tui.foreign_text import JsonObject


class StageRecord(TypedDict):
    """How many rows fell at a stage, and why, with a few of them."""

    stage: str
    why: str
    rows: int
    examples: list[str]


class FunnelRecord(TypedDict):
    """What became of all rows that were asked for: ``asked`` is ``kept`` and what fell at all stages together."""

    asked: int
    kept: int
    stages: list[StageRecord]


class SynthesisedRecord(VersionRecord):
    """A version that was written, what became of the rows, what is to be told of them, and what it took."""

    funnel: FunnelRecord
    told: list[str]
    calls: int
    prompt_tokens: int
    completion_tokens: int


class BudgetRecord(TypedDict):
    """What a synthesis will take, before it is started.

    ``prompt_tokens`` and ``completion_tokens`` are of all calls together, projected from ``samples``, rows that were written
    to measure it; ``most_completion_tokens`` is what it can be at the most. ``seconds`` is at the speed that they had; none
    where it was not measured.
    """

    rows: int
    calls: int
    judge_calls: int
    prompt_tokens: int
    completion_tokens: int
    most_completion_tokens: int
    seconds: float | None
    samples: list[JsonObject]
    told: list[str]


class TopicsRecord(TypedDict):
    """A tree of topics that a model proposed, as its file has it."""

    subject: str
    leaves: int
    topics: list[JsonObject]
