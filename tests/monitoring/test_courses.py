"""The short series of the home screen, from a catalog that is filled by hand."""

from __future__ import annotations

import math
from typing import Any

from llmops_tui.monitoring.courses import last_look, note_look, read_courses
from llmops_tui.monitoring.overview import Flawed, Overview, Score
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

NOW = 1_800_000_000.0


def test_requests_are_counted_by_parts_of_the_time_in_which_there_were_any_and_since_the_last_look(
    catalog: Catalog,
) -> None:
    def fill(connection: Any) -> None:
        for number, (ago, total, reason) in enumerate(
            ((60, 100.0, "stop"), (120, 300.0, "error"), (7300, 50.0, "stop"), (90_000, 1.0, "stop"))
        ):
            connection.execute(
                "INSERT INTO requests (id, started_at, model, output, finish_reason, total_ms) VALUES (?, ?, 'm', '', ?, ?)",
                [f"r{number}", NOW - ago, reason, total],
            )

    catalog.write(fill)
    seen = read_courses(catalog, Overview(), NOW - 100, NOW)
    # The first of the last day was two hours ago: six hours in quarters of one.
    assert (seen.span, seen.part, len(seen.traffic)) == (6 * 3600, 900, 24)
    assert seen.traffic[-1] == 2
    assert seen.traffic[-9] == 1
    assert sum(seen.traffic) == 3
    assert seen.latency[-1] == 200.0
    assert math.isnan(seen.latency[0])
    assert seen.since == (1, 0)
    assert read_courses(catalog, Overview(), None, NOW).since is None
    # A day later there are none, and an hour after the oldest it is by hours again.
    assert sum(read_courses(catalog, Overview(), None, NOW + 90_000).traffic) == 0
    assert (read_courses(catalog, Overview(), None, NOW - 4000).span, read_courses(catalog, Overview(), None, NOW + 20_000).part) == (
        24 * 3600, 3600,
    )  # fmt: skip


def test_requests_of_other_work_are_traffic_and_not_news(catalog: Catalog) -> None:
    def fill(connection: Any) -> None:
        for number, client in enumerate(
            (None, '{"key": "web"}', '{"work": {"kind": "evaluation", "name": "s-1"}}', '{"chain": {"run": "r"}}')
        ):
            connection.execute(
                "INSERT INTO requests (id, started_at, model, output, finish_reason, client) VALUES (?, ?, 'm', '', 'stop', ?)",
                [f"r{number}", NOW - 60, client],
            )

    catalog.write(fill)
    seen = read_courses(catalog, Overview(), NOW - 100, NOW)
    assert (sum(seen.traffic), seen.since, seen.span) == (4, (2, 0), 3600)


def test_quality_is_told_by_run_and_by_version_of_the_prompt(catalog: Catalog) -> None:
    def fill(connection: Any) -> None:
        for number, (prompt, mean) in enumerate(
            (("p@2", 0.2), ("p@1", 0.1), ("p@2", 0.4), ("q@1", 0.9), ("p@10", 0.6))
        ):
            connection.execute(
                "INSERT INTO evaluation_runs (name, suite, suite_number, job, asked, summary, created_at, finished_at) "
                "VALUES (?, 's', 1, 'j', ?, ?, ?, ?)",
                [
                    f"s-{number}",
                    f'{{"prompt": "{prompt}"}}',
                    f'{{"metrics": {{"exact": {{"mean": {mean}}}}}}}',
                    number,
                    number,
                ],
            )

    catalog.write(fill)
    seen = read_courses(catalog, Overview(scores=[Score("s-4", "s", "exact", 0.6, None, None, 1, 1)]), None, NOW)
    assert seen.quality == (0.2, 0.1, 0.4, 0.9, 0.6)
    assert seen.versions == (0.1, 0.4, 0.6)


def test_rows_and_losses_are_of_what_is_told_first_and_not_of_what_is_archived(catalog: Catalog) -> None:
    def fill(connection: Any) -> None:
        for at, (dataset, number, rows) in enumerate((("old", 1, 3), ("old", 2, 5), ("bad", 1, 8), ("new", 1, 60))):
            connection.execute(
                "INSERT INTO dataset_versions (id, dataset, number, sha256, kind, rows, rejected, columns, recipe, recipe_sha256, "
                "note, size_bytes, created_at) VALUES (?, ?, ?, ?, 'chat', ?, 0, '[]', '{}', '', '', 9, ?)",
                [f"{at}", dataset, number, f"{at}", rows, at],
            )
        for at, name in enumerate(("r-1", "r-2")):
            connection.execute(
                "INSERT INTO training_runs (name, recipe, job, base_sha256, data, options, created_at) "
                "VALUES (?, '{}', ?, '', '[]', '{}', ?)",
                [name, f"job of {name}", at],
            )

    catalog.write(fill)
    # The newest of both are archived: they are not seen.
    seen = Overview(datasets=[("bad@1", 8), ("old@2", 5)], runs=[("r-1", True)])
    assert read_courses(catalog, seen, None, NOW).rows == (8.0,)
    assert read_courses(catalog, seen, None, NOW).job == "job of r-1"
    # The dataset that is to be mended is told first.
    mended = Overview(datasets=seen.datasets, problems=[Flawed("old@2", 2)])
    assert read_courses(catalog, mended, None, NOW).rows == (3.0, 5.0)
    assert read_courses(catalog, Overview(), None, NOW).rows == ()


def test_the_last_look_is_kept(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    assert last_look(event_log) is None
    note_look(event_log, 5.0)
    assert last_look(EventLog(workspace)) == 5.0
