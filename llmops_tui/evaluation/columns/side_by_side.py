"""Several runs of one suite side by side, case by case: what each answered and scored, those that disagree first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.columns.over_dataset import words_apart
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.evaluation.run_comparison import results_of

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun
    from llmops_tui.evaluation.runner.results import Result

MOST = 6
Narrowed = Literal["all", "differ", "wrong"]
NARROWED: tuple[Narrowed, ...] = ("all", "differ", "wrong")


class AcrossRecord(TypedDict):
    """A case for JSON; ``answers``, ``errors`` and ``scores`` have one for each run, none where it did not ask the case."""

    case: int
    variables: dict[str, object]
    expected: Any
    slices: dict[str, str]
    answers: list[str | None]
    errors: list[str | None]
    scores: list[float | None]
    spread: float | None
    apart: float


@dataclass(frozen=True)
class CaseAcross:
    """A case with its first answer in each run; none where a run did not ask it.

    ``apart`` is the share of words that two answers do not have in common, 0 where all say the same.
    """

    case: Case
    results: tuple[Result | None, ...]
    apart: float

    def scores(self, metric: str) -> list[float | None]:
        """What each run has by a metric."""
        return [_score(result, metric) for result in self.results]

    def spread(self, metric: str) -> float | None:
        """The greatest score less the least; none where fewer than two runs scored it."""
        scores = [score for score in self.scores(metric) if score is not None]
        return max(scores) - min(scores) if len(scores) > 1 else None

    def is_among(self, metric: str, narrowed: Narrowed) -> bool:
        """Whether it is shown: any, those whose scores or answers differ, or those that some run has not wholly right."""
        if narrowed == "differ":
            spread = self.spread(metric)
            return bool(spread) or (spread is None and self.apart > 0)
        if narrowed == "wrong":
            return any(score is None or score < 1 for score in self.scores(metric))
        return True

    def as_dict(self, metric: str) -> AcrossRecord:
        """For JSON."""
        return {
            "case": self.case.index,
            "variables": dict(self.case.variables),
            "expected": self.case.expected,
            "slices": dict(self.case.slices),
            "answers": [None if result is None else result.answer.text for result in self.results],
            "errors": [None if result is None else result.answer.error for result in self.results],
            "scores": self.scores(metric),
            "spread": self.spread(metric),
            "apart": self.apart,
        }


def by_disagreement(rows: Iterable[CaseAcross], metric: str) -> list[CaseAcross]:
    """The cases by how far their scores by a metric are apart, then their answers, then as in the suite."""
    return sorted(rows, key=lambda row: (-(row.spread(metric) or 0.0), -row.apart, row.case.index))


def side_by_side(runs: Sequence[tuple[EvalRun, Sequence[Result]]]) -> list[CaseAcross]:
    """The cases of these runs.

    Variations and repeats are left out: a case is there once.

    Raises:
        InputRefusedError: ``too_many_columns``, ``other_suites``: the runs have no case in common.
    """
    check_runs([run for run, _ in runs])
    cases: dict[str, Case] = {}
    answers: list[dict[str, Result]] = []
    for _, results in runs:
        firsts = {r.case.key: r for r in results if r.repeat == 0 and not r.case.variation}
        answers.append(firsts)
        for key, result in firsts.items():
            cases.setdefault(key, result.case)
    if len(runs) > 1 and not any(sum(key in firsts for firsts in answers) > 1 for key in cases):
        raise InputRefusedError("other_suites", "these runs have no case in common", "Choose runs of one suite.")
    found = []
    for key, case in cases.items():
        across = tuple(firsts.get(key) for firsts in answers)
        texts = [result.answer.text for result in across if result is not None]
        found.append(CaseAcross(case, across, words_apart(texts)))
    return found


def check_runs(runs: Sequence[EvalRun]) -> None:
    """Refuse what cannot be read side by side.

    Raises:
        InputRefusedError: ``too_many_columns``, ``run_unfinished``.
    """
    if len(runs) > MOST:
        raise InputRefusedError(
            "too_many_columns", f"{len(runs)} runs do not fit side by side", f"Choose {MOST} of them at the most."
        )
    if unfinished := next((run for run in runs if run.summary is None), None):
        raise InputRefusedError("run_unfinished", f"run {unfinished.name} is not finished", "Look at it when it is.")


def metrics_of(runs: Sequence[EvalRun]) -> list[str]:
    """The metrics that each of the runs has, in the order of the first."""
    names = [list((run.summary or {}).get("metrics", {})) for run in runs]
    return [name for name in names[0] if all(name in other for other in names[1:])] if names else []


def columns_of(run: EvalRun, runs: Sequence[EvalRun]) -> list[EvalRun]:
    """The newest finished runs of the same suite by column, ``run`` before all: what is side by side if nobody chose.

    ``runs`` are all, the newest first.
    """
    found = {run.column: run}
    for other in runs:
        if other.suite == run.suite and other.summary is not None:
            found.setdefault(other.column, other)
    return list(found.values())[:MOST]


def read_side_by_side(runs: Sequence[EvalRun], slices: Mapping[str, str]) -> list[CaseAcross]:
    """The same from the files of the runs, of the cases that have these slices.

    Raises:
        InputRefusedError: as :func:`side_by_side`; ``unknown_slice``. LlmopsError: results are missing or damaged.
    """
    check_runs(runs)
    rows = side_by_side([(run, results_of(run)) for run in runs])
    known = sorted({name for row in rows for name in row.case.slices})
    if unknown := next((name for name in slices if name not in known), None):
        told = f"There are {', '.join(known)}." if known else "The suite defines no slices."
        raise InputRefusedError("unknown_slice", f"no case has a slice {unknown!r}", told)
    return [row for row in rows if all(row.case.slices.get(name) == value for name, value in slices.items())]


def _score(result: Result | None, metric: str) -> float | None:
    score = result.scores.get(metric) if result is not None else None
    return score.value if score is not None else None
