"""The view model of the evaluation screen, read in a thread: suites, runs, and results."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from llmops_tui.evaluation.comparison import Comparison, Pair
    from llmops_tui.evaluation.run import EvalRun, EvalState
    from llmops_tui.evaluation.runner.results import Result
    from llmops_tui.evaluation.suite import Suite
    from screens.services import Services

_SHELVED = 3


@dataclass(frozen=True)
class KeptSuite:
    """A suite in the list; one that bundled and was not run yet has no version.

    ``rows`` are those of the dataset version that its cases are from; none where they are from elsewhere.
    """

    ref: str
    suite: Suite
    kept: bool
    rows: int | None = None


@dataclass
class EvaluationModel:
    """The lists."""

    runs: list[EvalState] = field(default_factory=list)
    suites: list[KeptSuite] = field(default_factory=list)
    catalog: tuple[object, list[EvalRun]] | None = None

    def fingerprint(self) -> tuple[object, ...]:
        """What the lists are drawn from."""
        runs = tuple((s.run.name, s.state, s.job.message if s.job else "") for s in self.runs)
        return runs, tuple(suite.ref for suite in self.suites)


@dataclass
class Opened:
    """A run that was opened, alone or beside its baseline.

    Attributes:
        pairs: the cases of a comparison, those that got worse first; of one run alone none.
        results: the results of the run, the wrong ones first.
        comparison: once it was computed.
    """

    run: EvalRun
    baseline: EvalRun | None
    metric: str
    results: list[Result]
    pairs: list[Pair] = field(default_factory=list)
    comparison: Comparison | None = None
    trouble: str = ""

    @property
    def kinds(self) -> dict[str, str]:
        """The type of each metric, by what it is called here; empty before the run is done."""
        return {name: figure["type"] for name, figure in ((self.run.summary or {}).get("metrics") or {}).items()}

    @property
    def comparable(self) -> bool:
        """Whether there are two finished runs to compare."""
        return self.run.summary is not None and self.baseline is not None and self.baseline.summary is not None


def read_lists(services: Services, before: EvaluationModel) -> EvaluationModel:
    """Suites and runs; the catalog is only asked where it has changed."""
    from llmops_tui.evaluation.bundled_suites import shipped

    store = services.evaluation
    stamp = store.catalog.stamp()
    if before.catalog is not None and before.catalog[0] == stamp:
        runs, suites = before.catalog[1], before.suites
    else:
        runs = store.all()
        newest: dict[str, KeptSuite] = {}
        rows = {version.ref: version.rows for log in services.datasets.logs().values() for version in log}
        for version in store.suites():
            of = rows.get(version.suite.cases) if isinstance(version.suite.cases, str) else None
            newest.setdefault(version.suite.name, KeptSuite(version.ref, version.suite, kept=True, rows=of))
        suites = [*newest.values(), *(KeptSuite(n, s, kept=False) for n, s in shipped().items() if n not in newest)]
    return EvaluationModel(store.states(runs), suites, (stamp, runs))


class Shelf:
    """The results of the runs that were opened last, so that going from run to run reads each once."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], list[Result]] = {}

    def results(self, run: EvalRun) -> list[Result]:
        """The results of a finished run, checked; not to be changed.

        Raises:
            LlmopsError: they are missing or damaged.
        """
        from llmops_tui.evaluation.run_comparison import results_of

        key = (run.name, run.results_sha256)
        found = self._kept.pop(key, None)
        # The last used stands last.
        self._kept[key] = found if found is not None else results_of(run)
        while len(self._kept) > _SHELVED:
            del self._kept[next(iter(self._kept))]
        return self._kept[key]


def open_run(shelf: Shelf, run: EvalRun, baseline: EvalRun | None, metric: str) -> Opened:
    """The results of a run, and its cases beside those of its baseline; what takes longer comes with :func:`compare`."""
    from llmops_tui.evaluation.runner.results import many_objects

    opened = Opened(run, baseline, metric, [])
    with many_objects():
        _read(shelf, opened)
    return opened


def _read(shelf: Shelf, opened: Opened) -> None:
    from llmops_tui.evaluation.comparison import pairs_of
    from llmops_tui.evaluation.runner.results import read_results
    from llmops_tui.evaluation.runner.summary import ScoredCases

    run, baseline, metric = opened.run, opened.baseline, opened.metric
    try:
        if run.summary is None:
            opened.results = read_results(run.results)
            return
        opened.results = shelf.results(run)
        names = list(run.summary["metrics"])
        opened.metric = metric if metric in names else names[0] if names else ""
        if baseline is not None and baseline.summary is not None:
            better = run.summary["metrics"].get(opened.metric)
            sign = better["better"] if better else 1
            left, right = ScoredCases(shelf.results(baseline)), ScoredCases(opened.results)
            opened.pairs = pairs_of(left, right, opened.metric, sign)
        else:
            opened.results = sorted(opened.results, key=lambda r: _order(r, opened.metric))
    except LlmopsError as error:
        opened.trouble = error.told


def _order(result: Result, metric: str) -> tuple[int, float, int]:
    score = result.scores.get(metric)
    value = score.value if score is not None else None
    rank = 1 if value is not None else 0 if result.answer.error else 2
    return rank, value if value is not None else 0.0, result.case.index


def compare_opened(services: Services, shelf: Shelf, opened: Opened) -> Comparison:
    """The comparison of what was opened, from the results that were read."""
    from llmops_tui.evaluation.comparison import compare
    from llmops_tui.evaluation.run_comparison import metrics_of_run

    assert opened.baseline is not None
    metrics = metrics_of_run(services.evaluation, opened.run, opened.results)
    before = shelf.results(opened.baseline)
    return compare((opened.baseline, before), (opened.run, opened.results), metrics, opened.metric)


def pareto(states: list[EvalState], run: EvalRun, metric: str) -> list[dict[str, Any]]:
    """Quality, latency and size of all finished runs of the same suite, marked where none is better in all three."""
    found = []
    for state in states:
        other = state.run
        if other.suite != run.suite or other.summary is None or metric not in other.summary["metrics"]:
            continue
        figure = other.summary["metrics"][metric]
        latency = other.summary["metrics"].get("latency")
        if figure["mean"] is None:
            continue
        found.append(
            {
                "run": other.name,
                "column": other.column,
                "quality": figure["mean"],
                "low": figure["low"],
                "high": figure["high"],
                "latency": latency["mean"] if latency else None,
                "size": other.manifest.get("size_bytes"),
                "better": figure["better"] or 1,
                "type": other.manifest.get("quantization") or "",
            }
        )

    def beaten(a: dict[str, Any], b: dict[str, Any]) -> bool:
        """Whether b is at least as good as a in everything, and better in something; what was not measured counts as worst."""
        one = (a["quality"] * a["better"], -(a["latency"] or math.inf), -(a["size"] or 0))
        two = (b["quality"] * b["better"], -(b["latency"] or math.inf), -(b["size"] or 0))
        return all(y >= x for x, y in zip(one, two, strict=True)) and one != two

    for row in found:
        row["best"] = not any(beaten(row, other) for other in found if other is not row)
    return sorted(found, key=lambda row: -row["quality"] * row["better"])


def is_among(result: Result, metric: str, narrowed: str) -> bool:
    """Whether a case without a baseline is among those that are wrong (``worse``) or right (``better``)."""
    score = result.scores.get(metric)
    value = score.value if score is not None else None
    return value is None or value < 1 if narrowed == "worse" else value is not None and value >= 1
