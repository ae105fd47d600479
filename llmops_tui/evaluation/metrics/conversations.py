"""Metrics of conversations with tools: the calls that were made, the state at the end, and what was thought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, MetricEntry, Score, right_or_wrong
from llmops_tui.evaluation.metrics.texts import short
from llmops_tui.evaluation.metrics.verdicts import DerivedMetric
from llmops_tui.evaluation.scripted.call_matching import problem_of_calls
from llmops_tui.evaluation.scripted.mock_tools import differences
from llmops_tui.evaluation.scripted.script import read_script

MetricKind = type[Metric]


class ToolCalls(Metric):
    """The right tools were called with the right arguments, by the rules of BFCL's AST evaluation.

    A case has its ``calls``, with alternatives for each argument. Patil et al., "The Berkeley Function Calling Leaderboard",
    ICML 2025. Calls may come in any order, and there may be no others, unless the settings say so.
    """

    type: Literal["tool-calls"] = "tool-calls"
    binary: ClassVar[bool] = True
    ordered: Annotated[bool, Field(description="The calls come in the order of the case.")] = False
    further: Annotated[bool, Field(description="There may be other calls beside.")] = False

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where they were."""
        script = read_script(case.script, "the case")
        if script.calls is None:
            return Score(None, "the case does not say which calls are right")
        calls = [(str(call["name"]), call.get("arguments")) for call in answer.calls]
        parameters = {tool.name: tool.parameters for tool in script.tools}
        problem = problem_of_calls(calls, script.calls, parameters, ordered=self.ordered, further=self.further)
        return right_or_wrong(not problem, short(problem))


class EndState(Metric):
    """The state at the end is as expected: each value that the case's ``end_state`` names."""

    type: Literal["end-state"] = "end-state"
    binary: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it is; the reason names what differs."""
        script = read_script(case.script, "the case")
        if script.end_state is None:
            return Score(None, "the case does not say what the state is to be")
        found = differences(answer.state, script.end_state)
        return right_or_wrong(not found, short("; ".join(found)))


class ThinkingMetric(Metric):
    """What the model thought before its answer, scored by another metric as if it were the answer."""

    type: Literal["thinking"] = "thinking"
    # The built-in metrics, by type; set where they are listed.
    kinds: ClassVar[Mapping[str, MetricKind]] = {}
    metric: MetricEntry | str

    @model_validator(mode="after")
    def _can_be_scored(self) -> ThinkingMetric:
        inner = self._inner()
        if inner.whole_set or inner.needs_choices or inner.needs_logprob or isinstance(inner, ThinkingMetric):
            raise ValueError(f"{inner.type} does not score a text by itself")
        return self

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or f"thinking-{self._inner().called}"

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Those of the other metric."""
        return self._inner().bounds

    def _inner(self) -> Metric:
        given = {"type": self.metric} if isinstance(self.metric, str) else self.metric
        kind = self.kinds.get(str(given.get("type")))
        if kind is None:
            raise ValueError(f"{given.get('type')!r} is not a built-in metric")
        made = kind.model_validate(given)
        if isinstance(made, DerivedMetric) or type(made).score is Metric.score:
            raise ValueError(f"{made.type} needs more than a text: other scores, or a model")
        return made

    def score(self, case: Case, answer: Answer) -> Score:
        """What the other metric says of the thinking; none where the model thought nothing."""
        if not answer.thinking:
            return Score(None, "the model thought nothing before its answer")
        return self._inner().score(case, Answer(text=answer.thinking, finish_reason=answer.finish_reason))
