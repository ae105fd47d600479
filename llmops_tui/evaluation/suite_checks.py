"""What a suite must not say when it is saved: whatever would be left aside without a word, and rules on what is not measured.

Suites that were saved before are read all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.metrics.model_graded import AskingMetric
from llmops_tui.evaluation.metrics.structured import JsonFields, json_of
from llmops_tui.evaluation.metrics.verdicts import DerivedMetric, Verdict
from llmops_tui.evaluation.rules import parse_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmops_tui.evaluation.metrics.base import Case, Metric
    from llmops_tui.evaluation.suite import Suite
    from llmops_tui.foreign_text import JsonObject

# What a case written in a suite may have besides its variables.
OF_CASE = frozenset(
    {"vars", "expected", "context", "choices", "group", "slices", "messages", "metrics", "id", "script"}
)
# A variable in double braces, with a filter or a part behind it or not.
_NAMED = re.compile(r"\{\{-?\s*(\w+)\s*(?:-?\}\}|[|.\[])")
# Of a suite, paths in the rows of a dataset.
_PATHS = ("variables", "expected", "context", "group", "slices", "script")


def check_new(suite: Suite) -> None:
    """Refuse a new version of a suite that says what nobody would heed.

    Raises:
        InputRefusedError: ``bad_suite``, ``bad_metric``, ``bad_rule``.
    """
    metrics = suite.all_metrics()
    if not isinstance(suite.cases, str):
        _check_written(suite, suite.cases)
        check_texts(suite.made_metrics(), {str(name) for case in suite.cases for name in case.get("vars") or case})
    _check_names(metrics)
    _check_verdicts(suite, metrics)
    if suite.until is not None:
        metric = next(m for m in suite.made_metrics() if m.called == suite.until.metric)
        if metric.whole_set:
            raise _bad(
                f"until: {metric.called} is a figure of all cases together, whose interval is not known before the end",
                "Name a metric that each case has a score of.",
            )
    _check_rules(suite.rules, {metric.called for metric in (*metrics, *ALWAYS)})


def id_of(case: JsonObject) -> str:
    """What a case that is written in a suite is called; empty where it has no id."""
    return "" if case.get("id") is None else str(case["id"])


def _bad(message: str, hint: str) -> InputRefusedError:
    return InputRefusedError("bad_suite", message, hint)


def _check_written(suite: Suite, cases: Sequence[JsonObject]) -> None:
    for name in _PATHS:
        if getattr(suite, name):
            raise _bad(
                f"{name}: it says where something is in the rows of a dataset, and the cases are written here",
                "Write it into each case, as vars, expected, context, group, slices or script.",
            )
    if isinstance(suite.choices, str) and suite.choices:
        raise _bad(
            "choices: a path is for the rows of a dataset, and the cases are written here", "Give a list of texts."
        )
    ids: dict[str, int] = {}
    for number, case in enumerate(cases):
        if (own := id_of(case)) and (before := ids.setdefault(own, number)) != number:
            raise _bad(f"cases[{number}].id: {own!r} is that of cases[{before}]", "Give each another, or none.")
        unknown = next((str(name) for name in case if name not in OF_CASE), "") if "vars" in case else ""
        if unknown:
            close = get_close_matches(unknown, OF_CASE, 1)
            hint = f"Did you mean {close[0]}?" if close else "Variables stand in vars, and beside it none."
            raise _bad(f"cases[{number}].{unknown}: a case has no such field", hint)
        # In the short form it would be one variable of this name, with all of them in it.
        if isinstance(case.get("variables"), dict):
            raise _bad(f"cases[{number}].variables: a case has no such field", "Variables stand in vars.")


def _check_names(metrics: Iterable[Metric]) -> None:
    measured = {metric.called: metric.type for metric in ALWAYS}
    for metric in metrics:
        if measured.get(metric.called, metric.type) != metric.type:
            raise InputRefusedError(
                "bad_metric",
                f"{metric.called!r} is measured with every run, and the name of a {metric.type} here",
                "Name it otherwise.",
            )


def _check_verdicts(suite: Suite, metrics: Iterable[Metric]) -> None:
    """A verdict over nothing would let everything pass."""
    own = [m for m in suite.made_metrics() if isinstance(m, Verdict) and not m.parts]
    if own and not any(m.binary and not isinstance(m, DerivedMetric) for m in metrics):
        raise InputRefusedError(
            "bad_metric",
            f"{own[0].called}: no metric is right or wrong, so that every answer would pass",
            "Give it parts with limits: parts: [{metric: NAME, at_least: 0.5}].",
        )


def _check_rules(rules: Iterable[str], measured: set[str]) -> None:
    for rule in rules:
        name = parse_rule(rule).metric
        if name not in measured:
            close = get_close_matches(name, measured, 1)
            hint = f"Did you mean {close[0]}?" if close else f"Measured are {', '.join(sorted(measured))}."
            raise InputRefusedError("bad_rule", f"{rule!r}: {name} is not measured by this suite", hint)


def check_variations(suite: Suite, cases: Sequence[Case]) -> None:
    """Refuse a variation of what no case has: nothing would be asked in another form.

    Raises:
        InputRefusedError: ``bad_suite``.
    """
    for number, variation in enumerate(suite.vary):
        name = variation.variable
        if name and not any(name in case.variables for case in cases):
            known = {known for case in cases for known in case.variables}
            close = get_close_matches(name, known, 1)
            hint = f"Did you mean {close[0]}?" if close else "Without variable, all of them are varied."
            raise _bad(f"vary[{number}]: no case has the variable {name}", hint)


def check_texts(metrics: Iterable[Metric], variables: set[str]) -> None:
    """Refuse a metric whose text names a variable as a template does: it is compared as it is written, braces and all.

    Raises:
        InputRefusedError: ``bad_metric``.
    """
    known = variables | {"expected", "context"}
    for metric in metrics:
        # A judge's rubric is a template.
        if isinstance(metric, AskingMetric | DerivedMetric):
            continue
        for field, value in metric.model_dump().items():
            named = next((n for text in texts_in(value) for n in _NAMED.findall(text) if n in known), "")
            if named:
                raise InputRefusedError(
                    "bad_metric",
                    f"{metric.called}: {field} has {{{{ {named} }}}}, and is no template: it is compared as it is written",
                    "Without a value, a metric goes by what the case expects; a case's own metrics have texts of their own. "
                    "A regex finds the braces themselves, as \\{\\{.",
                )


def texts_in(value: object) -> Iterator[str]:
    """All texts of a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts_in(one)


def check_fields(metrics: Iterable[Metric], cases: Sequence[Case]) -> None:
    """Refuse fields of answers that no case expects: a slip of the pen would make every answer right.

    Raises:
        InputRefusedError: ``bad_metric``.
    """
    for metric in metrics:
        missing = set(metric.fields) if isinstance(metric, JsonFields) else set()
        known: set[str] = set()
        for case in cases:
            if not missing:
                break
            expected = case.expected if isinstance(case.expected, dict) else json_of(case.expected_text)[0]
            if isinstance(expected, dict):
                known |= expected.keys()
                missing -= expected.keys()
        if missing:
            name = min(missing)
            close = get_close_matches(name, known, 1)
            raise InputRefusedError(
                "bad_metric",
                f"{metric.called}: no expected answer has the field {name}",
                f"Did you mean {close[0]}?" if close else "Remove it from fields, or correct what is expected.",
            )
