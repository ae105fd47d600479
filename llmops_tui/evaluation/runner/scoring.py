"""The score of one answer in one metric, whoever wrote the metric."""

from __future__ import annotations

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.custom import at_work, is_plugin
from llmops_tui.evaluation.metrics.model_graded import Asking, AskingMetric


async def score_one(metric: Metric, case: Case, answer: Answer, asking: Asking) -> Score:
    """The score of an answer; one without a value, and with the reason, where it has none.

    Raises:
        LlmopsError: ``model_gone``: a model that it asks does not come back.
    """
    if answer.error:
        return Score(None, answer.error)
    if metric.needs_expected and case.expected is None:
        return Score(None, "this case has no expected answer")
    if not is_plugin(metric):
        return await _score(metric, case, answer, asking)
    # Code of others may raise anything: here it becomes a score that cannot be given, which says by whom.
    try:
        with at_work(metric):
            return await _score(metric, case, answer, asking)
    except LlmopsError as error:
        if error.code != "plugin_failed":
            raise
        return Score(None, error.message)


async def _score(metric: Metric, case: Case, answer: Answer, asking: Asking) -> Score:
    if not isinstance(metric, AskingMetric):
        return metric.score(case, answer)
    try:
        return await metric.score_by_asking(case, answer, asking)
    except LlmopsError as error:
        if error.code == "model_gone":
            raise
        return Score(None, f"{metric.model} did not answer: {error.message}")
