"""Cost metrics: time and tokens, recorded with every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.records import Facts


def _timed(answer: Answer, measured: float | None) -> Score:
    """What was measured of an answer that was made for this run."""
    if answer.cached:
        return Score(None, "from the cache")
    return Score(measured, "" if measured is not None else "the model's server does not tell its times")


class Latency(Metric):
    """Milliseconds from the request to the end of the answer, as the model server measured them; cached answers have none.

    Requests that run beside others share the machine: the number of requests at a time is in the run's facts.
    """

    type: Literal["latency"] = "latency"
    plain: ClassVar[bool] = True
    better: ClassVar[int] = -1
    unit: ClassVar[str] = "ms"

    def score(self, case: Case, answer: Answer) -> Score:
        """Milliseconds."""
        del case
        return _timed(answer, answer.total_ms)

    def facts(self, scores: Sequence[Score]) -> Facts:
        """Percentiles."""
        values = [s.value for s in scores if s.value is not None]
        p50, p95, p99 = (float(np.percentile(values, q)) for q in (50, 95, 99))
        return {"p50": p50, "p95": p95, "p99": p99}


class TokensPerSecond(Metric):
    """Tokens a second while the answer was generated, without the time to the first token."""

    type: Literal["tokens-per-s"] = "tokens-per-s"
    plain: ClassVar[bool] = True
    unit: ClassVar[str] = "tokens/s"

    def score(self, case: Case, answer: Answer) -> Score:
        """Tokens a second."""
        del case
        return _timed(answer, answer.tokens_per_s)


class ThinkingTokens(Metric):
    """Tokens of what the model thought before the answer, where that is told apart from it."""

    type: Literal["thinking-tokens"] = "thinking-tokens"
    plain: ClassVar[bool] = True
    better: ClassVar[int] = 0
    unit: ClassVar[str] = "tokens"

    def score(self, case: Case, answer: Answer) -> Score:
        """A count."""
        del case
        return Score(float(answer.reasoning_tokens or 0))


class Tokens(Metric):
    """Tokens of the answer, those of thinking among them."""

    type: Literal["tokens"] = "tokens"
    plain: ClassVar[bool] = True
    better: ClassVar[int] = 0
    unit: ClassVar[str] = "tokens"

    def score(self, case: Case, answer: Answer) -> Score:
        """A count."""
        del case
        if answer.completion_tokens is None:
            return Score(None, "the model's server does not count tokens")
        return Score(float(answer.completion_tokens))
