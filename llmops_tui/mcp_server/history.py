"""Tools that read what was done: runs, traces, evaluations and jobs."""

from __future__ import annotations

import time
from typing import Annotated, TypedDict

import pydantic

from llmops_tui.evaluation.failures import FailureRecord, failed_results, failure_record
from llmops_tui.evaluation.records import ComparisonRecord, RunRecord, SuiteRecord
from llmops_tui.evaluation.run_comparison import compare_runs
from llmops_tui.jobs.entries import JobRecord
from llmops_tui.mcp_server.reading import Few, OfRef
from llmops_tui.mcp_server.tool import Arguments, Limit, Tool
from llmops_tui.mcp_server.workbench import Workbench
from llmops_tui.prompts.records import RunShown
from llmops_tui.traces.records import LineRecord, TraceRecord
from llmops_tui.traces.store import TraceFilter

RunName = Annotated[str, pydantic.Field(max_length=200, description="The name of an evaluation run.")]
Id = Annotated[str, pydantic.Field(max_length=100, description="The id, or the beginning of it.")]


class ToListRuns(OfRef):
    """Whose runs."""

    limit: Limit = 20


class Runs(TypedDict):
    """Past runs of a prompt, the newest first."""

    runs: list[RunShown]


def _list_runs(bench: Workbench, given: ToListRuns) -> Runs:
    version = bench.prompts.get(given.ref)
    number = version.number if "@" in given.ref else None
    return {"runs": [run.as_dict() for run in bench.history.of(version.prompt, number, given.limit)]}


class ToSearch(Arguments):
    """Which traces."""

    filter: Annotated[
        str,
        pydantic.Field(
            max_length=1000, description="Words, ~regex, and terms: model:M prompt:P@3 is:down slow:2000 since:24h."
        ),
    ] = ""
    limit: Limit = 20


class Traces(TypedDict):
    """Traces, the newest first, and how many there are of them."""

    traces: list[LineRecord]
    total: int


def _search(bench: Workbench, given: ToSearch) -> Traces:
    lines, total = bench.traces.page(TraceFilter.parse(given.filter, time.time()), given.limit)
    return {"traces": [line.as_dict() for line in lines], "total": total}


class OfTrace(Arguments):
    """One trace."""

    trace: Id


def _show_trace(bench: Workbench, given: OfTrace) -> TraceRecord:
    return bench.traces.get(given.trace).as_dict()


class Evaluations(TypedDict):
    """Evaluation runs, the newest first, and how many there are."""

    runs: list[RunRecord]
    total: int


def _list_evaluations(bench: Workbench, given: Few) -> Evaluations:
    runs = bench.evaluations.all()
    return {"runs": [one.as_dict() for one in bench.evaluations.states(runs[: given.limit])], "total": len(runs)}


class Suites(TypedDict):
    """Saved suites, the newest first, and how many there are; of those that are bundled, the names."""

    suites: list[SuiteRecord]
    total: int
    bundled: list[str]


def _list_suites(bench: Workbench, given: Few) -> Suites:
    from llmops_tui.evaluation.bundled_suites import shipped

    found = bench.evaluations.suites()
    shown = [one.as_dict() for one in found[: given.limit]]
    return {"suites": shown, "total": len(found), "bundled": list(shipped())}


class ToShow(Arguments):
    """Which run, and how many of its failures."""

    run: RunName
    failures: Annotated[int, pydantic.Field(ge=0, le=1000, description="How many failed cases to return.")] = 20


class Evaluation(RunRecord):
    """A run with the first of its failed cases."""

    failures: list[FailureRecord]
    failures_total: int


def _show_evaluation(bench: Workbench, given: ToShow) -> Evaluation:
    state = bench.evaluations.state(bench.evaluations.get(given.run))
    failed = failed_results(state.run) if state.run.results.exists() else []
    shown = [failure_record(one) for one in failed[: given.failures]]
    return {**state.as_dict(), "failures": shown, "failures_total": len(failed)}


class ToCompare(Arguments):
    """Two runs."""

    baseline: RunName
    candidate: RunName
    metric: Annotated[str, pydantic.Field(max_length=200, description="The metric that cases are ordered by.")] = ""
    regressed: Annotated[int, pydantic.Field(ge=0, le=1000, description="How many worse cases to return.")] = 20


class Compared(ComparisonRecord):
    """A comparison with the first of the cases that became worse."""

    regressed_total: int


def _compare(bench: Workbench, given: ToCompare) -> Compared:
    found = compare_runs(bench.evaluations, given.baseline, given.candidate, given.metric).as_dict()
    worse = found["regressed"]
    return {**found, "regressed": worse[: given.regressed], "regressed_total": len(worse)}


class Jobs(TypedDict):
    """Jobs, the newest first, and how many there are."""

    jobs: list[JobRecord]
    total: int


def _list_jobs(bench: Workbench, given: Few) -> Jobs:
    found = bench.jobs.store.all()
    return {"jobs": [job.as_dict() for job in found[: given.limit]], "total": len(found)}


class OfJob(Arguments):
    """One job."""

    job: Id


def _show_job(bench: Workbench, given: OfJob) -> JobRecord:
    return bench.jobs.store.get(given.job).as_dict()


TOOLS = (
    Tool(
        "list_runs",
        "Runs of a prompt",
        "List the past runs of a prompt or of one version.",
        ToListRuns,
        Runs,
        _list_runs,
    ),
    Tool(
        "search_traces",
        "Search traces",
        "Find requests by words and terms, the newest first.",
        ToSearch,
        Traces,
        _search,
    ),
    Tool(
        "show_trace",
        "A trace",
        "Show one request: its messages, answer, figures and feedback.",
        OfTrace,
        TraceRecord,
        _show_trace,
    ),
    Tool(
        "list_evaluations",
        "Evaluations",
        "List evaluation runs and their figures.",
        Few,
        Evaluations,
        _list_evaluations,
    ),
    Tool("list_suites", "Suites", "List the evaluation suites.", Few, Suites, _list_suites),
    Tool(
        "show_evaluation",
        "An evaluation",
        "Show the metrics of an evaluation run with their intervals, and its failed cases.",
        ToShow,
        Evaluation,
        _show_evaluation,
    ),
    Tool(
        "compare_evaluations",
        "Compare evaluations",
        "Compare two finished runs on the cases that both have: paired differences, intervals, tests, and the cases that "
        "became worse. Runs that are not comparable get the reasons.",
        ToCompare,
        Compared,
        _compare,
    ),
    Tool("list_jobs", "Jobs", "List background jobs, the newest first.", Few, Jobs, _list_jobs),
    Tool("show_job", "A job", "Show one job: its state, progress and result.", OfJob, JobRecord, _show_job),
)
