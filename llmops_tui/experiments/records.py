"""Outcomes and verdicts of experiments. Moments are seconds since 1970, times milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from llmops_tui.inference.experiments.records import Arm, ExperimentRecord

if TYPE_CHECKING:
    from llmops_tui.inference.wire import ChatMessage


@dataclass(frozen=True)
class Exchange:
    """One request of an experiment with its answer; ``rating`` is none where nobody rated.

    ``failed`` is none where the client left, or asked what is refused.
    """

    trace: str
    started_at: float
    arm: Arm
    unit: str
    pair: str
    failed: bool | None
    total_ms: float | None
    output: str
    messages: tuple[ChatMessage, ...]
    rating: float | None
    rated_at: float | None

    @property
    def known_at(self) -> float:
        """When all of it was known."""
        return max(self.started_at + (self.total_ms or 0.0) / 1000, self.rated_at or 0.0)


@dataclass(frozen=True)
class Conversation:
    """What a metric says of a conversation, the mean of its answers; of pairs, of B less A. In the order of ``known_at``."""

    known_at: float
    arm: Arm
    value: float


class GuardrailRecord(TypedDict):
    """What must not become worse: by how much it is at most, and at least, with the level, at all looks together."""

    metric: str
    state: Literal["not worse", "worse", "open"]
    margin: float
    at_least: float | None
    at_most: float | None
    unit: str


class VerdictRecord(TypedDict):
    """What is known of an experiment.

    ``better`` is the arm, where that is decided, and ``decided_after`` the number of conversations at which it first was;
    ``effect`` is B less A with its interval, which holds at every look; of shadows that are right or wrong, the share of
    conversations in which B is better less that in which A is;
    ``evidence`` and ``threshold`` are e-values. ``scored`` are conversations with a score by arm, of pairs by ``pairs`` alone;
    ``unpaired`` requests whose shadow was not asked. ``remaining`` is about how many conversations more will decide.
    """

    sentence: str
    looked_at: list[str]
    metric: str
    better: Arm | None
    decided_after: int | None
    effect: float | None
    low: float | None
    high: float | None
    level: float
    evidence: float
    threshold: float
    values: dict[Arm, float | None]
    conversations: dict[Arm, int]
    scored: dict[Arm, int]
    pairs: int
    unpaired: int
    remaining: int | None
    guardrails: list[GuardrailRecord]
    split_evidence: float | None
    split_broken: bool


class ShownRecord(TypedDict):
    """An experiment with its verdict; ``course`` is the number of conversations and the evidence after each."""

    experiment: ExperimentRecord
    verdict: VerdictRecord
    course: list[tuple[int, float]]
