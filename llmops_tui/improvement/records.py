"""Records of an improvement in the catalog and ``--json``. Times are seconds, energy joules; tokens are the model's own."""

from __future__ import annotations

from typing import TypedDict

from llmops_tui.foreign_text import JsonObject


class PartsRecord(TypedDict):
    """The rows of each part, by the keys of their content."""

    reflect: list[str]
    select: list[str]
    sealed: list[str]


class LookedRecord(TypedDict):
    """A look at the sealed rows: when, at which version of the prompt, and the how-many-th it was at these rows."""

    at: float
    candidate: int
    look: int


class CandidateRecord(TypedDict):
    """A candidate: its version and that of its parent, and what became of it.

    ``heat`` is its mean gain over its parent on ``heat_rows`` rows of the reflect part; ``mean`` its mean on ``rows`` rows of
    the select part with its interval, which says how good it looks there and not how good it is. ``prompt_tokens`` are those of
    a whole request in the mean, none where nobody counted them; ``front`` says that no other is better and as short.
    """

    version: int
    parent: int | None
    kind: str
    words: int
    prompt_tokens: float | None
    heat: float | None
    heat_rows: int
    mean: float | None
    low: float | None
    high: float | None
    rows: int
    gain: float | None
    front: bool
    fate: str


class SealedRecord(TypedDict):
    """What the sealed rows say: the paired difference of the candidate less the seed, above 0 where it is better.

    ``look`` is 1 where nobody looked at any of these rows before; ``level`` is that of the interval.
    """

    version: int
    seed: float
    candidate: float
    difference: float
    low: float | None
    high: float | None
    level: float
    method: str
    p: float
    n: int
    wins: int
    ties: int
    losses: int
    left_out: int
    smallest_effect: float | None
    look: int
    verdict: str


class RefusedRecord(TypedDict):
    """A proposal that is no candidate: in which turn, and why."""

    turn: int
    why: str


class TakenRecord(TypedDict):
    """What an improvement took: calls of the model, answers that were kept before, calls of the reflector."""

    calls: int
    cached: int
    reflections: int
    seconds: float
    joules: float | None


class ImprovedRecord(TypedDict):
    """What an improvement found so far, or at its end: ``verdict`` is a sentence, ``step`` what it is at.

    ``p_select`` is the corrected p-value of the best candidate on the select part; above ``opened_at`` the sealed part stays
    closed.
    """

    improvement: str
    prompt: str
    seed: int
    metric: str
    better: int
    model: str
    reflector: str
    data: str
    rows: dict[str, int]
    step: str
    done: bool
    verdict: str
    told: list[str]
    candidates: list[CandidateRecord]
    refused: list[RefusedRecord]
    best: int | None
    p_select: float | None
    opened_at: float
    sealed: SealedRecord | None
    stopped: str
    taken: TakenRecord


class ImprovementRecord(TypedDict):
    """An improvement in a list; ``state`` is its job's."""

    improvement: str
    prompt: str
    seed: int
    state: str
    started_at: float
    plan: JsonObject
    looked: LookedRecord | None
    verdict: str


class SealedRowRecord(TypedDict):
    """A sealed row behind the verdict: what was asked and expected, and what both answered and scored."""

    row: int | None
    asked: str
    expected: str
    seed: str
    candidate: str
    seed_score: float | None
    candidate_score: float | None
    why: str


class EstimateRecord(TypedDict):
    """What an improvement will take at the most, before it is started; none where it was not measured.

    ``limited`` says which limit ends it before its turns do, if one does.
    """

    calls: int
    reflections: int
    rows: dict[str, int]
    call_seconds: float | None
    seconds: float | None
    joules: float | None
    smallest_effect: float | None
    limited: str
    told: list[str]
