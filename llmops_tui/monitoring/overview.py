"""The home screen's overview: counts, running work, and the suggested next step."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from llmops_tui.counts import counted
from llmops_tui.evaluation.kept_summary import reason_lines
from llmops_tui.jobs.store import Job, JobState
from llmops_tui.traces.orders import OWN
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.evaluation.records import RunSummary
    from llmops_tui.monitoring.recorder import Moment

_DAY = 86_400
# Of fewer answers no more than one lies beyond the 95th percentile.
_LEAST_FOR_P95 = 20
_FIGURES = (
    "count(*) FILTER (own), count(*) FILTER (own AND finish_reason = 'error'), count(*) FILTER (own AND timed), "
    "median(total_ms) FILTER (own AND timed), quantile_cont(total_ms, 0.95) FILTER (own AND timed), count(*) FILTER (NOT own)"
)


@dataclass(frozen=True)
class Step:
    """A sensible next step: what it is, and the screen where it is done. ``target`` narrows that screen."""

    text: str
    screen: str
    target: str = ""
    urgent: bool = False


@dataclass(frozen=True)
class Score:
    """The newest finished evaluation of a suite on one metric, and the run before it that has the metric.

    ``verdict`` is what a comparison of the two says of the difference, in the words of
    :attr:`llmops_tui.evaluation.difference.Difference.verdict`; empty where nobody compared them yet.
    """

    run: str
    suite: str
    metric: str
    mean: float
    low: float | None
    high: float | None
    cases: int
    better: int
    before: float | None = None
    before_run: str = ""
    verdict: str = ""

    @property
    def change(self) -> float | None:
        """How much better it got; negative where it got worse."""
        return None if self.before is None else (self.mean - self.before) * self.better


class Flawed(NamedTuple):
    """A dataset version, and how many of its rows checks found something in; with ``more`` there are at least so many."""

    version: str
    rows: int
    more: bool = False


class Unscored(NamedTuple):
    """The newest run of a suite where it gave no figure: of its answers so many failed, for a ``reason``."""

    run: str
    suite: str
    answers: int
    errors: int
    reason: str = ""


class Day(NamedTuple):
    """Requests of the last 24 hours that were not of other work, those of them that failed, and the others' number.

    ``median`` and ``p95`` are of the whole time of ``timed`` answers, in milliseconds; a percentile that lies beside the
    slowest alone is none.
    """

    requests: int = 0
    failed: int = 0
    timed: int = 0
    median: float | None = None
    p95: float | None = None
    of_work: int = 0


class Trained(NamedTuple):
    """The newest run of a training that is done: suites that asked its model, and those of them that asked no other model."""

    run: str
    suites: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


class _Rows(TypedDict):
    """What the catalog has for it: rows of columns, as each question below asks for them."""

    datasets: list[Any]
    problems: list[Any]
    prompts: list[Any]
    production: list[Any]
    runs: list[Any]
    scores: list[Any]
    models: list[Any]
    requests: list[Any]
    usable: list[Any]
    trained: list[Any]
    asked: list[Any]


@dataclass(frozen=True)
class Overview:
    """What there is of everything."""

    datasets: list[tuple[str, int]] = field(default_factory=list)
    problems: list[Flawed] = field(default_factory=list)
    prompts: list[tuple[str, int]] = field(default_factory=list)
    production: list[str] = field(default_factory=list)
    runs: list[tuple[str, bool]] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    unscored: list[Unscored] = field(default_factory=list)
    models: list[tuple[str, str, int, bool]] = field(default_factory=list)
    day: Day = field(default_factory=Day)
    queue: int = 0
    usable: int = 0
    jobs: list[Job] = field(default_factory=list)
    trained: Trained | None = None

    @property
    def told_dataset(self) -> str:
        """The version that is told first: the one with the most rows to be mended, or the newest."""
        return self.problems[0].version if self.problems else self.datasets[0][0] if self.datasets else ""


def read_overview(
    catalog: Catalog,
    event_log: EventLog,
    jobs: list[Job],
    now: float | None = None,
    *,
    archived: Mapping[str, Collection[str]] | None = None,
) -> Overview:
    """Read everything in one look at the catalog, and leave out what is archived: names by kind."""
    moment = time.time() if now is None else now

    def work(connection: duckdb.DuckDBPyConnection) -> _Rows:
        def rows(sql: str, *values: object) -> list[Any]:
            return connection.execute(sql, list(values)).fetchall()

        return {
            "datasets": rows(
                "SELECT dataset || '@' || number, rows FROM dataset_versions "
                "QUALIFY row_number() OVER (PARTITION BY dataset ORDER BY number DESC) = 1 ORDER BY created_at DESC"
            ),
            "problems": rows(
                "SELECT v.dataset || '@' || v.number, r.report FROM dataset_versions v JOIN dataset_reports r "
                "ON r.sha256 = v.sha256 AND r.what = 'checks' "
                "QUALIFY row_number() OVER (PARTITION BY v.dataset ORDER BY v.number DESC) = 1"
            ),
            "prompts": rows(
                "SELECT prompt, max(number) FROM prompt_versions ANTI JOIN prompt_candidates USING (prompt, number) "
                "WHERE NOT starts_with(prompt, 'chain/') "
                "GROUP BY prompt ORDER BY max(created_at) DESC"
            ),
            "production": rows(
                "SELECT prompt || '@' || number FROM prompt_labels WHERE label = 'production' "
                "AND NOT starts_with(prompt, 'chain/') ORDER BY moved_at DESC"
            ),
            "runs": rows("SELECT name, finished_at IS NOT NULL FROM training_runs ORDER BY created_at DESC LIMIT 20"),
            "scores": rows(
                "SELECT name, suite, summary FROM evaluation_runs WHERE summary IS NOT NULL "
                "ORDER BY finished_at DESC LIMIT 20"
            ),
            "models": rows("SELECT name, kind, size_bytes, verified_at IS NOT NULL FROM models ORDER BY added_at DESC"),
            "requests": rows(
                f"SELECT {_FIGURES} FROM (SELECT *, {OWN} AS own, total_ms IS NOT NULL AND finish_reason <> 'error' AS timed "
                "FROM requests WHERE started_at >= ?)",
                moment - _DAY,
            ),
            "usable": rows("SELECT count(DISTINCT request) FROM feedback WHERE correction IS NOT NULL OR score = 1"),
            "trained": rows(
                "SELECT name FROM training_runs WHERE finished_at IS NOT NULL AND result IS NOT NULL "
                "ORDER BY created_at DESC LIMIT 1"
            ),
            "asked": rows("SELECT DISTINCT suite, asked->>'$.model' FROM evaluation_runs WHERE summary IS NOT NULL"),
        }

    traces = TraceStore(catalog, event_log)
    found = catalog.read(work)

    def listed(kind: str, rows: list[Any], place: int = 0) -> list[Any]:
        names = (archived or {}).get(kind, ())
        return [row for row in rows if row[place] not in names and str(row[place]).partition("@")[0] not in names]

    problems = [
        _flawed(name, kept("dataset_reports", "report", name, report, kind="checks")["problems"])
        for name, report in listed("dataset", found["problems"])
    ]
    scores, unscored = _scores(listed("suite", listed("evaluation", found["scores"]), 1))
    return Overview(
        datasets=[(str(a), int(b)) for a, b in listed("dataset", found["datasets"])],
        problems=sorted((one for one in problems if one.rows), key=lambda one: -one.rows),
        prompts=[(str(a), int(b)) for a, b in listed("prompt", found["prompts"])],
        production=[str(row[0]) for row in listed("prompt", found["production"])],
        runs=[(str(a), bool(b)) for a, b in listed("training", found["runs"])],
        scores=scores,
        unscored=unscored,
        models=[(str(a), str(b), int(c), bool(d)) for a, b, c, d in listed("model", found["models"])],
        day=_day(*found["requests"][0]),
        queue=traces.queue_length(),
        usable=int(found["usable"][0][0]),
        jobs=jobs,
        trained=next((_trained(str(row[0]), found["asked"]) for row in listed("training", found["trained"])), None),
    )


def _day(requests: int, failed: int, timed: int, median: float | None, p95: float | None, of_work: int) -> Day:
    return Day(requests, failed, timed, median, p95 if timed > _LEAST_FOR_P95 else None, of_work)


def _trained(run: str, asked: list[Any]) -> Trained:
    """Which suites asked what a run made: its adapter on a base, or a model that is called after it."""
    models: dict[str, list[bool]] = {}
    for suite, model in asked:
        base, _, adapter = str(model).partition("+")
        models.setdefault(str(suite), []).append(run in {adapter, base} or base.startswith(f"{run}-"))
    suites = sorted(suite for suite, ours in models.items() if any(ours))
    return Trained(run, tuple(suites), tuple(suite for suite in suites if all(models[suite])))


def _flawed(name: str, problems: list[Any]) -> Flawed:
    """How many rows have any problem: one that several checks found is one row."""
    rows = {row for problem in problems for row in problem["row_numbers"]}
    # Of very many the report has the first.
    count = max([len(rows), *(problem["rows"] for problem in problems)])
    return Flawed(name, count, any(problem["rows"] > len(problem["row_numbers"]) for problem in problems))


def _mean(summary: RunSummary, metric: str) -> float | None:
    figure = summary.get("metrics", {}).get(metric)
    return figure["mean"] if figure is not None else None


def _scores(rows: list[Any]) -> tuple[list[Score], list[Unscored]]:
    """Of each suite the newest run with a figure, beside the newest earlier one of another or the same column.

    Where a newer run has none, as where all its answers failed, that run is told, too.
    """
    by_suite: dict[str, list[tuple[str, RunSummary]]] = {}
    for name, suite, summary in rows:
        by_suite.setdefault(str(suite), []).append((str(name), kept("evaluation_runs", "summary", name, summary)))
    found, unscored = [], []
    for suite, runs in by_suite.items():
        for place, (name, summary) in enumerate(runs):
            metrics = summary.get("metrics", {})
            metric = next((m for m, figure in metrics.items() if figure.get("better")), next(iter(metrics), ""))
            mean = _mean(summary, metric)
            if mean is None:
                if not place:
                    of, errors = int(summary.get("answers") or 0), int(summary.get("errors") or 0)
                    unscored.append(Unscored(name, suite, of, errors, "; ".join(reason_lines(summary))))
                continue
            figure = metrics[metric]
            earlier = ((_mean(summary, metric), name) for name, summary in runs[place + 1 :])
            before, before_run = next((one for one in earlier if one[0] is not None), (None, ""))
            found.append(
                Score(
                    name,
                    suite,
                    metric,
                    mean,
                    figure.get("low"),
                    figure.get("high"),
                    int(figure.get("n") or summary.get("cases") or 0),
                    int(figure.get("better") or 1),
                    before,
                    before_run,
                )
            )
            break
    return found, unscored


def next_steps(seen: Overview, moment: Moment | None, now: float | None = None) -> list[Step]:
    """What to do next, the most pressing first."""
    steps: list[Step] = []
    at = time.time() if now is None else now
    if moment is not None:
        # A job that failed has a step of its own, which leads to it.
        steps += [Step(a.text, "monitor", urgent=True) for a in moment.alerts if not a.series.startswith("job.")]
    bad = {JobState.FAILED, JobState.KILLED, JobState.LOST}
    resumed = {job.resumes for job in seen.jobs}
    silent = {one.run for one in seen.unscored}
    for job in seen.jobs:
        if job.kind == "eval" and silent.issuperset(job.spec["arguments"].get("runs") or ("",)):
            continue  # what came of it has a step of its own, below
        if job.state in bad and job.id not in resumed and at - (job.finished_at or job.created_at) < _DAY:
            steps.append(
                Step(f"{job.title} {job.state.value}: {job.cause or 'see its log'}", "jobs", job.id, urgent=True)
            )
    for run, suite, answers, errors, reason in seen.unscored:
        of = reason or (f"{errors:,} of {counted(answers, 'answer')} failed" if errors else "no case could be scored")
        steps.append(Step(f"{run} gave no figures for {suite}: {of}", "evaluation", run, urgent=True))
    for score in seen.scores:
        # A difference that may be chance is no fall.
        if score.change is not None and score.change < 0 and score.verdict == "worse":
            told = f"{score.metric} of {score.suite} {'fell' if score.mean < (score.before or 0) else 'rose'} from"
            told += f" {score.before:.3g} to {score.mean:.3g}: inspect the cases"
            steps.append(Step(told, "evaluation", score.run, urgent=True))
    if seen.queue:
        steps.append(Step(f"{_answers(seen.queue)} in the review queue", "traces", "is:queue"))
    steps += [
        Step(f"{name}: {rows_told(count, more=more)} with problems that checks found", "datasets", name)
        for name, count, more in seen.problems
    ]
    if seen.usable >= 10:
        steps.append(
            Step(f"{seen.usable:,} upvoted or corrected answers can become a dataset: t on that screen", "traces")
        )
    unfinished = [
        name
        for name, finished in seen.runs
        if not finished and not any(name in job.title for job in seen.jobs if not job.state.final)
    ]
    steps += [
        Step(f"{name} {_ended(name, seen.jobs)}; R on that screen resumes it", "training", name)
        for name in unfinished[:2]
    ]
    # What is at work stands in the list of jobs: there is nothing to be done about it.
    at_work = {job.kind for job in seen.jobs if job.state == JobState.RUNNING}
    return steps + _beginnings(seen, at_work, nothing_else=not steps)


def rows_told(count: int, *, more: bool) -> str:
    """So many rows, or at least so many."""
    return ("at least " if more else "") + counted(count, "row")


def _ended(name: str, jobs: Sequence[Job]) -> str:
    """How a run ended before it was through, in the words of the training screen."""
    last = next((job for job in jobs if job.title == f"train {name}"), None)
    return "is stopped" if last is not None and last.state == JobState.CANCELLED else "did not finish"


def _answers(count: int) -> str:
    return "One answer is waiting" if count == 1 else f"{count:,} answers are waiting"


def _beginnings(seen: Overview, at_work: set[str], *, nothing_else: bool) -> list[Step]:
    """The steps of somebody who has not done them yet, in the order of the lifecycle; not what is being done just now."""
    steps = []
    if not seen.models:
        steps.append(Step("No models yet: a registers a file or a URL", "models"))
    if not seen.datasets:
        steps.append(Step("No datasets yet: i imports files", "datasets"))
    if not seen.prompts:
        steps.append(Step("No prompts yet: n creates one", "playground"))
    elif not seen.day.requests and seen.models:
        steps.append(Step(f"Run {seen.prompts[0][0]} and read the answer: F5", "playground", seen.prompts[0][0]))
    if seen.datasets and seen.models and not seen.runs and "train" not in at_work:
        steps.append(Step("No training yet: p runs the preflight of a recipe", "training"))
    if seen.prompts and seen.models and not (seen.scores or seen.unscored) and "eval" not in at_work:
        steps.append(Step("No evaluations yet: F5 runs a suite", "evaluation"))
    if seen.trained is not None and not at_work & {"train", "eval"}:
        run, suites, alone = seen.trained
        if not suites:
            steps.append(Step(f"{run} is trained and was not evaluated: F5 runs a suite on it", "evaluation"))
        elif alone:
            steps.append(Step(f"No other model was asked {alone[0]}: run it on the base of {run}, too", "evaluation"))
    return steps or ([Step("Nothing is left to do. Try another prompt", "playground")] if nothing_else else [])
