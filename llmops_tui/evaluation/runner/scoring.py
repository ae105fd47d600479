"""Scores of answers, each metric within limits: whatever cannot be scored is without a score, and the run goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, MetricEntry, Score
from llmops_tui.evaluation.metrics.custom import is_plugin
from llmops_tui.evaluation.metrics.model_graded import Asking, AskingMetric
from llmops_tui.evaluation.metrics.registry import entry_of
from llmops_tui.evaluation.metrics.verdicts import DerivedMetric
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.scoring_worker import score_or_reason
from llmops_tui.inference.helper_process import HelperLostError, HelperProcess
from llmops_tui.inference.template_renderer import FAULTS

# Of the processor, for a question: what metrics import at their first answer counts, too.
SECONDS = 6.0
# A metric of a package may load a model first.
PACKAGE_SECONDS = 120.0
# Answers scored by one question, where there are many.
BATCH = 50
# A metric that was stopped so often is not tried on further answers: each try takes all of its time.
_GIVEN_UP = 10


@dataclass(frozen=True)
class Item:
    """An answer to score, and the metrics to score it by."""

    case: Case
    answer: Answer
    metrics: Sequence[Metric]


@dataclass(frozen=True)
class _Unit:
    """One answer and those of its metrics that one process scores."""

    item: Item
    metrics: tuple[Metric, ...]
    scores: dict[str, Score]


class Scorer:
    """Scores answers in processes that are replaced where a metric takes too long or too much."""

    def __init__(self, seconds: float = SECONDS, package_seconds: float = PACKAGE_SECONDS) -> None:
        module, greeting, work = __package__ + ".scoring_worker", b'{"metrics": [], "items": []}\n', "scores answers"
        self._ours = HelperProcess(module, greeting=greeting, work=work)
        self._theirs = HelperProcess(module, "packages", greeting=greeting, work=work)
        self._seconds = {self._ours: seconds, self._theirs: package_seconds}
        self._stopped: Counter[str] = Counter()
        # What came while a process was at work is its next question, all of it.
        self._waiting: dict[HelperProcess, list[list[_Unit]]] = {self._ours: [], self._theirs: []}
        self._turns = {self._ours: asyncio.Lock(), self._theirs: asyncio.Lock()}

    async def score(self, items: Sequence[Item], asking: Asking) -> list[dict[str, Score]]:
        """The scores of answers by the names of their metrics; one without a value has the reason.

        Raises:
            LlmopsError: ``model_gone``: a model that a metric asks does not come back; ``helper_unusable``.
        """
        found = [{metric.called: _unscored(metric, item) for metric in item.metrics} for item in items]
        units: dict[HelperProcess, list[_Unit]] = {self._ours: [], self._theirs: []}
        for item, scores in zip(items, found, strict=True):
            for process, some in self._left_to_processes(item, scores).items():
                if some:
                    units[process].append(_Unit(item, tuple(some), scores))
        for process, there in units.items():
            if there:
                await self._in_turn(process, there)
        for item, scores in zip(items, found, strict=True):
            for metric in item.metrics:
                if isinstance(metric, AskingMetric) and scores[metric.called] is _TO_SCORE:
                    scores[metric.called] = await _asked(metric, item, asking)
            _derive(item, scores)
        return found

    def _left_to_processes(self, item: Item, scores: dict[str, Score]) -> dict[HelperProcess, list[Metric]]:
        """Score what takes next to no time here; the others by the process that scores them."""
        left: dict[HelperProcess, list[Metric]] = {self._ours: [], self._theirs: []}
        for metric in item.metrics:
            if isinstance(metric, AskingMetric | DerivedMetric) or scores[metric.called] is not _TO_SCORE:
                continue
            foreign = is_plugin(metric)
            # What a package's metric says of itself is not asked of it here.
            if metric.plain if foreign else metric.takes_little(item.case, item.answer):
                scores[metric.called] = score_or_reason(metric, item.case, item.answer)
            else:
                left[self._theirs if foreign else self._ours].append(metric)
        return left

    async def _in_turn(self, process: HelperProcess, units: list[_Unit]) -> None:
        """Have a process score answers, along with those that others wait for."""
        self._waiting[process].append(units)
        async with self._turns[process]:
            taken = self._waiting[process]
            if not any(some is units for some in taken):
                # Whoever was before took them along.
                return
            self._waiting[process] = []
            try:
                await asyncio.to_thread(self._score_units, process, [unit for some in taken for unit in some])
            except BaseException:
                # The others try theirs themselves.
                self._waiting[process] += [some for some in taken if some is not units]
                raise

    def _score_units(self, process: HelperProcess, units: Sequence[_Unit]) -> None:
        """Have a process score answers; where it is lost over several, each alone, so that one is found that did it."""
        tried = [self._without_given_up(unit) for unit in units]
        tried = [unit for unit in tried if unit.metrics]
        for start in range(0, len(tried), BATCH):
            part = tried[start : start + BATCH]
            try:
                self._ask(process, part)
            except HelperLostError as error:
                if len(part) > 1:
                    for unit in part:
                        self._score_units(process, [unit])
                elif len(part[0].metrics) > 1:
                    for metric in part[0].metrics:
                        self._score_units(process, [_Unit(part[0].item, (metric,), part[0].scores)])
                else:
                    name = part[0].metrics[0].called
                    self._stopped[name] += 1
                    part[0].scores[name] = Score(None, f"it cannot be scored: {error}")

    def _without_given_up(self, unit: _Unit) -> _Unit:
        left = tuple(m for m in unit.metrics if self._stopped[m.called] < _GIVEN_UP)
        for metric in unit.metrics:
            if metric not in left:
                why = f"not scored: {metric.called} was stopped on {_GIVEN_UP} answers before, and is not tried again"
                unit.scores[metric.called] = Score(None, why)
        return _Unit(unit.item, left, unit.scores)

    def _ask(self, process: HelperProcess, units: Sequence[_Unit]) -> None:
        # By what they are, since one with a mapping among its settings has no hash.
        places: dict[int, int] = {}
        entries: list[MetricEntry] = []
        items = []
        for unit in units:
            for metric in unit.metrics:
                if id(metric) not in places:
                    places[id(metric)] = len(entries)
                    entries.append(entry_of(metric))
            kept = orjson.Fragment(Result(unit.item.case, 0, unit.item.answer, {}).to_line().rstrip())
            items.append((kept, [places[id(metric)] for metric in unit.metrics]))
        line = orjson.dumps({"metrics": entries, "items": items}, default=str) + b"\n"
        answer = orjson.loads(process.ask(line, self._seconds[process], of_processor=True))
        for unit, scores in zip(units, answer, strict=True):
            for metric, (value, reason, detail) in zip(unit.metrics, scores, strict=True):
                unit.scores[metric.called] = Score(value, reason, detail)

    def close(self) -> None:
        """End the processes."""
        self._ours.close()
        self._theirs.close()


_TO_SCORE = Score(None)


def _unscored(metric: Metric, item: Item) -> Score:
    if item.answer.error:
        return Score(None, item.answer.error)
    if metric.needs_expected and item.case.expected is None:
        return Score(None, "this case has no expected answer")
    return _TO_SCORE


def _derive(item: Item, scores: dict[str, Score]) -> None:
    """Score what follows from the other scores; in the order of the metrics, so that one may follow from another."""
    derived = [metric for metric in item.metrics if isinstance(metric, DerivedMetric)]
    binary = {m.called for m in item.metrics if m.binary and not isinstance(m, DerivedMetric)} if derived else set()
    for metric in derived:
        if scores[metric.called] is _TO_SCORE:
            others = {name: score for name, score in scores.items() if score is not _TO_SCORE}
            scores[metric.called] = metric.of_scores(others, binary)


async def _asked(metric: AskingMetric, item: Item, asking: Asking) -> Score:
    try:
        return await metric.score_by_asking(item.case, item.answer, asking)
    except LlmopsError as error:
        if error.code in {"model_gone", "cache_failed"}:
            raise
        if error.code in FAULTS:
            return Score(None, f"{metric.model} was not asked: {error.message}")
        return Score(None, f"{metric.model} did not answer: {error.message}")
    except Exception as error:  # noqa: BLE001  a server may answer anything; here it becomes an answer without a score
        return Score(None, f"{metric.model} gave no usable answer: {type(error).__name__}: {error}"[:400])
