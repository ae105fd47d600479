"""What the home screen is told of rows with problems, of runs without figures, and of the order of next steps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.monitoring.latency import Latency
from llmops_tui.monitoring.overview import Day, Flawed, Overview, Score, Trained, Unscored, next_steps, read_overview
from llmops_tui.monitoring.sketch import LatencySketch
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

REPORT = {"version": "d@1", "sha256": "", "looked_at": 9, "of": 9, "clean": []}
SUMMARY = {
    "cached": 0, "oldest": None, "variations": [], "gaps": [], "agreement": None, "costs": {}, "of": 3,
    "stopped_early": False, "overlap": {},
}  # fmt: skip
FIGURE = {
    "low": None, "high": None, "n": 3, "unusable": 0, "method": "Wilson", "better": 1, "unit": "", "type": "exact",
    "binary": True, "too_few": False, "needed": "",
}  # fmt: skip


def problem(rows: list[int], count: int | None = None) -> dict[str, Any]:
    said = {
        "kind": "empty",
        "title": "",
        "why": "",
        "fix": "",
        "example": None,
        "examples": [],
        "note": "",
        "groups": [],
    }
    return {**said, "rows": len(rows) if count is None else count, "row_numbers": rows, "group_count": 0}


def seen_with(
    catalog: Catalog, event_log: EventLog, reports: dict[str, Any], runs: list[tuple[str, dict[str, Any]]]
) -> Overview:
    def fill(connection: Any) -> None:
        for name, problems in reports.items():
            connection.execute(
                "INSERT INTO dataset_versions (id, dataset, number, sha256, kind, rows, rejected, columns, recipe, recipe_sha256, "
                "note, size_bytes, created_at) VALUES (?, ?, 1, ?, 'chat', 9, 0, '[]', '{}', '', '', 9, 1)",
                [name, name, name],
            )
            connection.execute(
                "INSERT INTO dataset_reports (sha256, what, report, made_at) VALUES (?, 'checks', ?, 1)",
                [name, json.dumps({**REPORT, "problems": problems})],
            )
        for at, (name, summary) in enumerate(runs):
            connection.execute(
                "INSERT INTO evaluation_runs (name, suite, suite_number, job, asked, summary, created_at, finished_at) "
                "VALUES (?, 's', 1, 'j', '{}', ?, ?, ?)",
                [name, json.dumps({**SUMMARY, **summary}), at, at],
            )

    catalog.write(fill)
    return read_overview(catalog, event_log, [])


def test_a_row_that_several_checks_found_is_one_row(catalog: Catalog, event_log: EventLog) -> None:
    reports = {
        "few": [problem([4])],
        "many": [problem([1, 2, 3]), problem([3, 4]), problem([3, 4])],
        "cut": [problem([1, 2], 7000), problem([5])],
        "none": [],
    }
    seen = seen_with(catalog, event_log, reports, [])
    # Those with the most rows are worth most.
    assert seen.problems == [Flawed("cut@1", 7000, more=True), Flawed("many@1", 4), Flawed("few@1", 1)]
    steps = [step.text for step in next_steps(seen, None) if step.screen == "datasets"]
    assert steps[0] == "cut@1: at least 7,000 rows with problems that checks found"
    assert steps[2] == "few@1: 1 row with problems that checks found"


def test_a_run_without_figures_hides_neither_itself_nor_the_figures_of_the_one_before(
    catalog: Catalog, event_log: EventLog
) -> None:
    def run(mean: float | None, errors: int = 0) -> dict[str, Any]:
        return {"cases": 3, "answers": 3, "errors": errors, "metrics": {"exact": {**FIGURE, "mean": mean}}}

    runs = [("s-1", run(0.2)), ("s-2", run(None, 3)), ("s-3", run(0.4)), ("s-4", run(None, 3))]
    seen = seen_with(catalog, event_log, {}, runs)
    (score,) = seen.scores
    assert (score.run, score.mean, score.before, score.before_run) == ("s-3", 0.4, 0.2, "s-1")
    assert seen.unscored == [Unscored("s-4", "s", 3, 3)]
    told = [step.text for step in next_steps(seen, None)]
    assert "s-4 gave no figures for s: 3 of 3 answers failed" in told


@pytest.mark.parametrize(
    ("verdict", "told"), [("", []), ("unclear", []), ("worse", ["exact of s fell from 0.5 to 0.4: inspect the cases"])]
)
def test_a_figure_fell_only_where_a_comparison_says_so(verdict: str, told: list[str]) -> None:
    score = Score("s-2", "s", "exact", 0.4, None, None, 9, 1, 0.5, "s-1", verdict)
    steps = next_steps(Overview(scores=[score]), None)
    assert [step.text for step in steps if step.urgent] == told


def test_what_is_at_work_is_no_step(event_log: EventLog) -> None:
    made = JobStore(event_log).add(kind="verify", title="verify small", spec={"entry": "", "arguments": {}})
    running = replace(made, state=JobState.RUNNING, progress=0.4)
    assert not [step for step in next_steps(Overview(jobs=[running]), None) if "verify" in step.text]


def test_where_no_run_gave_figures_it_is_not_said_that_there_is_none(catalog: Catalog, event_log: EventLog) -> None:
    seen = seen_with(catalog, event_log, {}, [("s-1", {"cases": 1, "answers": 1, "errors": 0, "metrics": {}})])
    assert (seen.scores, seen.unscored) == ([], [Unscored("s-1", "s", 1, 0)])
    ready = Overview(prompts=[("p", 1)], models=[("m", "gguf", 1, True)], unscored=seen.unscored)
    told = [step.text for step in next_steps(ready, None)]
    assert "s-1 gave no figures for s: no case could be scored" in told
    assert not any("No evaluations yet" in text for text in told)


def test_a_percentile_is_told_where_more_than_one_request_lies_beyond_it() -> None:
    def known(requests: int) -> list[int]:
        sketches = {kind: LatencySketch() for kind in ("first", "token", "total")}
        for at in range(requests):
            sketches["total"].add(10.0 + at)
        window = Latency("m", 15, requests, 0, 0, sketches)
        return [share for share in (50, 95, 99) if window.known_percentile("total", share / 100) is not None]

    assert [known(n) for n in (0, 1, 2, 3, 20, 21, 100, 101)] == [
        [], [], [], [50], [50], [50, 95], [50, 95], [50, 95, 99],
    ]  # fmt: skip


def test_a_training_is_told_until_its_model_and_another_were_asked_the_same(
    catalog: Catalog, event_log: EventLog
) -> None:
    def fill(connection: Any) -> None:
        for at, (name, result) in enumerate((("r-1", "{}"), ("r-2", "{}"), ("r-3", None))):
            connection.execute(
                "INSERT INTO training_runs (name, recipe, job, base_sha256, data, options, result, created_at, finished_at) "
                "VALUES (?, '{}', 'j', '', '[]', '{}', ?, ?, ?)",
                [name, result, at, at],
            )

    catalog.write(fill)

    def evaluated(number: int, model: str) -> list[str]:
        def add(connection: Any) -> None:
            connection.execute(
                "INSERT INTO evaluation_runs (name, suite, suite_number, job, asked, summary, created_at, finished_at) "
                "VALUES (?, 's', 1, 'j', ?, ?, ?, ?)",
                [f"s-{number}", json.dumps({"model": model}), json.dumps({**SUMMARY, "cases": 1, "answers": 1, "errors": 0,
                 "metrics": {"exact": {**FIGURE, "mean": 0.5}}}), number, number],
            )  # fmt: skip

        catalog.write(add)
        seen = read_overview(catalog, event_log, [])
        assert seen.trained is not None
        assert seen.trained.run == "r-2"
        return [step.text for step in next_steps(seen, None) if step.screen == "evaluation"]

    assert read_overview(catalog, event_log, []).trained == Trained("r-2")
    assert evaluated(1, "base+r-1") == ["r-2 is trained and was not evaluated: F5 runs a suite on it"]
    assert evaluated(2, "base+r-2") == []
    assert Trained("r", ("s",), ("s",)) == read_overview_of("r", catalog, event_log, ["base+r", "r-merged"]).trained
    assert read_overview_of("r", catalog, event_log, ["base"]).trained == Trained("r", ("s",))


def read_overview_of(run: str, catalog: Catalog, event_log: EventLog, models: list[str]) -> Overview:
    """What is seen where a newer run of training was done, and these models were asked by another suite."""

    def fill(connection: Any) -> None:
        connection.execute(
            "DELETE FROM evaluation_runs WHERE suite = 's' AND asked->>'$.model' NOT LIKE '%r' AND name LIKE 's-%'"
        )
        connection.execute(
            "INSERT OR REPLACE INTO training_runs (name, recipe, job, base_sha256, data, options, result, created_at, finished_at) "
            "VALUES (?, '{}', 'j', '', '[]', '{}', '{}', 9, 9)",
            [run],
        )
        for model in models:
            connection.execute(
                "INSERT INTO evaluation_runs (name, suite, suite_number, job, asked, summary, created_at, finished_at) "
                "VALUES (?, 's', 1, 'j', ?, ?, 9, 9)",
                [
                    f"run of {model}",
                    json.dumps({"model": model}),
                    json.dumps({**SUMMARY, "cases": 0, "answers": 0, "errors": 0, "metrics": {}}),
                ],
            )

    catalog.write(fill)
    return read_overview(catalog, event_log, [])


def test_requests_of_a_day_are_ones_own_and_their_times_are_of_so_many(catalog: Catalog, event_log: EventLog) -> None:
    def fill(connection: Any) -> None:
        for at in range(40):
            client = '{"work": {"kind": "evaluation", "name": "s-1"}}' if at % 2 else None
            connection.execute(
                "INSERT INTO requests (id, started_at, model, output, finish_reason, total_ms, client) VALUES (?, ?, 'm', '', ?, ?, ?)",
                [f"run_{at}", 100.0 + at, "error" if at == 2 else "stop", None if at == 4 else float(at), client],
            )

    catalog.write(fill)
    # Of 18 times the 95th percentile would be the slowest but one.
    assert read_overview(catalog, event_log, [], now=200.0).day == Day(20, 1, 18, 21.0, None, 20)
    assert read_overview(catalog, event_log, [], now=90_000.0).day == Day()
