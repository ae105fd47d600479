"""The interface of metrics: a case, an answer, a score, and the aggregate with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from llmops_tui.evaluation.records import Facts
from llmops_tui.evaluation.statistics.bootstrap import Floats, Interval, clustered_sums, mean_of, rows_of
from llmops_tui.evaluation.statistics.intervals import figure_interval, mean_interval
from llmops_tui.evaluation.statistics.studentised import FEWEST
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.retrieval_asked import GivenPassage
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import ChatMessage

# Figures of a whole set, such as BLEU, are computed anew for each resample.
_SET_RESAMPLES = 1000


MetricEntry = JsonObject
"""A metric as it stands in a user's suite: its ``type``, and whatever that type takes; ``make_metric`` checks it."""


@dataclass(frozen=True)
class Case:
    """One thing to ask.

    Attributes:
        index: its place in the suite, from 0.
        key: the hash of all that it is; cases of two runs are paired by it.
        messages: what is asked where no prompt is rendered.
        group: the cluster it belongs to, its key where it stands for itself.
        origin: the key of the case that this one is a variation of, or its own.
        metrics: further metrics for this case alone, as they stand in the suite.
        id: what it is called in the suite, if it is written there with one; no part of the key.
        script: what happens after the first message, as :class:`llmops_tui.evaluation.scripted.script.Script` reads it.
    """

    index: int
    key: str
    variables: Variables = field(default_factory=dict)
    messages: tuple[ChatMessage, ...] = ()
    expected: Any = None
    context: str = ""
    choices: tuple[str, ...] = ()
    group: str = ""
    slices: dict[str, str] = field(default_factory=dict)
    row: int | None = None
    variation: str = ""
    origin: str = ""
    metrics: tuple[MetricEntry, ...] = ()
    script: JsonObject = field(default_factory=dict)
    id: str = ""

    @property
    def expected_text(self) -> str:
        """What is expected, as text."""
        from llmops_tui.datasets.records import dump_json

        return self.expected if isinstance(self.expected, str) else dump_json(self.expected)

    @property
    def expected_texts(self) -> list[str]:
        """Each text that is right: of a list its members, else the one that is expected."""
        if isinstance(self.expected, list) and self.expected:
            from llmops_tui.datasets.records import dump_json

            return [one if isinstance(one, str) else dump_json(one) for one in self.expected]
        return [self.expected_text]


@dataclass(frozen=True)
class Answer:
    """What came back. Times in milliseconds; ``error`` says why there is no answer.

    Metrics see the ``text``; what was thought before it is kept apart, ``reasoning_tokens`` of all that were made.
    ``logprob`` is the answer's log-probability, and ``choice_logprobs`` those of the choices, where they were asked for.
    ``asked`` is the conversation as the model got it, system text and all; of a chain that of its last step. ``kept_at`` is
    when an answer from the cache was given, in seconds of the wall clock. ``calls`` are those of tools, each with ``name``
    and ``arguments``, which are none where they were no object, and ``state`` is what they left; tokens and times are of
    all requests together then. ``passages`` are what was retrieved for it, by so many ``searches``.
    """

    text: str = ""
    finish_reason: str = ""
    error: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_ms: float | None = None
    total_ms: float | None = None
    tokens_per_s: float | None = None
    logprob: float | None = None
    choice_logprobs: tuple[float, ...] = ()
    choice_tokens: tuple[int, ...] = ()
    trace: str = ""
    cached: bool = False
    thinking: str = ""
    reasoning_tokens: int | None = None
    kept_at: float | None = None
    asked: tuple[ChatMessage, ...] = ()
    calls: tuple[JsonObject, ...] = ()
    state: JsonObject = field(default_factory=dict)
    searches: int = 0
    passages: tuple[GivenPassage, ...] = ()


@dataclass(frozen=True)
class Score:
    """What one metric says of one answer; no value means that it cannot say, and ``reason`` says why."""

    value: float | None
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """One metric over a run."""

    interval: Interval
    n: int
    unusable: int
    facts: Facts = field(default_factory=Facts)


class Metric(BaseModel):
    """A metric as a suite gives it; subclasses say what it is in their docstring, with its source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    name: Annotated[str, Field(max_length=60, description="What it is called; else its type.")] = ""

    # 1 where more is better, -1 where less is, 0 where neither.
    better: ClassVar[int] = 1
    unit: ClassVar[str] = ""
    # Scores are 0 or 1.
    binary: ClassVar[bool] = False
    needs_expected: ClassVar[bool] = False
    # The expected text is what an answer must not say.
    forbids: ClassVar[bool] = False
    needs_logprob: ClassVar[bool] = False
    needs_choices: ClassVar[bool] = False
    # Scores are from 0 to 1, whatever the answer is.
    share: ClassVar[bool] = False
    # Counted up where the same settings measure something else than before: runs of both are not compared.
    revision: ClassVar[int] = 1
    # Takes no more time than in proportion to an answer, whatever it says; others are scored in a process with limits.
    plain: ClassVar[bool] = False
    # So many characters of answer and expectation take next to no time, whatever they say; only longer ones need a process.
    little: ClassVar[int] = 0
    # A figure of all cases together, that no mean of scores gives; and what it cannot leave, where there is such a limit.
    whole_set: ClassVar[bool] = False
    figure_bounds: ClassVar[tuple[float, float] | None] = None
    # Details of a score that are the case's, whatever is answered: a case with several answers keeps them.
    of_case: ClassVar[tuple[str, ...]] = ()

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or self.type

    @property
    def bounds(self) -> tuple[float, float] | None:
        """What its scores cannot leave; none where there is no such limit."""
        return (0.0, 1.0) if self.binary or self.share else None

    def problem(self) -> str:
        """Why it cannot be used on this machine, or nothing. A kept suite can be read all the same."""
        return ""

    def takes_little(self, case: Case, answer: Answer) -> bool:
        """Whether this answer is scored in next to no time, so that no process with limits is needed for it."""
        if self.plain or not self.little:
            return self.plain
        return len(answer.text) + sum(map(len, case.expected_texts)) <= self.little

    def score(self, case: Case, answer: Answer) -> Score:
        """The score of one answer."""
        raise NotImplementedError

    def rows(self, scores: Sequence[Score]) -> Floats:
        """A row of numbers for each usable score; :meth:`figure` is a function of their sums."""
        return rows_of(np.array([score.value for score in scores], np.float64))

    def figure(self, sums: Floats) -> Floats:
        """The figure from sums of shape (resamples, columns): shape (resamples,)."""
        return mean_of(sums)

    def facts(self, scores: Sequence[Score]) -> Facts:
        """What else there is to say of a run, such as a confusion matrix."""
        del scores
        return {}

    def summarise(self, scores: Sequence[Score], clusters: npt.NDArray[np.int64] | None = None) -> Summary:
        """The figure of a run, with its interval. ``scores`` are one a case, ``clusters`` the cluster of each."""
        usable = [i for i, score in enumerate(scores) if score.value is not None]
        kept = [scores[i] for i in usable]
        if not kept:
            return Summary(Interval(float("nan"), float("nan"), float("nan"), 0.95, "none"), 0, len(scores))
        numbers = None
        if clusters is not None:
            _, numbers = np.unique(clusters[usable], return_inverse=True)
        if self.whole_set:
            sums = clustered_sums(self.rows(kept), numbers)
            enough = f"{FEWEST} cases" if numbers is None else f"{FEWEST} groups"
            interval = figure_interval(
                sums, self.figure, resamples=_SET_RESAMPLES, bounds=self.figure_bounds, enough=enough
            )
        else:
            interval = mean_interval(np.array([s.value for s in kept], np.float64), numbers, bounds=self.bounds)
        return Summary(interval, len(kept), len(scores) - len(kept), self.facts(kept))


def right_or_wrong(right: bool, reason: str = "", **detail: Any) -> Score:
    """A score of 0 or 1; the reason is told where it is 0."""
    return Score(float(right), "" if right else reason, detail)
