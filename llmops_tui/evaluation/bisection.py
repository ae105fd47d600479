"""Bisection: which version of a prompt broke a case, found by evaluations of as few versions as possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.case_names import case_number
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.run_comparison import results_of
from llmops_tui.evaluation.run_search import RunSearch
from llmops_tui.inference.asked_prompt import sampling_of
from llmops_tui.inference.sampling import SamplingParameters

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import Asked, EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.prompts.store import PromptVersion


class TriedRecord(TypedDict):
    """A version that was looked at: the run, and the case's mean score over its repeats; none where it was not scored."""

    version: int
    run: str
    value: float | None


class FoundRecord(TypedDict):
    """What a bisection found.

    ``broke`` is the first version on the bad side and ``last_good`` the one before it; between them lie versions that could
    not be told, which are in ``unclear``. ``border`` is the value halfway between those of the two ends.
    """

    prompt: str
    suite: str
    case: int
    metric: str
    model: str
    last_good: int
    broke: int
    unclear: list[int]
    border: float
    tried: list[TriedRecord]
    caution: str


@dataclass
class Bisection:
    """A search for the version that broke a case, in the order in which versions were made.

    A version is good where the case's score lies on the good end's side of the value halfway between the two ends. As any
    bisection it supposes that the case broke once: of several changes it finds one.

    Attributes:
        versions: from the good end to the bad one.
        case: the case's index, from 0.
        better: 1 where more of the metric is better, -1 where less is, 0 where neither.
        fresh: whether runs take no answer that was kept before.
    """

    store: EvaluationStore
    suite: SuiteVersion
    versions: Sequence[PromptVersion]
    case: int
    metric: str
    model: str
    better: int = 0
    fresh: bool = False
    _tried: dict[int, tuple[EvalRun, float | None]] = field(default_factory=dict)

    @classmethod
    def between(
        cls,
        store: EvaluationStore,
        suite: SuiteVersion,
        good: str,
        bad: str,
        *,
        case: str,
        metric: str,
        model: str,
        fresh: bool = False,
    ) -> Bisection:
        """A bisection between two versions of one prompt, with what runs say already; with ``fresh`` those do not count.

        Raises:
            InputRefusedError: ``bad_bisection``, ``no_model``, ``prompt_of_chain``.
            NotFoundError: there is no such prompt, model, or metric.
        """
        first, last = store.prompts.get(good), store.prompts.get(bad)
        if first.prompt != last.prompt:
            raise InputRefusedError(
                "bad_bisection", f"{first.ref} and {last.ref} are of two prompts", "Name two versions of one prompt."
            )
        if first.number >= last.number:
            raise InputRefusedError(
                "bad_bisection",
                f"{first.ref} is good and {last.ref}, which is bad, is not newer",
                "The good version is the older one.",
            )
        metrics = {one.called: one.better for one in suite.suite.made_metrics()}
        chosen = metric or next(iter(metrics), "")
        if chosen not in metrics:
            raise NotFoundError("metric", chosen, f"{suite.ref} has: {', '.join(metrics)}")
        (column, *_) = store.columns(suite.suite, [model] if model else None, [last.ref])
        # Before anything is run, which may take hours.
        known = [one for one in build_cases(suite.suite, store.datasets).cases if not one.variation]
        hint = f"{suite.ref} has {counted(len(known), 'case')}, counted from 0; llmops eval show RUN lists those that failed."
        number = case_number(known, case, hint)
        way = _way(store.prompts.versions(last.prompt, candidates=True), first, last)
        found = cls(store, suite, way, number, chosen, column.model, metrics[chosen], fresh)
        runs = [] if fresh else store.all()
        # What a run would ask is worked out for those alone of which there may be one: a prompt may have thousands.
        ran = {run.asked.prompt for run in runs}
        for version in (one for one in found.versions if one.ref in ran):
            try:
                found._take(version, runs)
            except InputRefusedError as error:
                if error.code != "not_evaluated":
                    raise
        return found

    # ── what is asked ──

    def column(self, version: PromptVersion) -> Asked:
        """What a run of a version asks: the whole suite, with the suite's first set of parameters."""
        return self.store.columns(self.suite.suite, [self.model], [version.ref], fresh=self.fresh)[0]

    @property
    def most_runs(self) -> int:
        """How many runs are still needed at most, as far as every one says whether its version is good."""
        ends = [self.versions[0], self.versions[-1]]
        missing = sum(version.number not in self._tried for version in ends)
        low, high = self._borders() if not missing else (0, len(self.versions) - 1)
        return missing + math.ceil(math.log2(max(1, high - low)))

    def next(self) -> PromptVersion | None:
        """The version to run next: first the ends, then the one that halves what is left; none where all is known.

        Raises:
            InputRefusedError: ``not_broken``: both ends score alike, one was not scored, or the bad one scores better.
        """
        for end in (self.versions[0], self.versions[-1]):
            if end.number not in self._tried:
                return end
        low, high = self._borders()
        left = [at for at in range(low + 1, high) if self.versions[at].number not in self._tried]
        middle = (low + high) / 2
        return self.versions[min(left, key=lambda at: (abs(at - middle), at))] if left else None

    def look(self, version: PromptVersion, made: str = "") -> None:
        """Take in the newest run of a version that counts today; ``made`` names one that was made for it just now.

        That one is taken, too, where some of its cases have no answer: another would have none either.

        Raises:
            InputRefusedError: ``not_evaluated``: there is none; says why others do not count.
        """
        try:
            self._take(version, self.store.all())
        except InputRefusedError as error:
            run = self.store.get(made) if made else None
            if error.code != "not_evaluated" or run is None or run.summary is None or not run.summary["errors"]:
                raise
            self._tried[version.number] = run, self._value(run)

    def _take(self, version: PromptVersion, runs: Sequence[EvalRun]) -> None:
        column = self.column(version)
        run = RunSearch(self.store, self.suite, runs).newest(version, self.model, column.parameters)
        self._tried[version.number] = run, self._value(run)

    def _value(self, run: EvalRun) -> float | None:
        """The case's mean score; none where the run did not come to it, or could not score it."""
        of_case = [one for one in results_of(run) if one.case.index == self.case and not one.case.variation]
        values = [score.value for one in of_case if (score := one.scores.get(self.metric)) is not None]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    def _told(self, run: EvalRun, value: float | None) -> str:
        """A value in words; where there is none, the error that the case ended in."""
        if value is not None:
            return f"{value:g}"
        errors = (one.answer.error for one in results_of(run) if one.case.index == self.case and one.answer.error)
        return f"not scored{''.join(f', {error}' for error in [*errors][:1])}"

    # ── what was found ──

    @property
    def border(self) -> float:
        """The value halfway between the ends.

        Raises:
            InputRefusedError: ``not_broken``.
        """
        (good, first), (bad, last) = self._tried[self.versions[0].number], self._tried[self.versions[-1].number]
        if first is None or last is None or first == last:
            told = (
                f"{self.versions[0].ref}: {self._told(good, first)}, {self.versions[-1].ref}: {self._told(bad, last)}"
            )
            raise InputRefusedError(
                "not_broken",
                f"case {self.case} scores alike at both ends by {self.metric}, or was not scored ({told})",
                f"llmops eval compare {good.name} {bad.name} lists the cases that changed.",
            )
        if (first - last) * self.better < 0:
            raise InputRefusedError(
                "not_broken",
                f"case {self.case} scores better at {self.versions[-1].ref} ({last:g}) than at "
                f"{self.versions[0].ref} ({first:g}) by {self.metric}: between them it was mended",
                "Name a version that was right with --good, or another --metric.",
            )
        return (first + last) / 2

    def _borders(self) -> tuple[int, int]:
        """The places of the last version that is known to be good and the first after it that is known to be bad."""
        border, first = self.border, self._tried[self.versions[0].number][1]
        assert first is not None
        low, high = 0, len(self.versions) - 1
        for at, version in enumerate(self.versions):
            value = self._tried.get(version.number, (None, None))[1]
            if value is None:
                continue
            if value != border and (value > border) == (first > border):
                low = at
            else:
                high = at
                break
        return low, high

    def found(self) -> FoundRecord:
        """What is known once :meth:`next` has nothing left to run."""
        low, high = self._borders()
        asked = SamplingParameters.model_validate(self.column(self.versions[-1]).parameters)
        # What a suite does not say, each version may hold.
        warm = any(
            sampling_of(one.settings, asked).temperature > 0 for one in self.versions if one.number in self._tried
        )
        sampled = warm and self.suite.suite.repeats == 1
        order = {version.number: at for at, version in enumerate(self.versions)}
        return {
            "prompt": self.versions[0].prompt,
            "suite": self.suite.ref,
            "case": self.case,
            "metric": self.metric,
            "model": self.model,
            "last_good": self.versions[low].number,
            "broke": self.versions[high].number,
            "unclear": [version.number for version in self.versions[low + 1 : high]],
            "border": self.border,
            "tried": [
                {"version": number, "run": run.name, "value": value}
                for number, (run, value) in sorted(self._tried.items(), key=lambda one: order[one[0]])
            ],
            "caution": "Each version answered once, with a temperature above 0: chance may have decided."
            if sampled
            else "",
        }


def _way(versions: Sequence[PromptVersion], first: PromptVersion, last: PromptVersion) -> list[PromptVersion]:
    """From one version to another along what each was made of; where that does not lead there, by number."""
    known = {version.number: version for version in versions}
    way = [last]
    while (parent := way[-1].parent) in known and parent is not None and first.number <= parent < way[-1].number:
        way.append(known[parent])
    if way[-1].number == first.number:
        return way[::-1]
    between = [known[number] for number in sorted(known) if first.number <= number <= last.number]
    # What was proposed and never taken is on nobody's way.
    return [one for one in between if not one.candidate_of or one.number in {first.number, last.number}]
