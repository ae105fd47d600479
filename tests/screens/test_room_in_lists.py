"""Lists use the room there is: columns that stay, words for signs, and texts that are not cut while cells are empty."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from textual.widgets import Static

from llmops_tui.evaluation.run import EvalState
from llmops_tui.traces.orders import TraceTimes
from llmops_tui.workspace.layout import Workspace
from screens.datasets import rendering as datasets
from screens.datasets.found_rows import FoundRows
from screens.datasets.versions_pane import changes_of
from screens.evaluation.rendering import RUN_COLUMNS
from screens.traces.columns import times_of, trace_columns
from screens.traces.waterfall import in_one_line
from screens.widgets.columns import Column, ColumnPlan
from screens.widgets.table import Table
from tests.evaluation.conftest import made_run
from tests.screens.conftest import OpenApp, settle, until


def _shown(columns: list[Column[Any]], rows: list[Any], width: int) -> dict[str, int]:
    return dict(ColumnPlan([column for column in columns if column.chosen], rows, "", width, 2).widths)


def _version(**fields: Any) -> Any:
    given = {
        "number": 2,
        "recipe": SimpleNamespace(operation="restore"),
        "rows": 69,
        "tags": [],
        "note": "",
        "created_at": 0.0,
    }
    return datasets.VersionRow(SimpleNamespace(**(given | fields)), 0, "")


def test_the_columns_of_versions_stay_whatever_a_version_has() -> None:
    plain, noted = _version(), _version(note="train of triage@1, 90 %")
    changed = datasets.VersionRow(plain.version, -8, "")
    for width in (30, 40, 80):
        shown = [
            _shown(datasets.version_columns(), rows, width) for rows in ([plain], [plain, noted], [changed, plain])
        ]
        assert len({tuple(names) for names in shown}) == 1
        assert list(shown[0])[:4] == ["@", "made by", "rows", "change"]
        assert all(widths["change"] >= len("change") for widths in shown)


def test_rows_that_are_the_newest_again_changed_the_version_before_them() -> None:
    log = [_version(number=at, rows=rows, parent=parent, recipe=SimpleNamespace(operation=made)).version
           for at, rows, parent, made in ((1, 60, None, "import"), (2, 45, 1, "fix"), (3, 60, 1, "restore"), (4, 50, 3, "fix"))]  # fmt: skip
    changes = changes_of(log)
    assert changes == {1: 0, 2: -15, 3: 15, 4: -10}
    # Of a version whose parent is no more nothing is known.
    assert changes_of(log[1:]) == {2: 0, 3: 15, 4: -10}


def test_texts_of_one_length_are_told_in_one_line() -> None:
    def told(longest: int) -> str:
        length = {"min": 10, "max": longest, "p50": 10, "p95": 10, "histogram": [1]}
        column: Any = {"name": "id", "type": "text", "distinct": 3, "missing": 0, "exact": True, "length": length}
        return datasets.column_facts([column], "id", blocks=True).plain

    assert told(10).splitlines()[-1].strip() == "all 10 characters"
    assert "median 10" in told(12)


def test_what_a_check_says_of_a_row_is_told_once() -> None:
    problem: Any = {
        "kind": "k", "title": "Empty answers", "why": "They teach silence.", "rows": 2, "row_numbers": [3, 5], "groups": [],
        "group_count": 0, "examples": [{"row": 3, "reason": "no answer"}],
    }  # fmt: skip
    assert [text for text, _ in FoundRows(problem).told()] == ["Row 3: no answer."]
    # What a row repeats stands beside it.
    assert list(FoundRows({**problem, "groups": [[3, 5]], "group_count": 1}).told()) == []


def test_a_check_says_in_one_column_what_is_done_or_why_nothing_was_found() -> None:
    found: Any = {
        "title": "Personal data and secrets",
        "rows": 680,
        "fix": "replace them with placeholders",
        "note": "",
        "kind": "p",
    }
    unknown: Any = {
        "title": "Longer than the training length",
        "rows": 0,
        "fix": "",
        "note": "not checked: no model",
        "kind": "l",
    }
    kept: Any = {"title": "Very long rows", "rows": 3, "fix": "", "note": "", "kind": "v"}
    columns = datasets.check_columns(2000)
    plan = ColumnPlan(columns, [found, unknown, kept], "", 82, 2)
    assert [name for name, _ in plan.widths] == ["problem", "rows", "share", "f fixes it"]
    lines = ["".join(text for text, _ in plan.line(problem)) for problem in (found, unknown, kept)]
    assert not any("…" in line for line in lines)
    for line, told in zip(
        lines, ("replace them with placeholders", "not checked: no model", "nothing; enter shows them"), strict=True
    ):
        assert told in line


def test_counts_and_lengths_of_columns_have_names_and_units() -> None:
    column: Any = {
        "name": "a_very_long_name", "type": "text", "distinct": 2000, "missing": 0, "exact": True,
        "length": {"histogram": [1, 5, 2], "p50": 10, "p95": 12, "min": 4, "max": 1210},
    }  # fmt: skip
    told = str(datasets.column_facts([column], "a_very_long_name", blocks=True))
    assert told.splitlines()[0].split() == ["column", "spread", "distinct"]
    assert "a_very_lon…" in told
    assert "4 – 1,210 characters\n  median 10, p95 12\n" in told
    # The narrowest pane shows them whole.
    assert max(map(len, told.splitlines())) <= 29


def _line(reason: str = "stop") -> Any:
    return SimpleNamespace(
        id="run_1", started_at=0.0, finish_reason=reason, score=None, correction="", comment="", asked_with="",
        model="smollm2-135m", question="How do I return a lamp that came broken?", output="Send it back within 30 days. " * 2,
        error="", total_ms=160.0, ttft_ms=20.0, completion_tokens=12, prompt_tokens=20, tokens_per_s=90.0, content="keep",
    )  # fmt: skip


def test_a_trace_says_how_it_ended_only_where_that_says_something() -> None:
    columns = trace_columns(utf8=True)
    assert "state" not in _shown(columns, [_line(), _line()], 79)
    assert "state" in _shown(columns, [_line(), _line("error")], 79)
    state = next(column for column in columns if column.name == "state")
    assert [state.part(_line(reason))[0] for reason in ("stop", "error", "length")] == ["", "failed", "cut off"]
    # In a pane at 120 columns.
    assert {"time", "prompt", "question", "answer", "took"} <= set(_shown(columns, [_line()], 79))


@pytest.mark.parametrize(("count", "told", "not_told"), [(2, ["p50"], ["p95", "p99"]), (20, ["p50", "p95"], ["p99"]), (100, ["p50", "p95", "p99"], [])])  # fmt: skip
@pytest.mark.parametrize("rows", [1, 2])
def test_bars_of_times_say_what_they_are_of(rows: int, count: int, told: list[str], not_told: list[str]) -> None:
    shown = str(times_of(TraceTimes(((30, count - 1), (66, 1)), 994.0), 76, rows, utf8=True))
    assert (f"time of {count} requests" if rows == 2 else "took  p50") in shown
    assert all(f"{name} " in shown for name in told)
    assert not any(f"{name} " in shown for name in not_told)
    assert max(map(len, shown.splitlines())) <= 76


def test_the_stages_of_a_request_are_told_line_by_line() -> None:
    trace: Any = SimpleNamespace(line=_line(), reused_tokens=0, reasoning_tokens=0)
    lines = str(in_one_line(trace, utf8=True)).splitlines()
    assert lines[1:3] == ["░ queue and prompt 20 ms", "█ answer 140 ms"]


async def test_models_say_format_and_quantization_apart_and_what_their_signs_mean(
    open_app: OpenApp, sample: Workspace
) -> None:
    async with open_app(size=(120, 40)) as pilot:
        await pilot.press("f9", "5")
        await settle(pilot)
        await until(pilot, lambda: bool(pilot.app.screen.query_one("#model-list", Table).rows))
        table = pilot.app.screen.query_one("#model-list", Table)
        shown = dict(table._planned().widths)
        assert {"model", "format", "quant", "size", "params"} <= set(shown)
        assert shown["model"] >= max(len(model.name) for model in table.rows)
        assert "□ not loaded" in str(pilot.app.screen.query_one("#models-list").border_subtitle)


def test_a_run_of_which_nothing_was_answered_is_no_success() -> None:
    state = next(column for column in RUN_COLUMNS if column.name == "state")

    def run(answers: int, errors: int) -> EvalState:
        return EvalState(
            replace(made_run(), summary={"cases": answers, "answers": answers, "errors": errors}), None, "done"
        )

    assert state.part(run(300, 300)) == ("✗ all failed", "bad")
    assert state.part(run(300, 299)) == ("✓ done", "good")


async def test_the_import_preview_says_of_how_many_rows_it_speaks(open_app: OpenApp, tmp_path: Any) -> None:
    path = tmp_path / "faq.csv"
    path.write_text("question,answer\n" + "".join(f"what {n}?,that {n}\n" for n in range(5)), encoding="utf-8")
    async with open_app() as pilot:
        await pilot.press("f9", "2")
        await settle(pilot)
        await pilot.press("f7", *str(path), "enter")
        await until(pilot, lambda: bool(pilot.app.screen.query("#import-evidence")))
        await settle(pilot)
        told = str(pilot.app.screen.query_one("#import-evidence", Static).content)
        assert "of the first 5 rows" in told
        assert "→ tabular" not in told or "format tabular" not in told
        # All that is said below the first two lines is said in one way.
        assert all(line.startswith("· ") for line in told.splitlines()[2:])
