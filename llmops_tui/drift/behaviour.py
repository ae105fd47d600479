"""Whether a model answers a fixed set of questions otherwise than before: the same files, asked greedily, answer by answer.

The set is a suite that is asked again, such as each night. Its runs are what is compared, so nothing else is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.run_comparison import asks_the_same, compare_runs, refuse_damaged, results_of
from llmops_tui.evaluation.statistics.intervals import wilson

if TYPE_CHECKING:
    from llmops_tui.evaluation.difference import Difference
    from llmops_tui.evaluation.run import EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore

_SAME = ("model_sha256", "adapter_sha256", "prompt_sha256")
_SHOWN = 5
_POWER = 0.8


class BehaviourRecord(TypedDict):
    """As ``--json`` has it: answers that differ of all, with the interval of their share, and metrics that surely changed.

    ``smallest`` is the share of answers that a change must touch to be seen in four of five cases. ``engines`` are the builds.
    """

    suite: str
    model: str
    first: str
    newest: str
    changed: bool
    answers: int
    differ: int
    low: float
    high: float
    smallest: float
    metrics: list[str]
    engines: list[str]
    cases: list[int]


@dataclass(frozen=True)
class Behaviour:
    """As :class:`BehaviourRecord`."""

    suite: str
    model: str
    first: str
    newest: str
    answers: int
    differ: int
    low: float
    high: float
    metrics: tuple[Difference, ...]
    engines: tuple[str, str]
    cases: tuple[int, ...]

    @property
    def changed(self) -> bool:
        """Whether any answer is another one: greedily the same files answer the same."""
        return self.differ > 0

    @property
    def smallest(self) -> float:
        """The share of answers that a change must touch to be seen in four of five cases."""
        return float(1 - (1 - _POWER) ** (1 / self.answers)) if self.answers else 1.0

    @property
    def told(self) -> str:
        """In words."""
        other = (
            ""
            if self.engines[0] == self.engines[1]
            else f"; the engine was {self.engines[0]}, and is {self.engines[1]}"
        )
        if not self.changed:
            could = f"a change of {self.smallest:.1%} of them would have been seen in four of five cases"
            return f"no change of behaviour was seen in {self.answers:,} answers; {could}{other}"
        share = f"{self.differ / self.answers:.1%} ({self.low:.1%} to {self.high:.1%})"
        worse = "".join(
            f"; {one.name} {one.verdict}, {one.baseline:.3g} to {one.candidate:.3g} "
            f"(95 % {one.interval.low:+.3g} to {one.interval.high:+.3g})"
            for one in self.metrics
        )
        return f"behaviour changed: {self.differ:,} of {self.answers:,} answers are others, {share}{worse}{other}"

    def as_dict(self) -> BehaviourRecord:
        """For JSON."""
        return {
            "suite": self.suite,
            "model": self.model,
            "first": self.first,
            "newest": self.newest,
            "changed": self.changed,
            "answers": self.answers,
            "differ": self.differ,
            "low": self.low,
            "high": self.high,
            "smallest": self.smallest,
            "metrics": [f"{one.name} {one.verdict}" for one in self.metrics],
            "engines": list(self.engines),
            "cases": list(self.cases),
        }


def first_run(store: EvaluationStore, runs: Sequence[EvalRun], newest: EvalRun, suite: SuiteVersion) -> EvalRun | None:
    """The first whole run that asked the same of the same files as a run did; none where that is itself."""
    for run in sorted(runs, key=lambda one: one.created_at):
        if run.name == newest.name:
            return None
        if run.suite != newest.suite or run.summary is None or run.not_whole:
            continue
        if run.asked.as_dict() | {"fresh": None, "parallel": None} != newest.asked.as_dict() | {
            "fresh": None,
            "parallel": None,
        }:
            continue
        if all(run.manifest.get(key) == newest.manifest.get(key) for key in _SAME) and _asks_the_same(
            store, run, suite
        ):
            return run
    return None


def _asks_the_same(store: EvaluationStore, run: EvalRun, suite: SuiteVersion) -> bool:
    """As :func:`asks_the_same`; of a run whose suite nobody can read nothing can be said, so it is none."""
    try:
        return asks_the_same(store, run, suite)
    except LlmopsError:
        return False


def refuse_by_chance(suite: SuiteVersion) -> None:
    """Refuse a suite whose answers are drawn: they differ without any change.

    Raises:
        InputRefusedError: ``not_greedy``.
    """
    if any(given.get("temperature") != 0 for given in suite.suite.parameter_sets()):
        told = f"suite {suite.ref} draws its answers, which differ by chance"
        raise InputRefusedError("not_greedy", told, "Set parameters: {temperature: 0} in a suite of its own.")


def compare_behaviour(store: EvaluationStore, first: EvalRun, newest: EvalRun) -> Behaviour:
    """What two runs of the same files say: answers are paired by case, and the same only where every character is.

    Raises:
        InputRefusedError: one of them is not finished. LlmopsError: ``results_damaged``.
    """
    before = {(one.case.key, one.repeat): one.answer.text for one in results_of(first)}
    pairs = [
        (one, before[one.case.key, one.repeat]) for one in results_of(newest) if (one.case.key, one.repeat) in before
    ]
    others = [one for one, text in pairs if one.answer.text != text]
    interval = wilson(len(others), len(pairs))
    surely = [
        one for one in compare_runs(store, first.name, newest.name).differences if one.verdict in {"better", "worse"}
    ]
    return Behaviour(
        newest.suite_ref,
        newest.asked.model,
        first.name,
        newest.name,
        len(pairs),
        len(others),
        interval.low,
        interval.high,
        tuple(one for one in surely if one.share),
        (str(first.manifest.get("engine")), str(newest.manifest.get("engine"))),
        tuple(one.case.index for one in others[:_SHOWN]),
    )


@dataclass(frozen=True)
class Behaviours:
    """What the suites that were asked again say; and of what nobody can read, ``run NAME`` or ``suite NAME@1``, what is wrong."""

    found: tuple[Behaviour, ...]
    damaged: Mapping[str, LlmopsError]


def newest_behaviours(store: EvaluationStore) -> Behaviours:
    """What the suites that were asked greedily again say, by suite, model and prompt; the newest run beside the first.

    Where the newest run is damaged nothing is said of that suite; where the first is, it is compared with the next sound one.
    """
    runs, damaged = store.readable()
    suites, broken = store.newest_suites()
    versions = {one.suite.name: one for one in suites}
    found, seen = [], set[tuple[str, str, str]]()
    for run in runs:
        suite, place = versions.get(run.suite), (run.suite, run.asked.model, run.asked.prompt)
        if suite is None or place in seen or run.summary is None or run.not_whole:
            continue
        seen.add(place)
        try:
            if run.asked.parameters.get("temperature") == 0 and asks_the_same(store, run, suite):
                one = _beside_the_first(store, [one for one in runs if one.name not in damaged], run, suite, damaged)
                found += [one] if one is not None else []
        except LlmopsError as error:
            damaged[run.name] = error
    told = {f"suite {ref}": error for ref, error in broken.items()} | {
        f"run {name}": error for name, error in damaged.items()
    }
    return Behaviours(tuple(found), told)


def _beside_the_first(
    store: EvaluationStore,
    runs: Sequence[EvalRun],
    newest: EvalRun,
    suite: SuiteVersion,
    damaged: dict[str, LlmopsError],
) -> Behaviour | None:
    """A run beside the first sound one of the same files, or none; those that are not sound are added to ``damaged``.

    Raises:
        LlmopsError: the newest one itself cannot be read.
    """
    sound = list(runs)
    while (first := first_run(store, sound, newest, suite)) is not None:
        try:
            refuse_damaged(first)
        except LlmopsError as error:
            damaged[first.name] = error
            sound.remove(first)
        else:
            return compare_behaviour(store, first, newest)
    return None
