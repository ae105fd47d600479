"""Facts that metrics tell beside their figures, as JSON has them. Intervals are of 95 %, their ends none where not known."""

from __future__ import annotations

from typing import TypedDict


class MeanRecord(TypedDict):
    """A mean with its interval."""

    mean: float
    low: float | None
    high: float | None


class SentenceFacts(TypedDict):
    """Of so many ``sentences`` that claim something, in so many ``answers``, those of which all is supported; their share."""

    sentences: int
    supported: int
    answers: int
    mean: float
    low: float | None
    high: float | None


class CellFacts(TypedDict):
    """A cell of a table: ``count`` of so many cases, a mean over repeats, and their share with its interval."""

    count: float
    of: int
    share: float | None
    low: float | None
    high: float | None


class AbstentionFacts(TypedDict):
    """Who abstained where: of the cases that cannot be answered, and of those that can; ``balanced`` is the mean of both rates.

    Of both the right ones: abstained where nothing could be said, answered where something could.
    """

    abstained_unanswerable: CellFacts
    answered_unanswerable: CellFacts
    abstained_answerable: CellFacts
    answered_answerable: CellFacts
    balanced: MeanRecord | None
