"""A plan with all that it names: the seed, the models, the cases and their parts, and what is to be told before it is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmops_tui.counts import counted
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.asked_prompts import asked_prompts
from llmops_tui.evaluation.cases import CaseSet, build_cases
from llmops_tui.evaluation.metrics.base import Case, Metric
from llmops_tui.evaluation.metrics.verdicts import DerivedMetric
from llmops_tui.evaluation.runner.contamination import find_overlap
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.hardware.energy_counters import NOT_MEASURED, read_counters
from llmops_tui.improvement.candidates import Candidate, Frame, frame_of
from llmops_tui.improvement.parts import Barred, Parts, split, split_beside
from llmops_tui.improvement.plan import ImprovementPlan
from llmops_tui.improvement.records import PartsRecord
from llmops_tui.improvement.reflection import warning_of
from llmops_tui.improvement.store import Improvement, ImprovementStore
from llmops_tui.models.registry import Model
from llmops_tui.prompts.store import PromptVersion
from llmops_tui.workspace.catalog import Catalog


@dataclass(frozen=True)
class Prepared:
    """All that an improvement works with.

    Attributes:
        cases: by their keys, of all parts.
        look: the how-many-th look at the sealed rows this one's will be.
        told: what is to be known before it is started.
    """

    plan: ImprovementPlan
    store: EvaluationStore
    suite: Suite
    metrics: tuple[Metric, ...]
    metric: Metric
    seed: PromptVersion
    frame: Frame
    model: Model
    reflector: Model
    data: DatasetVersion
    cases: Mapping[str, Case]
    parts: Parts
    look: int
    told: tuple[str, ...]

    @property
    def candidate(self) -> Candidate:
        """The seed as a candidate."""
        seed = self.seed
        return Candidate(0, "seed", seed.system, seed.template, self.frame.instruction, settings=seed.settings_text)

    @property
    def better(self) -> int:
        """1 where more of the metric is better, -1 where less is."""
        return self.metric.better

    @property
    def best(self) -> float | None:
        """The score that nothing is better than."""
        bounds = self.metric.bounds
        return None if bounds is None else bounds[1] if self.better > 0 else bounds[0]

    @property
    def worst(self) -> float | None:
        """What an answer without a score counts as; none where such rows are left out."""
        bounds = self.metric.bounds
        return None if bounds is None else bounds[0] if self.better > 0 else bounds[1]


def prepare(catalog: Catalog, plan: ImprovementPlan, own: str = "") -> Prepared:
    """Find all that a plan names; ``own`` is the id of the improvement, where it has begun.

    Raises:
        InputRefusedError: something of it cannot be improved or held, and why; ``sealed_looked``: its sealed rows were looked at.
        NotFoundError: it names something that is not there.
    """
    store = EvaluationStore(catalog.workspace)
    seed = store.prompts.get(plan.prompt)
    suite = check_suite(plan.suite)
    asked_prompts(store.prompts, suite, seed.ref)
    metric = _usable(suite, plan.metric)
    model, reflector = store.registry.writing(plan.model), store.registry.writing(plan.writer)
    if plan.embedder:
        store.registry.get(plan.embedder)
    if plan.watt_hours is not None and not read_counters():
        raise InputRefusedError("not_measured", f"--watt-hours cannot be held: energy is {NOT_MEASURED}")
    sets = case_sets(store, plan, suite)
    data, *others = (store.datasets.get(ref) for ref in sets)
    sealed = (others[0], sets[others[0].ref].cases) if others else None
    barred, told = _barred(store, catalog, plan, seed, sets, own)
    group = suite.group
    cases = {case.key: case for one in sets.values() for case in one.cases}
    looks, noted = _looks(catalog, seed, own), _noted(catalog, own)
    if noted is not None:
        parts, look = _parts_again(data, sets[data.ref].cases, sealed, noted, plan, group, looks)
        if not cases.keys() >= {*parts.reflect, *parts.select, *parts.sealed}:
            raise InputRefusedError("data_changed", f"rows that {own} works with are not in its data any more")
    else:
        parts, look = _parts(data, sets[data.ref].cases, sealed, barred, plan, group, looks)
    told = [*told, *parts.told]
    if warned := warning_of(reflector) if "instructions" in plan.ways else "":
        told.append(warned)
    if suite.rules:
        told.append("the suite's rules are for gates; the verdict here is the sealed interval")
    metrics = tuple(suite.made_metrics()) if isinstance(metric, DerivedMetric) else (metric,)
    frame = frame_of(seed.system, seed.template)
    return Prepared(
        # By versions, so that one that is resumed has the rows that it was begun with.
        plan.model_copy(
            update={
                "prompt": seed.ref,
                "suite": {**plan.suite, "cases": data.ref},
                "sealed_data": others[0].ref if others else "",
            }
        ),
        store,
        suite,
        metrics,
        metric,
        seed,
        frame,
        model,
        reflector,
        data,
        cases,
        parts.shuffled(plan.seed),
        look,
        tuple(told),
    )


def case_sets(store: EvaluationStore, plan: ImprovementPlan, suite: Suite) -> dict[str, CaseSet]:
    """The cases of the data by its version, and behind them those of the sealed data, where they are of another dataset.

    Raises:
        InputRefusedError: ``same_data``; a path leads nowhere in a row. NotFoundError: there is no such dataset.
    """
    assert isinstance(suite.cases, str)
    data = store.datasets.get(suite.cases)
    sets = {data.ref: build_cases(suite, store.datasets)}
    if plan.sealed_data:
        other = store.datasets.get(plan.sealed_data)
        if other.ref == data.ref:
            raise InputRefusedError(
                "same_data", f"the sealed rows would be those of {data.ref} again", "Leave --sealed-data out."
            )
        sets[other.ref] = build_cases(suite.model_copy(update={"cases": other.ref}), store.datasets)
    return sets


def _usable(suite: Suite, name: str) -> Metric:
    """The metric that is improved.

    Raises:
        InputRefusedError: ``bad_plan``: the suite or the metric is of a kind that nothing can be improved by.
    """
    for what, there in (
        ("a chain", suite.chain),
        ("tools or scripts", suite.tools or suite.script),
        ("variations", suite.vary),
        ("choices", suite.choices),
        ("several answers to a case", suite.repeats > 1),
        ("an early end (until)", suite.until),
        ("several sets of parameters", len(suite.parameter_sets()) > 1),
        ("cases written in it instead of a dataset", not isinstance(suite.cases, str)),
    ):
        if there:
            raise InputRefusedError("bad_plan", f"suite {suite.name!r} has {what}, which cannot be improved by yet")
    metrics = {metric.called: metric for metric in suite.made_metrics()}
    if name not in metrics:
        raise NotFoundError("metric", name, f"There are: {', '.join(metrics)}.")
    metric = metrics[name]
    for why, there in (
        ("is a figure of all rows together, and has none of a row", metric.whole_set),
        ("says of no answer that it is better than another", not metric.better),
        ("needs log-probabilities", metric.needs_logprob or metric.needs_choices),
    ):
        if there:
            raise InputRefusedError("bad_plan", f"{name} {why}", "Choose another metric of one answer at a time.")
    if problem := metric.problem():
        raise InputRefusedError("bad_metric", problem)
    return metric


def _looks(catalog: Catalog, seed: PromptVersion, own: str) -> list[Improvement]:
    """Earlier improvements of the prompt, or of one with the same text, that looked at their sealed rows."""
    return [one for one in ImprovementStore(catalog).of_kin(seed.prompt, own) if one.looked is not None]


def _barred(
    store: EvaluationStore,
    catalog: Catalog,
    plan: ImprovementPlan,
    seed: PromptVersion,
    sets: Mapping[str, CaseSet],
    own: str,
) -> tuple[Barred, list[str]]:
    used: set[str] = set()
    looked: set[str] = set()
    for one in ImprovementStore(catalog).of_kin(seed.prompt, own):
        if one.parts is not None:
            used |= {*one.parts["reflect"], *one.parts["select"]}
            looked |= set(one.parts["sealed"]) if one.looked is not None else set()
    trained: set[str] = set()
    told: list[str] = []
    for ref, cases in sets.items():
        found = find_overlap(store, plan.model, cases)
        trained |= found.keys
        if not found.told:
            told.append(f"the training data of {plan.model} is not known: rows of {ref} may be among it")
    return Barred(trained, used, looked), told[:1]


def _noted(catalog: Catalog, own: str) -> PartsRecord | None:
    """The parts of an improvement that was begun before: they stay, whatever others used or looked at since."""
    found = next((one for one in ImprovementStore(catalog).all() if one.id == own), None) if own else None
    return found.parts if found is not None else None


def _parts_again(
    data: DatasetVersion,
    cases: Sequence[Case],
    sealed: tuple[DatasetVersion, Sequence[Case]] | None,
    noted: PartsRecord,
    plan: ImprovementPlan,
    group: str,
    looks: Sequence[Improvement],
) -> tuple[Parts, int]:
    """The parts as they were noted, with the groups of their rows, and the number of the look."""
    found = (
        split(data, cases, Barred(), group=group)
        if sealed is None
        else split_beside(data, cases, sealed, Barred(), group=group)
    )
    parts = Parts(tuple(noted["reflect"]), tuple(noted["select"]), tuple(noted["sealed"]), found.groups, found.told)
    return parts, 1 + len(_at(looks, parts)) if plan.look_again else 1


def _at(looks: Sequence[Improvement], parts: Parts) -> list[Improvement]:
    """Those that looked at any of the sealed rows."""
    return [one for one in looks if one.parts and not set(one.parts["sealed"]).isdisjoint(parts.sealed)]


def _parts(
    data: DatasetVersion,
    cases: Sequence[Case],
    sealed: tuple[DatasetVersion, Sequence[Case]] | None,
    barred: Barred,
    plan: ImprovementPlan,
    group: str,
    looks: Sequence[Improvement],
) -> tuple[Parts, int]:
    """The parts, and the number of the look at the sealed one: rows that nobody looked at, where there are enough."""

    def made(given: Barred) -> Parts:
        if sealed is None:
            return split(data, cases, given, group=group, most=plan.rows)
        return split_beside(data, cases, sealed, given, group=group, most=plan.rows)

    try:
        return made(barred), 1
    except InputRefusedError as error:
        if not barred.looked:
            raise
        parts = made(Barred(barred.trained, barred.used))
        before = _at(looks, parts)
        if plan.look_again:
            return parts, len(before) + 1
        last = before[0]
        said = last.result["verdict"] if last.result is not None else "it has not ended"
        raise InputRefusedError(
            "sealed_looked",
            f"the sealed rows were looked at {counted(len(before), 'time')}; last by {last.id}: {said}",
            "Add rows to the dataset, or give --sealed-data. With --look-again they are looked at once more, and the "
            "interval is wider, since the best of several looks is better by chance.",
        ) from error
