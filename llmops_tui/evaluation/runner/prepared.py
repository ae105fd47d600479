"""Metrics as a run measures with them."""

from __future__ import annotations

from llmops_tui.evaluation.measures import ready
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.model_graded import Judge
from llmops_tui.prompts.store import PromptStore


def prepared(metric: Metric, prompts: PromptStore) -> Metric:
    """A metric as it measures now; a judge's prompt is kept as a version, so that it can be looked at."""
    if isinstance(metric, Judge) and not metric.prompt:
        version, _ = prompts.save(
            f"judge-{metric.called}",
            template=metric.template,
            system=metric.system,
            note="asks a judge for a grade",
            settings=None,
        )
        return metric.model_copy(update={"prompt": version.ref})
    return ready(metric, prompts)
