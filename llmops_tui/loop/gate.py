"""Whether a retrained model may go on: not worse on any suite of before, and better on what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.gates import Ruling, RulingRecord
from llmops_tui.evaluation.gates import passes as gates_open
from llmops_tui.evaluation.metrics.verdicts import DerivedMetric
from llmops_tui.evaluation.rules import parse_rule
from llmops_tui.evaluation.run_comparison import gate
from llmops_tui.evaluation.run_search import NotEvaluatedError
from llmops_tui.loop.canary import prompt_of, run_that_counts
from llmops_tui.loop.gate_suites import GateSuites, LeftOutRecord, suites_of

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import Asked, EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.evaluation.suite import Suite
    from llmops_tui.loop.subject import Subject

MARGIN = 2.0
"""By how many points, or per cent of the baseline, a candidate may surely not be worse on a suite of before."""


class JudgeRecord(TypedDict):
    """A suite that judges: its version, and whether it asks what was asked ``before`` or what is ``new``."""

    suite: str
    asks: Literal["before", "new"]


class GateRecord(TypedDict):
    """As ``--json`` has it: rulings, the runs that are missing with what makes each, and which suites judge and which do not."""

    subject: str
    model: str
    candidate: str
    passes: bool
    rulings: list[RulingRecord]
    missing: list[str]
    suites: list[JudgeRecord]
    left_out: list[LeftOutRecord]


@dataclass(frozen=True)
class Gate:
    """What is known of a candidate beside the model that answers now."""

    subject: Subject
    candidate: str
    rulings: tuple[Ruling, ...]
    missing: tuple[str, ...]
    has_new: bool
    suites: tuple[JudgeRecord, ...] = ()
    left_out: tuple[LeftOutRecord, ...] = ()

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

    @property
    def choice(self) -> str:
        """Which suites judge, and which were left out, in a line; empty where nothing was chosen."""
        by = ", ".join(f"{one['suite']} ({one['asks']})" for one in self.suites)
        out = "; ".join(f"{one['what']}: {one['why']}" for one in self.left_out)
        return "; ".join(filter(None, [f"judged by {by}" if by else "", f"left out {out}" if out else ""]))

    def as_dict(self) -> GateRecord:
        """For JSON."""
        return {
            "subject": self.subject.name,
            "model": self.subject.model,
            "candidate": self.candidate,
            "passes": self.passes,
            "rulings": [one.as_dict() for one in self.rulings],
            "missing": list(self.missing),
            "suites": list(self.suites),
            "left_out": list(self.left_out),
        }


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
    has a run that counts. ``new`` are those of what is new; without any, the suites whose cases were held out of feedback on
    this subject. What is left out of those is said.

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
    runs, chosen = _chosen(store, subject, suites, new)
    rulings: list[Ruling] = []
    missing = [f"{one['what']}, which the stage asks for, cannot be read: {one['why']}" for one in chosen.unreadable]
    for suite in [*chosen.old, *chosen.new]:
        try:
            pair = [run_that_counts(store, runs, subject, suite, model) for model in (candidate, subject.model)]
        except NotEvaluatedError as error:
            missing.append(f"{error.message}: {error.hint}")
            continue
        rules = _rules(suite.suite, subject, margin, is_new=suite in chosen.new)
        rulings += _ruled(store, suite, pair[0], pair[1], rules)
    judges = [JudgeRecord(suite=one.ref, asks="before") for one in chosen.old]
    judges += [JudgeRecord(suite=one.ref, asks="new") for one in chosen.new]
    told = tuple(dict.fromkeys(missing))
    return Gate(subject, candidate, tuple(rulings), told, bool(chosen.new), tuple(judges), chosen.left_out)


def missing_columns(
    store: EvaluationStore, subject: Subject, candidate: str, suites: Sequence[str] = (), new: Sequence[str] = ()
) -> list[tuple[SuiteVersion, list[Asked]]]:
    """The runs that a gate lacks, by suite: of the candidate, and of the model that answers, as it would be asked now.

    Raises:
        NotFoundError: there is no such suite or model.
    """
    found = []
    runs, chosen = _chosen(store, subject, suites, new)
    for suite in [*chosen.old, *chosen.new]:
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


def _chosen(
    store: EvaluationStore, subject: Subject, old: Sequence[str], new: Sequence[str]
) -> tuple[list[EvalRun], GateSuites]:
    """The runs that can be read, and the suites that judge."""
    runs, damaged = store.readable()
    told = [LeftOutRecord(what=name, why=error.message) for name, error in damaged.items()]
    return runs, suites_of(store, runs, subject, old, new, told)


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
