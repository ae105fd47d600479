"""Whether a retrained model may go on: not worse on any suite of before, and better on what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.gates import Ruling, RulingRecord
from llmops_tui.evaluation.gates import passes as gates_open
from llmops_tui.evaluation.metrics.verdicts import DerivedMetric
from llmops_tui.evaluation.rules import parse_rule
from llmops_tui.evaluation.run_comparison import gate
from llmops_tui.evaluation.run_search import NotEvaluatedError
from llmops_tui.loop.canary import newest_suites, prompt_of, run_that_counts
from llmops_tui.loop.feedback import OPERATION, is_held_out

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import Asked, EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.evaluation.suite import Suite
    from llmops_tui.loop.subject import Subject

MARGIN = 2.0
"""By how many points, or per cent of the baseline, a candidate may surely not be worse on a suite of before."""


class GateRecord(TypedDict):
    """As ``--json`` has it: rulings, and the runs that are missing with what makes each."""

    subject: str
    model: str
    candidate: str
    passes: bool
    rulings: list[RulingRecord]
    missing: list[str]


@dataclass(frozen=True)
class Gate:
    """What is known of a candidate beside the model that answers now."""

    subject: Subject
    candidate: str
    rulings: tuple[Ruling, ...]
    missing: tuple[str, ...]
    has_new: bool

    @property
    def passes(self) -> bool:
        """Whether all of it is measured, surely not worse, and better on what is new."""
        return bool(self.rulings) and self.has_new and not self.missing and gates_open(self.rulings, strict=True)

    @property
    def told(self) -> str:
        """Why it does not pass, in a line; empty where it does."""
        if self.passes:
            return ""
        shut = [f"{one.rule}: {one.why}" for one in self.rulings if one.outcome != "pass"]
        if not self.has_new:
            shut.append("no suite asks what is new: llmops loop collect holds rows out for one")
        return "; ".join([*shut, *(f"missing: {one}" for one in self.missing)]) or "nothing was measured"

    def as_dict(self) -> GateRecord:
        """For JSON."""
        return {
            "subject": self.subject.name,
            "model": self.subject.model,
            "candidate": self.candidate,
            "passes": self.passes,
            "rulings": [one.as_dict() for one in self.rulings],
            "missing": list(self.missing),
        }


def asks_what_is_new(store: EvaluationStore, suite: Suite) -> bool:
    """Whether the cases of a suite are rows of feedback that were held out."""
    if not isinstance(suite.cases, str):
        return False
    try:
        version = store.datasets.get(suite.cases)
    except NotFoundError:
        return False
    return version.recipe.operation == OPERATION and is_held_out(version)


def gate_of(
    store: EvaluationStore,
    subject: Subject,
    candidate: str,
    suites: Sequence[str] = (),
    new: Sequence[str] = (),
    margin: float = MARGIN,
) -> Gate:
    """What the suites say of a candidate beside the model that answers now.

    ``suites`` are those of before; without any, those of the stage's policy and all others of which the model that answers
    has a run that counts. ``new`` are those of what is new; without any, the suites whose cases were held out of feedback.

    Raises:
        NotFoundError: there is no such suite or model. InputRefusedError: ``same_model``, ``bad_margin``.
    """
    if candidate == subject.model:
        raise InputRefusedError(
            "same_model", f"{candidate} is what answers {subject.name} already", "Nothing to decide."
        )
    if not 0 <= margin <= 50:
        raise InputRefusedError("bad_margin", f"{margin:g} is no margin in points", "Give one from 0 to 50.")
    store.registry.get(candidate)
    runs = store.all()
    old, fresh = _suites(store, runs, subject, suites, new)
    rulings: list[Ruling] = []
    missing: list[str] = []
    for suite in [*old, *fresh]:
        try:
            pair = [run_that_counts(store, runs, subject, suite, model) for model in (candidate, subject.model)]
        except NotEvaluatedError as error:
            missing.append(f"{error.message}: {error.hint}")
            continue
        rulings += _ruled(store, suite, pair[0], pair[1], _rules(suite.suite, subject, margin, is_new=suite in fresh))
    return Gate(subject, candidate, tuple(rulings), tuple(dict.fromkeys(missing)), bool(fresh))


def missing_columns(
    store: EvaluationStore, subject: Subject, candidate: str, suites: Sequence[str] = (), new: Sequence[str] = ()
) -> list[tuple[SuiteVersion, list[Asked]]]:
    """The runs that a gate lacks, by suite: of the candidate, and of the model that answers, as it would be asked now.

    Raises:
        NotFoundError: there is no such suite or model.
    """
    runs, found = store.all(), []
    old, fresh = _suites(store, runs, subject, suites, new)
    for suite in [*old, *fresh]:
        lacking = []
        for model in (candidate, subject.model):
            try:
                run_that_counts(store, runs, subject, suite, model)
            except NotEvaluatedError:
                lacking.append(model)
        if lacking:
            prompt = prompt_of(subject, suite)[1]
            found.append((suite, store.columns(suite.suite, lacking, [prompt] if prompt else None)))
    return found


def _suites(
    store: EvaluationStore, runs: list[EvalRun], subject: Subject, suites: Sequence[str], new: Sequence[str]
) -> tuple[list[SuiteVersion], list[SuiteVersion]]:
    """The suites of before, and those of what is new."""
    fresh = [store.suite(name) for name in new] or [
        one for one in newest_suites(store) if asks_what_is_new(store, one.suite) and prompt_of(subject, one)[0]
    ]
    asked = list(subject.stage.suites) if subject.stage is not None else []
    old = [store.suite(name) for name in dict.fromkeys([*asked, *suites])]
    if not suites:
        known = {one.suite.name for one in old}
        old += [
            one for one in newest_suites(store) if one.suite.name not in known and _counts(store, runs, subject, one)
        ]
    names = {one.suite.name for one in fresh}
    return [one for one in old if one.suite.name not in names], fresh


def _counts(store: EvaluationStore, runs: list[EvalRun], subject: Subject, suite: SuiteVersion) -> bool:
    if not prompt_of(subject, suite)[0]:
        return False
    try:
        run_that_counts(store, runs, subject, suite, subject.model)
    except LlmopsError:
        return False
    return True


def _rules(suite: Suite, subject: Subject, margin: float, *, is_new: bool) -> list[str]:
    """What is asked: the suite's own rules and the stage's, no metric surely worse, and of what is new the first one better."""
    found = list(suite.rules)
    if subject.stage is not None and suite.name in subject.stage.suites:
        found += subject.stage.rules
    judged = [one for one in suite.made_metrics() if one.better and not isinstance(one, DerivedMetric)]
    if is_new:
        return [*found, *(f"{one.called} better than baseline" for one in judged[:1])]
    for one in judged:
        unit = "points" if one.share or one.binary else "%"
        found.append(f"{one.called} not worse than baseline by > {margin:g} {unit}")
    return list(dict.fromkeys(found))


def _ruled(
    store: EvaluationStore, suite: SuiteVersion, run: EvalRun, baseline: EvalRun, rules: Sequence[str]
) -> list[Ruling]:
    relative = [rule for rule in rules if parse_rule(rule).kind != "absolute"]
    absolute = [rule for rule in rules if rule not in relative]
    found = [*gate(store, run.name, baseline.name, relative)] if relative else []
    found += gate(store, run.name, None, absolute) if absolute else []
    return [replace(one, rule=f"{suite.suite.name}: {one.rule}") for one in found]
