"""Whether an answer abstains, and whether that is right: it should where nothing is known, and nowhere else."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field, field_validator

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.fact_records import AbstentionFacts, CellFacts, MeanRecord
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.contexts import answerable, context_of
from llmops_tui.evaluation.metrics.recognised import Recognised
from llmops_tui.evaluation.metrics.texts import compiles, short
from llmops_tui.evaluation.records import Facts
from llmops_tui.evaluation.statistics.intervals import ends, mean_interval

# What is looked at of an answer for words of a user's own.
_LONGEST = 100_000


class Abstention(Recognised):
    """The answer abstains where there is no answer, and does not where there is one.

    ``answerable`` names the slice or variable that says so of a case, by yes or no. An answer abstains if it begins by saying
    that the text does not tell, or refuses; a denial of what a passage says, in its words, is an answer. ``words``, found
    whole whatever their case is, and ``pattern``, a regular expression, are further ways to say so. Of a run the rates of all
    four cases are told with Wilson's intervals, and the balanced accuracy, the mean of both right ones, with that of Zou and
    Donner, "Construction of confidence limits about effect measures", 2008 (MOVER). Cf. Rajpurkar et al., "Know What You
    Don't Know: Unanswerable Questions for SQuAD", 2018.
    """

    type: Literal["abstention"] = "abstention"
    answerable: Annotated[
        str, Field(min_length=1, description="The slice or variable that says yes or no: whether there is an answer.")
    ] = "answerable"
    words: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
        Field(max_length=50, description="Words by which an answer abstains, too, such as NOT_FOUND."),
    ] = ()
    pattern: Annotated[
        str,
        Field(max_length=2000, description="A regular expression that is found where an answer abstains, too."),
        AfterValidator(compiles),
    ] = ""
    revision: ClassVar[int] = 2
    binary: ClassVar[bool] = True
    of_case: ClassVar[tuple[str, ...]] = ("answerable",)

    @field_validator("words")
    @classmethod
    def _says_something(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word.strip() for word in words):
            raise ValueError("blanks alone are no words")
        return words

    def recognise(self, answer: str, context: Sequence[str] = ()) -> str:
        """The words by which an answer abstains; empty where it answers."""
        from llmops_tui.evaluation.metrics.claims import abstains_from

        for word in self.words:
            apart = r"\s+".join(map(re.escape, word.split()))
            if found := re.search(rf"(?<!\w){apart}(?!\w)", answer[:_LONGEST], re.IGNORECASE):
                return found.group()
        if self.pattern and (found := re.search(self.pattern, answer[:_LONGEST])) is not None:
            return found.group() or "an empty match"
        return abstains_from(answer, context)

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it is right."""
        try:
            known = answerable(case, self.answerable)
        except InputRefusedError as error:
            return Score(None, error.message)
        if known is None:
            return Score(None, f"the case has no {self.answerable} that says whether there is an answer")
        said = self.recognise(answer.text, context_of(case, answer) or ())
        told = f"abstains: {short(said)}" if said else "answers"
        why = ", though there is an answer" if known else ", though there is none"
        right = bool(said) != known
        return Score(float(right), told if right else told + why, {"answerable": known, "abstains": bool(said)})

    def facts(self, scores: Sequence[Score]) -> Facts:
        """The table of what was abstained from, beside how well that is recognised."""
        return {**super().facts(scores), "abstention": abstention_table(scores)}


def abstention_table(scores: Sequence[Score]) -> AbstentionFacts:
    """The four cells of what could be answered by what was, from scores that are 1 where it was right.

    Of a case with several answers the score is the share of them that is right.
    """
    lacking, having = (
        np.array([s.value for s in scores if s.value is not None and s.detail.get("answerable") is known], np.float64)
        for known in (False, True)
    )
    return {
        "abstained_unanswerable": _cell(lacking),
        "answered_unanswerable": _cell(1 - lacking),
        "abstained_answerable": _cell(1 - having),
        "answered_answerable": _cell(having),
        "balanced": _balanced(_cell(lacking), _cell(having)),
    }


def _cell(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> CellFacts:
    if not len(values):
        return {"count": 0, "of": 0, "share": None, "low": None, "high": None}
    interval = mean_interval(values, bounds=(0.0, 1.0))
    low, high = ends(interval)
    return {"count": float(values.sum()), "of": len(values), "share": interval.value, "low": low, "high": high}


def _balanced(one: CellFacts, two: CellFacts) -> MeanRecord | None:
    """The mean of two rates of different cases: its interval is made of both of theirs."""
    if one["share"] is None or two["share"] is None:
        return None
    mean = (one["share"] + two["share"]) / 2
    below, above = (
        None
        if one[end] is None or two[end] is None
        else math.hypot(*(cell["share"] - cell[end] for cell in (one, two))) / 2  # type: ignore[operator]  # none is none
        for end in ("low", "high")
    )
    return {
        "mean": mean,
        "low": None if below is None else max(0.0, mean - below),
        "high": None if above is None else min(1.0, mean + above),
    }
