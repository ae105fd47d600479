"""A test's verdict: whether all that is asked of one answer holds, with weights and thresholds; and figures of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score, right_or_wrong
from llmops_tui.evaluation.metrics.texts import short
from llmops_tui.evaluation.records import Facts


class Part(BaseModel):
    """What a verdict is made of: a metric by its name, or a set of further parts.

    A metric holds if its score is within ``at_least`` and ``at_most``; without both, if it is 1, or as an assertion with a
    grade says itself. A set holds if each of its parts does, or with a ``threshold`` if their weighted mean reaches it. A
    metric of weight 0 is looked at and decides nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = ""
    parts: tuple[Part, ...] = ()
    weight: Annotated[float, Field(ge=0)] = 1.0
    at_least: float | None = None
    at_most: float | None = None
    threshold: float | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.metric) == bool(self.parts):
            raise ValueError("a part is either a metric or a set of parts")
        if self.parts and (self.at_least is not None or self.at_most is not None):
            raise ValueError("at_least and at_most are for metrics; a set of parts has a threshold")
        if self.metric and self.threshold is not None:
            raise ValueError("threshold is for sets of parts; a metric has at_least or at_most")
        return self


@dataclass(frozen=True)
class _Found:
    """What came of a part; no value where something in it has no score."""

    holds: bool
    score: float | None
    reason: str = ""


class DerivedMetric(Metric):
    """A metric whose score follows from those of others for the same answer."""

    def names(self) -> Iterator[str]:
        """The metrics that it is made of; none stands for all others that are right or wrong."""
        raise NotImplementedError

    def of_scores(self, scores: Mapping[str, Score], binary: set[str]) -> Score:
        """Its score; ``binary`` names the metrics that are right or wrong."""
        raise NotImplementedError

    def score(self, case: Case, answer: Answer) -> Score:
        """None without the other scores."""
        del case, answer
        return Score(None, "it follows from other scores")


def _names(parts: tuple[Part, ...]) -> Iterator[str]:
    for part in parts:
        if part.metric:
            yield part.metric
        yield from _names(part.parts)


def _found(part: Part, scores: Mapping[str, Score]) -> _Found:
    if part.parts:
        return together(part.parts, part.threshold, scores)
    score = scores.get(part.metric)
    if score is None or score.value is None:
        return _Found(False, None, f"{part.metric}: {score.reason if score else 'it is not measured'}")
    least, most = part.at_least, part.at_most
    if least is None and most is None:
        holds = bool(score.detail.get("holds", score.value >= 1))
    else:
        holds = (least is None or score.value >= least) and (most is None or score.value <= most)
    reason = f"{part.metric}: {score.reason or f'{score.value:.4g}'}"
    return _Found(holds or not part.weight, score.value, reason)


def together(parts: tuple[Part, ...], threshold: float | None, scores: Mapping[str, Score]) -> _Found:
    """What parts come to: all hold, or their weighted mean reaches the threshold."""
    found = [(part, _found(part, scores)) for part in parts]
    if unknown := next((one for _, one in found if one.score is None), None):
        return unknown
    weight = sum(part.weight for part, _ in found)
    mean = sum(part.weight * (one.score or 0.0) for part, one in found) / weight if weight else 0.0
    if threshold is not None:
        return _Found(mean >= threshold, mean, f"the weighted mean {mean:.4g} is below {threshold:g}")
    wrong = [one.reason for _, one in found if not one.holds]
    return _Found(not wrong, mean, "; ".join(wrong))


class Verdict(DerivedMetric):
    """Whether a test passes: each of its parts holds, or their weighted mean reaches the threshold.

    Without parts, all other metrics of the case that are right or wrong hold. An answer that one of them cannot score has no
    verdict.
    """

    type: Literal["verdict"] = "verdict"
    parts: tuple[Part, ...] = ()
    threshold: float | None = None
    binary: ClassVar[bool] = True
    plain: ClassVar[bool] = True

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or "pass"

    def names(self) -> Iterator[str]:
        """The metrics that it is made of."""
        yield from _names(self.parts)

    def of_scores(self, scores: Mapping[str, Score], binary: set[str]) -> Score:
        """1 where the test passes; its weighted mean is in the detail."""
        parts = self.parts or tuple(Part(metric=name) for name in scores if name in binary and name != self.called)
        # Where nothing is asked, nothing fails.
        found = together(parts, self.threshold, scores) if parts else _Found(True, 1.0)
        if found.score is None:
            return Score(None, short(found.reason))
        return right_or_wrong(found.holds, found.reason, score=found.score)

    def facts(self, scores: Sequence[Score]) -> Facts:
        """The weighted mean of a test, over the tests; unknown where a case has several answers."""
        found = [float(score.detail["score"]) for score in scores if "score" in score.detail]
        return {"weighted": sum(found) / len(found)} if found and len(found) == len(scores) else {}


class Combined(DerivedMetric):
    """The weighted mean of other metrics' scores for one answer, under a name of its own."""

    type: Literal["combined"] = "combined"
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    share: ClassVar[bool] = True
    plain: ClassVar[bool] = True

    def names(self) -> Iterator[str]:
        """The metrics that it is made of."""
        yield from _names(self.parts)

    def of_scores(self, scores: Mapping[str, Score], binary: set[str]) -> Score:
        """From 0 to 1."""
        del binary
        found = together(self.parts, None, scores)
        return Score(found.score, "" if found.score is not None else short(found.reason))
