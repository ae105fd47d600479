"""Comparison of runs by name, and checks against the rules of their suite."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.comparison import Comparison, compare
from llmops_tui.evaluation.gates import Ruling, judge, parse_rule
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.results import Result, read_results
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.workspace.files import sha256_file


def results_of(run: EvalRun) -> list[Result]:
    """The results of a finished run, checked against their hash.

    Raises:
        InputRefusedError: it is not finished. LlmopsError: ``results_damaged``.
    """
    if run.summary is None:
        raise InputRefusedError("run_unfinished", f"run {run.name} is not finished", "llmops eval resume continues it.")
    if not run.results.is_file() or sha256_file(run.results) != run.results_sha256:
        raise LlmopsError(
            "results_damaged",
            f"the results of {run.name} in {run.results} are missing or were changed",
            "Run the suite again; cached answers are reused.",
        )
    return read_results(run.results)


def results_so_far(run: EvalRun) -> list[Result]:
    """The results of a run: of a finished one as :func:`results_of`, of another what there is by now.

    Raises:
        LlmopsError: ``results_damaged``: a finished run's file is gone, or is not what the run wrote.
    """
    return read_results(run.results) if run.summary is None else results_of(run)


def metrics_of_run(store: EvaluationStore, run: EvalRun, results: Sequence[Result]) -> list[Metric]:
    """The metrics of a run's suite, and those of single cases."""
    found = store.suite(run.suite_ref).suite.made_metrics()
    seen = {metric.called for metric in found}
    for result in results:
        for entry in result.case.metrics:
            metric = make_metric(entry)
            if metric.called not in seen:
                seen.add(metric.called)
                found.append(metric)
    return found


def compare_runs(store: EvaluationStore, baseline: str, candidate: str, metric: str = "") -> Comparison:
    """Compare two finished runs."""
    a, b = store.get(baseline), store.get(candidate)
    first, second = results_of(a), results_of(b)
    return compare((a, first), (b, second), metrics_of_run(store, b, second), metric)


def promotion(store: EvaluationStore, ref: str, label: str, suite: str) -> list[Ruling]:
    """What the rules of a suite say of moving a label to a prompt version.

    Its newest finished run is compared with the newest one, of the same model, of the version that has the label now.

    Raises:
        InputRefusedError: ``not_evaluated``: the version has no finished run of the suite.
    """
    version = store.prompts.get(ref)
    runs = [run for run in store.all() if run.suite == suite and run.summary is not None]
    found = next((run for run in runs if run.asked.prompt == version.ref), None)
    if found is None:
        raise InputRefusedError(
            "not_evaluated",
            f"{version.ref} has no finished run of suite {suite!r}",
            f"llmops eval run {suite} --prompt {version.ref} --model MODEL makes one.",
        )
    rules = store.suite(found.suite_ref).suite.rules
    current = next((v.ref for v in store.prompts.versions(version.prompt) if label in v.labels), version.ref)
    if current == version.ref:
        # The first version to get a label has nothing to be compared with.
        absolute = [rule for rule in rules if parse_rule(rule).kind == "absolute"]
        return gate(store, found.name, None, absolute) if absolute else []
    before = next((run for run in runs if run.asked.prompt == current and run.asked.model == found.asked.model), None)
    if before is None:
        raise InputRefusedError(
            "not_evaluated",
            f"{current}, which is now {label}, has no finished run of suite {suite!r} on {found.asked.model}",
            f"llmops eval run {suite} --prompt {current} --model {found.asked.model} makes one.",
        )
    return gate(store, found.name, before.name, rules) if rules else []


def gate(store: EvaluationStore, run: str, baseline: str | None, rules: Sequence[str]) -> list[Ruling]:
    """What rules say of a run; without any, those of its suite.

    Raises:
        InputRefusedError: ``no_rules``, ``bad_rule``, or the run is not finished.
    """
    entry = store.get(run)
    given = list(rules) or store.suite(entry.suite_ref).suite.rules
    if not given:
        raise InputRefusedError("no_rules", f"suite {entry.suite_ref} has no rules", "Give rules with --rule.")
    parsed = [parse_rule(rule) for rule in given]
    if entry.summary is None:
        raise InputRefusedError("run_unfinished", f"run {run} is not finished", "llmops eval resume continues it.")
    comparison = compare_runs(store, baseline, run) if baseline else None
    return judge(parsed, entry.summary, comparison)
