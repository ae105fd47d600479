"""What a measurement of retrieval comes to, as JSON has it. Intervals are of 95 %, their ends none where they are not known."""

from __future__ import annotations

from typing import TypedDict

from llmops_tui.evaluation.records import ComparisonRecord, RunRecord


class RankFigure(TypedDict):
    """The mean of a metric over ``n`` queries, with its interval."""

    metric: str
    n: int
    mean: float
    low: float | None
    high: float | None
    method: str
    too_few: bool


class RetrieverRecord(TypedDict):
    """A retriever as it was measured: the figures, and the mean tokens of what it found."""

    index: str
    by: str
    figures: list[RankFigure]
    tokens: float


class RankDifference(TypedDict):
    """A metric of a retriever less that of the first, over ``n`` queries, query by query.

    ``needed``: how many queries would show a difference as large as this with a power of 80 %, none where no number would;
    ``smallest``: the smallest difference that so many queries show with that power. ``p_holm`` is corrected for all metrics and
    retrievers that are compared.
    """

    metric: str
    baseline: float
    candidate: float
    difference: float
    low: float | None
    high: float | None
    method: str
    p: float
    p_holm: float
    wins: int
    ties: int
    losses: int
    smallest: float | None
    needed: int | None
    verdict: str
    n: int


class FittedRecord(TypedDict):
    """A retriever whose weight was learnt on so many ``of`` the queries that it is measured on."""

    retriever: str
    learnt_on: int
    of: int


class RetrieverComparison(TypedDict):
    """A retriever compared with the first."""

    baseline: str
    candidate: str
    differences: list[RankDifference]


class AnswersRecord(TypedDict):
    """What became of the passages in answers: the runs of a suite, each after the first compared with that.

    ``elsewhere`` says of runs that their passages came from other versions than the one that is measured.
    """

    suite: str
    runs: list[RunRecord]
    elsewhere: dict[str, str]
    comparisons: list[ComparisonRecord]


class QueryScores(TypedDict):
    """A query with the scores of each retriever, by metric, in the order of the retrievers."""

    id: str
    query: str
    scores: list[dict[str, float]]


class MeasurementRecord(TypedDict):
    """A measurement on some queries: each retriever, and how the others differ from the first; ``gold``: documents or spans.

    ``queries`` are those with something that should come, ``left_out`` counts the others by reason; context recall is of those
    with a known answer. ``fitted`` are the retrievers whose weight was learnt on some of these queries: what they find there is
    no evidence for them.
    """

    queries: int
    gold: str
    left_out: dict[str, int]
    fitted: list[FittedRecord]
    k: list[int]
    retrievers: list[RetrieverRecord]
    comparisons: list[RetrieverComparison]
    by_query: list[QueryScores]
