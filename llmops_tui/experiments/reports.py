"""Experiments as commands and screens show them."""

from __future__ import annotations

import math

from llmops_tui.experiments.metrics import decider
from llmops_tui.experiments.outcomes import exchanges
from llmops_tui.experiments.records import ShownRecord
from llmops_tui.experiments.sentences import sentence
from llmops_tui.experiments.verdict import canary_course, verdict
from llmops_tui.inference.experiments.records import Experiment, ExperimentRecord
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.workspace.catalog import Catalog


def record_of(store: ExperimentStore, experiment: Experiment) -> ExperimentRecord:
    """An experiment with its counts."""
    counts = store.counts(experiment.id)
    return {
        "experiment": experiment.id,
        "name": experiment.name,
        "kind": experiment.kind,
        "state": experiment.state,
        "why": experiment.why,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
        "settings": experiment.settings,
        "conversations": {"a": counts["a"].conversations, "b": counts["b"].conversations},
        "failed": {"a": counts["a"].failed, "b": counts["b"].failed},
        "without_unit": store.without(experiment.id),
    }


def shown(catalog: Catalog, store: ExperimentStore, experiment: Experiment) -> ShownRecord:
    """An experiment with its verdict and the course of its evidence: of a canary that against it, of others what decides.

    Raises:
        LlmopsError: the catalog cannot be read, or the metric cannot be made any more.
    """
    texts = decider(experiment.settings["metric"], experiment.kind).metric is not None
    found = exchanges(catalog, store.event_log, experiment.id, experiment.started_at, texts=texts)
    made, course = verdict(experiment, found, store.counts(experiment.id))
    made["sentence"] = sentence(experiment, made)
    budget = experiment.settings["budget"]
    if experiment.kind == "canary" and budget is not None:
        course = canary_course(store.course(experiment.id, "b"), budget)
        against = math.exp(min(course[-1][1], 700)) if course else 1.0
        made["looked_at"].insert(0, "failed conversations against the budget, which stops it")
        made["sentence"] = _canary(store, experiment, budget, against) + " " + sentence(experiment, made)
    return {"experiment": record_of(store, experiment), "verdict": made, "course": course}


def _canary(store: ExperimentStore, experiment: Experiment, budget: float, against: float) -> str:
    """What is known of a canary's failures."""
    seen = store.counts(experiment.id)["b"]
    told = f"{seen.failed} of {seen.conversations} conversations failed with {experiment.settings['b']}"
    evidence = f"Evidence against it {against:.3g} of {1 / experiment.settings['alpha']:.3g}."
    return f"{told}; {budget * 100:.3g} % of them may. {evidence}"
