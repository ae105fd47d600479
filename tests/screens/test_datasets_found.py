"""Rows that a check found: each below what it repeats, with what differs; a problem in whole; the keys of the preview."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from llmops_tui.datasets.reports import Problem
from llmops_tui.datasets.window import View
from screens.datasets import rendering
from screens.datasets.checks_pane import ChecksPane
from screens.datasets.record_pane import RecordPane
from screens.datasets.rows_pane import RowsPane
from screens.datasets.table import RowTable
from screens.widgets.dialogs import LineDialog
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_datasets import go, shown, typed


def problem(groups: list[list[int]], **other: object) -> Problem:
    given = {
        "kind": "near-duplicate", "rows": sum(len(group) - 1 for group in groups), "title": "Near-duplicates",
        "why": "They count twice.", "fix": "keep the first of each", "example": None, "examples": [], "note": "",
        "row_numbers": [row for group in groups for row in group[1:]], "groups": groups, "group_count": len(groups),
    }  # fmt: skip
    return given | other  # type: ignore[return-value]


async def test_what_repeats_a_row_stands_below_it_with_what_differs(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        rows, record = screen.query_one(RowsPane), screen.query_one(RecordPane)
        table = screen.query_one(RowTable)
        rows.show_problem(problem([[7, 1900], [3, 12, 40]]))
        await until(pilot, lambda: rows.window is not None and rows.window.count == 5)
        await settle(pilot)
        assert rows.window is not None
        assert rows.window.numbers() == [7, 1900, 3, 12, 40]
        note = str(rows.border_subtitle)
        assert "Near-duplicates: 3 rows, each below what it repeats, in 2 groups · 5 shown" in note
        assert "_row" not in note
        # The field is for what somebody types.
        assert not rows.has_class("-filtering")
        await pilot.press("g", "down")
        await until(pilot, lambda: record.number == 1900)
        await until(pilot, lambda: "differs from row 7 in" in shown(pilot, "#record-text"))
        assert {line for line in range(1, 6) if "↳" in table.render_line(line).text} == {2, 4, 5}
        # In the order of a column no row stands below the one that it repeats.
        await rows._use_view(View(rows.window.view.filter, rows.window.columns[0]))
        await settle(pilot)
        assert "below what it repeats" not in str(rows.border_subtitle)
        assert "↳" not in "".join(table.render_line(line).text for line in range(1, 6))
        await pilot.press("escape")
        await until(pilot, lambda: rows.window is not None and rows.window.count == 2000)
        await settle(pilot)
        assert "differs" not in shown(pilot, "#record-text")


@pytest.mark.parametrize(("found", "told"), [
    (problem([[1, 2]]), "They count twice. f: keep the first of each."),
    (problem([[1, 2]], fix=""), "They count twice. No automatic fix; enter shows the rows."),
    (problem([], note="not checked: no model was given"), "Near-duplicates: not checked: no model was given"),
])  # fmt: skip
def test_a_problem_is_told_in_whole(found: Problem, told: str) -> None:
    assert rendering.problem_told(found) == told


async def test_the_check_that_lasts_says_how_many_rows_and_how_long(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        checks = screen.query_one(ChecksPane)
        assert screen.version is not None
        checks.open(screen.version)
        async with checks.checking(screen.version):
            assert "Checking 2,000 rows … 0 s" in checks.table.empty


async def test_the_keys_of_a_preview_are_all_seen_in_a_small_terminal(open_app: OpenApp, tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    path.write_text(json.dumps({"question": "q", "answer": "a"}) + "\n")
    async with open_app(size=(80, 24)) as pilot:
        await go(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, str(path), dialog=True)
        await until(pilot, lambda: bool(pilot.app.screen.query("#import-keys")))
        await settle(pilot)
        for _ in range(2):
            keys = pilot.app.screen.query_one("#import-keys", Static)
            said = "\n".join(strip.text for strip in keys.render_lines(keys.region.reset_offset))
            assert "esc cancel" in said
            await pilot.press("r")
            await settle(pilot)


@pytest.mark.parametrize(
    ("counts", "distinct", "listed"), [([3] * 8, 9, 0), ([3] * 8, 8, 8), ([3] * 7, 7, 7), ([3] * 7 + [2], 90, 8)]
)
def test_values_that_are_all_as_frequent_say_nothing(counts: list[int], distinct: int, listed: int) -> None:
    column: Any = {"distinct": distinct, "top": [[f"label {number}", count] for number, count in enumerate(counts)]}
    assert len(rendering._telling(column)) == listed
