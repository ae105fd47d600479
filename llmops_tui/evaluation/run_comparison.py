"""Comparison of runs by name, and checks against the rules of their suite."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.comparison import Comparison, compare
from llmops_tui.evaluation.gates import Ruling, judge
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.rules import parse_rule
from llmops_tui.evaluation.run import EvalRun, SuiteVersion
from llmops_tui.evaluation.runner.results import Result, read_results
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.workspace.files import sha256_file


def results_of(run: EvalRun) -> list[Result]:
    """The results of a finished run, checked against their hash.

    Raises:
        InputRefusedError: it is not finished. LlmopsError: ``results_damaged``.
    """
    refuse_damaged(run)
    return read_results(run.results)


def refuse_damaged(run: EvalRun) -> None:
    """Refuse a run whose results are not those that it wrote.

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
    """Compare two finished runs.

    Raises:
        InputRefusedError: one is not finished; ``bad_metric``: the candidate does not measure it.
    """
    a, b = store.get(baseline), store.get(candidate)
    first, second = results_of(a), results_of(b)
    metrics = metrics_of_run(store, b, second)
    names = {one.called for one in (*metrics, *ALWAYS)}
    if metric and metric not in names:
        close = get_close_matches(metric, names, 1)
        hint = f"Did you mean {close[0]}?" if close else f"Measured are {', '.join(sorted(names))}."
        raise InputRefusedError("bad_metric", f"{metric!r} is not measured in {candidate}", hint)
    return compare((a, first), (b, second), metrics, metric)


def verdict_on(store: EvaluationStore, baseline: str, candidate: str, metric: str) -> str:
    """What :func:`compare_runs` says of one metric: ``better``, ``worse``, ``unclear`` or ``differs``; empty without a verdict.

    Raises:
        LlmopsError: as :func:`compare_runs`.
    """
    found = compare_runs(store, baseline, candidate, metric)
    if found.comparable.refused:
        return ""
    return next((one.verdict for one in found.differences if one.name == metric), "")


def asks_the_same(store: EvaluationStore, run: EvalRun, wanted: SuiteVersion) -> bool:
    """Whether a run asked and measured what a suite version does; rules, and which columns are asked, may differ."""
    if run.suite_ref == wanted.ref:
        return True
    return store.suite(run.suite_ref).suite.asks_sha256 == wanted.suite.asks_sha256


def _check_whole(run: EvalRun) -> None:
    if run.summary is None:
        raise InputRefusedError(
            "run_unfinished", f"run {run.name} is not finished", f"llmops eval resume {run.name} continues it."
        )
    if why := run.not_whole:
        raise InputRefusedError(
            "run_partial",
            f"run {run.name} {why}; a gate needs all of them",
            f"Run it whole: llmops eval run {run.suite_ref}. If the sample is meant, set limit in the suite.",
        )


def _rules_of_now(store: EvaluationStore, run: EvalRun) -> Sequence[str]:
    """The rules of a run's suite, as they are now.

    Raises:
        InputRefusedError: ``run_outdated``: the suite asks or measures otherwise by now; ``no_rules``.
    """
    now = store.suite(run.suite)
    if not asks_the_same(store, run, now):
        raise InputRefusedError(
            "run_outdated",
            f"run {run.name} was asked of {run.suite_ref}; {now.ref} asks or measures otherwise",
            f"llmops eval run {now.ref} asks it as it is now; rules given with --rule apply to any run.",
        )
    if not now.suite.rules:
        raise InputRefusedError("no_rules", f"suite {now.ref} has no rules", "Give rules with --rule.")
    return now.suite.rules


def gate(store: EvaluationStore, run: str, baseline: str | None, rules: Sequence[str]) -> list[Ruling]:
    """What rules say of a run; without any, those that its suite has now.

    Raises:
        InputRefusedError: ``no_rules``, ``bad_rule``, ``run_outdated``; ``run_unfinished`` or ``run_partial``, of the run or
            its baseline.
    """
    entry = store.get(run)
    parsed = [parse_rule(rule) for rule in list(rules) or _rules_of_now(store, entry)]
    for one in (entry, store.get(baseline)) if baseline else (entry,):
        _check_whole(one)
    comparison = compare_runs(store, baseline, run) if baseline else None
    return judge(parsed, entry.summary or {}, comparison)
