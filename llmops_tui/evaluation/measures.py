"""What a run measures with: metrics ready for use, and the models, prompts and packages that they come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from llmops_tui.evaluation.metrics.custom import fingerprint, source_of
from llmops_tui.evaluation.metrics.model_graded import AskingMetric, Judge
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.inference.answer_settings import refuse_settings
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    from llmops_tui.evaluation.metrics.base import Case, Metric
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.prompts.store import PromptStore

MetricsOf = Callable[["Case"], "list[Metric]"]


def ready(metric: Metric, prompts: PromptStore) -> Metric:
    """A metric as it measures now: a judge with the texts of the kept prompt that it names.

    Raises:
        NotFoundError: there is no such prompt.
        InputRefusedError: ``settings_unsupported``: it holds more than texts.
    """
    if not isinstance(metric, Judge) or not metric.prompt:
        return metric
    version = prompts.get(metric.prompt)
    refuse_settings(version, f"the judge {metric.called!r}, who has a model and a form of answers of its own,")
    return metric.model_copy(update={"prompt": version.ref, "system": version.system, "template": version.template})


class CaseMetrics:
    """The metrics of single cases, each entry made and prepared once."""

    def __init__(self, prepare: Callable[[Metric], Metric]) -> None:
        self._prepare = prepare
        self._made: dict[str, Metric] = {}

    @property
    def made(self) -> list[Metric]:
        """All that were made so far."""
        return list(self._made.values())

    def __call__(self, case: Case) -> list[Metric]:
        """The metrics that a case has beside those of its suite."""
        found = []
        for entry in case.metrics:
            text = entry if isinstance(entry, str) else json.dumps(entry, sort_keys=True, default=str)
            if text not in self._made:
                self._made[text] = self._prepare(make_metric(entry, "case metrics"))
            found.append(self._made[text])
        return found


def sources(metrics: Iterable[Metric], registry: ModelRegistry) -> dict[str, str]:
    """What metrics measure with beside their own settings: each model by hash, each package by version.

    Raises:
        NotFoundError: a model is gone.
    """
    found: dict[str, str] = {}
    for metric in metrics:
        if isinstance(metric, AskingMetric) and f"model {metric.model}" not in found:
            found[f"model {metric.model}"] = registry.get(metric.model).sha256
        name, code = source_of(metric)
        if code:
            found[f"metric {name}"] = code
    return found


def case_metrics_sha256(cases: Sequence[Case], of: MetricsOf) -> str:
    """The hash of how each case is measured that has metrics of its own; empty where none has."""
    lines = [f"{case.key} {metric.called} {fingerprint(metric)}" for case in cases for metric in of(case)]
    return sha256_text("\n".join(lines)) if lines else ""


def measured_otherwise(left: Iterable[Case], right: Iterable[Case]) -> tuple[list[str], list[str]]:
    """The metrics of single cases, by name, that measure a case otherwise in two runs; and those only one of them has.

    Both have the same cases, by their keys.
    """
    of_case = CaseMetrics(lambda metric: metric)
    before = {case.key: case for case in left}
    otherwise: set[str] = set()
    apart: set[str] = set()
    for new in right:
        old = before[new.key]
        if old.metrics != new.metrics:
            one, two = ({m.called: fingerprint(m) for m in of_case(case)} for case in (old, new))
            otherwise |= {name for name in one.keys() & two.keys() if one[name] != two[name]}
            apart |= one.keys() ^ two.keys()
    return sorted(otherwise), sorted(apart)
