"""What the evaluation screen gives to read: runs by model and metric, figures in like digits, cases and suites in words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot

from llmops_tui.evaluation.difference import Difference
from llmops_tui.evaluation.digits import fixed, interval, places
from llmops_tui.evaluation.metrics.base import Answer, Score
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.statistics.bootstrap import Interval
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.workspace.layout import Workspace
from screens.evaluation import case_rendering, comparison_rendering
from screens.evaluation.model import KeptSuite
from screens.evaluation.runs_pane import RunsPane
from screens.evaluation.suite_rendering import case_count, source, suite_content
from screens.shell.hidden_panes import is_seen
from screens.widgets.columns import ColumnPlan
from screens.widgets.panel import Panel
from screens.widgets.table import Table
from tests.evaluation.conftest import case
from tests.fakes import start_no_processes
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_evaluation import open_evaluation, pretend, text


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    start_no_processes(monkeypatch)


@pytest.mark.parametrize(
    ("values", "decimals"),
    [((0.1, -0.0868, 0.284), 3), ((-28.1, -31.9, -24.2), 1), ((808.0, 904.0), 0), ((0.0, None), 0), ((0.00021,), 6)],
)
def test_figures_that_are_read_together_have_like_digits(values: tuple[float | None, ...], decimals: int) -> None:
    assert places(*values) == decimals


def test_what_is_rounded_to_nothing_has_no_sign() -> None:
    assert [fixed(value, 1, signed=True) for value in (-0.04, 0.0, 0.04, -0.06, 1234.5)] == [
        "0.0", "0.0", "0.0", "-0.1", "+1,234.5",
    ]  # fmt: skip
    assert fixed(None, 2) == fixed(float("inf"), 2) == "–"
    assert interval(-0.0868, 0.284, 3, signed=True) == "[-0.087, +0.284]"
    assert interval(float("-inf"), 1.0, 2) == ""


def _difference(name: str, before: float, after: float, ends: tuple[float, float], **rest: Any) -> Difference:
    between = Interval(after - before, *ends, level=0.95, method="t")
    given = {"unit": "", "share": False, "better": 1} | rest
    return Difference(name, before, after, between, 0.2, 0.2, "t", 14, 280, 6, 300, 0.2, **given)


def test_columns_of_a_comparison_stand_apart_and_below_each_other() -> None:
    rows = [
        _difference("exact", 0.0, 0.0, (-0.0126, 0.0126), share=True),
        _difference("latency", 78.2, 50.1, (-31.9, -24.2), unit="ms"),
        _difference("tokens", 16.2, 16.3, (-0.0868, 0.284)),
    ]
    found: Any = SimpleNamespace(differences=rows, metric="exact")

    def told(width: int) -> str:
        parts = comparison_rendering._table(found, width, utf8=True)
        return "".join(part if isinstance(part, str) else part[0] for part in parts)

    lines = told(74)
    head, exact, latency, tokens = lines.splitlines()
    assert head.split()[:4] == ["metric", "baseline", "candidate", "change"]
    assert "78.2 ms   50.1 ms" in latency
    assert exact.split() == ["exact", "0.000", "0.000", "0.00", "[-1.26,", "+1.26]", "pt", "0.200", "▲14", "=280", "▼6"]
    assert "-28.1   [-31.9, -24.2] ms  0.200" in latency
    assert "[-0.087, +0.284]" in tokens
    assert {line.index("▲14") for line in (exact, latency, tokens)} == {head.index("cases") - 4}
    assert {len(line) for line in (head, exact, latency, tokens)} == {len(head)}
    # Narrow panes have no more than this.
    assert len(head) <= 74
    # Of a line that would be cut, the p-value is what can be missed.
    assert "0.200" not in told(73)
    assert told(73).splitlines()[1].endswith("pt  ▲14  =280 ▼6")


def test_counts_of_no_case_have_no_colour() -> None:
    rows = [_difference("exact", 0.0, 0.0, (-0.01, 0.01), share=True)]
    found: Any = SimpleNamespace(differences=[replace(rows[0], wins=0, losses=0)], metric="exact")
    styles = {part[0].strip(): part[1] for part in comparison_rendering._table(found, 99, utf8=True) if "0" in part[0]}
    assert styles["▲0"] == styles["▼0"] == "$muted"


@pytest.mark.parametrize(("width", "names"), [(74, ["case", "change", "question", "candidate"]),
    (116, ["case", "change", "question", "expected", "candidate"]),
    (140, ["case", "change", "question", "expected", "candidate", "baseline"])])  # fmt: skip
def test_texts_of_cases_are_readable_or_left_out(width: int, names: list[str]) -> None:
    def result(answer: str) -> Result:
        one = replace(
            case(0),
            variables={"message": "Where is the heater that I ordered, please?"},
            expected="I will ask the carrier about the heater right now, and call you back",
        )
        score = Score(0.0, f"{answer} is not what was expected")
        return Result(one, 0, Answer(text=answer, total_ms=3.0), {"exact": score})

    pair: Any = SimpleNamespace(
        candidate=result("You can swap it. " * 4), baseline=result("You can keep it. " * 4), change=0
    )
    same: Any = SimpleNamespace(candidate=pair.candidate, baseline=pair.candidate, change=0)
    columns = [column for column in case_rendering.pair_columns("exact", utf8=True) if column.chosen]
    plan = ColumnPlan(columns, [pair, same], "", width, 2)
    assert [name for name, _ in plan.widths] == names
    assert all(cells >= 24 for name, cells in plan.widths if name not in {"case", "change"})
    # What repeats the answer is no reason, and what repeats the candidate is no second text.
    assert next(column for column in columns if column.name == "why").part(pair)[0] == ""
    assert next(column for column in columns if column.name == "baseline").part(same)[0] == "the same"


async def test_the_baseline_is_the_baseline_another_day(open_app: OpenApp, sample: Workspace) -> None:
    first = pretend(sample, [1.0, 0.0])
    pretend(sample, [1.0, 1.0])
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await pilot.press("down", "space")
        await until(pilot, lambda: screen.query_one(RunsPane).marked == [first])
        await until(pilot, lambda: pilot.app.services.memory.get("evaluation", "marked") == [first])  # type: ignore[attr-defined]
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await until(pilot, lambda: screen.opened is not None and screen.opened.comparison is not None)
        assert screen.query_one(RunsPane).marked == [first]


def test_a_case_begins_with_what_was_expected_and_answered_and_an_error_is_compared_with_no_answer() -> None:
    one = replace(case(3), expected="yes", variables={"message": "Is it open?"})
    before = Result(one, 0, Answer(text="We are open on Monday"), {})
    lines = str(case_rendering.case_content(replace(before, answer=Answer(text="We are open today")), before, 60))
    assert [line.split()[0] for line in lines.splitlines()[:4]] == ["expected", "baseline", "candidate", "message"]
    content = case_rendering.case_content(replace(before, answer=Answer(error="no adapter")), before, 60)
    assert "candidate    error: no adapter" in str(content)
    assert {str(span.style) for span in content.spans} >= {"$success", "$accent", "$error"}
    assert case_rendering.place_of(before).startswith("3")


def test_what_must_not_be_said_is_not_told_as_expected() -> None:
    one = replace(case(3), expected="FERNGLASS", variables={"message": "Say it"})
    kept = Result(one, 0, Answer(text="We open at ten."), {"keeps": Score(1.0)})
    assert str(case_rendering.case_content(kept, None, 80, {"keeps": "canary"})).startswith("must not occur  FERNGLASS")
    assert str(case_rendering.case_content(kept, None, 80, {"keeps": "exact"})).startswith("expected ")
    both = replace(kept, scores={"canary": Score(1.0), "exact": Score(0.0)})
    assert str(case_rendering.case_content(both, None, 80)).startswith("expected ")
    column = next(c for c in case_rendering.result_columns("keeps", {"keeps": "canary"}) if c.name == "expected")
    assert column.part(kept)[0] == "not FERNGLASS"


def test_answers_stand_side_by_side_where_there_is_room_and_blank_lines_are_one() -> None:
    one = replace(case(3), expected="yes", variables={"message": "Is it open?"})
    before = Result(one, 0, Answer(text="Monday.\n\n\n\nTuesday."), {})
    content = case_rendering.case_content(replace(before, answer=Answer(text="We are closed")), before, 116)
    lines = str(content).splitlines()
    assert [line.split() for line in lines[1:5]] == [
        ["baseline", "candidate"], ["Monday.", "We", "are", "closed"], [], ["Tuesday."],
    ]  # fmt: skip
    assert lines[1].index("candidate") == lines[2].index("We")


def test_cases_of_a_suite_are_told_by_who_says_what_and_no_line_begins_below_a_name() -> None:
    body = {
        "cases": [{"messages": [{"role": "user", "content": "Summarise.\n\nBest, Dana " * 3}], "expected": "ZEPHYR"}],
        "metrics": ["injection"],
    }  # fmt: skip
    told = str(suite_content(KeptSuite("polite@1", check_suite(body, "polite"), kept=True), 60)).splitlines()
    begin = next(n for n, line in enumerate(told) if line.startswith("first cases"))
    assert told[begin][16:].startswith("user: Summarise.")
    assert told[begin + 1].startswith(" " * 16)
    assert " " * 16 + "expected ZEPHYR" in told


async def test_a_small_terminal_shows_figures_and_cases_below_the_runs(open_app: OpenApp, sample: Workspace) -> None:
    pretend(sample, [1.0, 0.0])
    async with open_app(size=(80, 24)) as pilot:
        screen = await open_evaluation(pilot)

        def seen() -> set[str]:
            return {str(pane.id).removeprefix("evaluation-") for pane in screen.query(Panel) if is_seen(pane)}

        await until(pilot, lambda: seen() == {"runs", "figures", "cases"})
        await pilot.press("f9", "s")
        await until(pilot, lambda: seen() == {"suites", "figures"})
        await pilot.press("f9", "r", "enter")
        await until(pilot, lambda: seen() == {"figures", "cases", "case"})


def _head(pilot: Pilot[int]) -> set[str]:
    return {name for name, _ in pilot.app.screen.query_one("#eval-run-list", Table)._planned().widths}


async def test_the_list_of_runs_says_which_model_and_metric_in_every_size(open_app: OpenApp, sample: Workspace) -> None:
    pretend(sample, [1.0, 0.0])
    shown = {}
    async with open_app(size=(80, 24)) as pilot:
        await open_evaluation(pilot)
        await pilot.press("f9", "r")
        await settle(pilot)
        for size in ((80, 24), (120, 40), (200, 50)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            shown[size] = _head(pilot)
    assert all({"run", "state", "model", "metric", "mean", "cases"} <= names for names in shown.values())


async def test_a_suite_is_told_in_words_and_shown_as_its_file_by_a_key(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        await open_evaluation(pilot)
        screen = pilot.app.screen
        assert "its input, what was expected" in text(pilot, "#case-text")
        await pilot.press("f9", "s")
        await until(pilot, lambda: "300 cases from triage-test@1" in text(pilot, "#figures-text"))
        assert "exact not worse than baseline" in text(pilot, "#figures-text")
        await pilot.press("w")
        await until(pilot, lambda: "cases: triage-test@1" in text(pilot, "#figures-text"))
        assert "its file" in str(screen.query_one("#evaluation-figures").border_title)
        await pilot.press("w")
        await until(pilot, lambda: "300 cases from triage-test@1" in text(pilot, "#figures-text"))


def test_each_field_of_a_suite_is_told() -> None:
    body = {
        "cases": [{"message": "hi", "expected": "yes"}] * 4, "limit": 2, "seed": 7, "prompt": ["a@1", "b@2"], "repeats": 3,
        "metrics": [{"type": "exact", "name": "same", "strip": False}], "models": ["small"], "description": "Greets.",
    }  # fmt: skip
    kept = KeptSuite("polite@1", check_suite(body, "polite"), kept=True)
    told = str(suite_content(kept))
    for part in ("Greets.", "2 cases written in the suite, 2 drawn with seed 7", "prompt a@1, b@2", "same: type exact, strip no",
                 "repeats         3", "models          small", "none: t has nothing", "message hi, expected yes"):  # fmt: skip
        assert part in told
    assert (case_count(kept), source(kept)) == (2, "its file")
    of_data = KeptSuite(
        "triage", check_suite({"cases": "tickets@2", "metrics": ["exact"]}, "triage"), kept=True, rows=40
    )
    assert (case_count(of_data), source(of_data)) == (40, "tickets@2")
    unread = KeptSuite("triage", check_suite({"cases": "tickets@old"}, "triage"), kept=True)
    assert (case_count(unread), "all of its cases from tickets@old" in str(suite_content(unread))) == (None, True)
