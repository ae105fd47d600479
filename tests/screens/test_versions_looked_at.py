"""Going through versions: text, answer and runs are those of one version, and what is written stays what it is."""

from __future__ import annotations

from dataclasses import replace

from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import Static, TextArea

from llmops_tui.errors import LlmopsError
from llmops_tui.prompts.run_history import RunRecord
from screens.playground.answer_pane import AnswerPane
from screens.playground.run_figures import figures
from screens.playground.runs_pane import RunList, RunsPane
from screens.playground.template_pane import TemplatePane
from screens.playground.variables_pane import ValueEditor
from screens.playground.version_list import VersionList
from screens.playground.versions_pane import VersionsPane
from screens.shell.key_line import KeyLine
from screens.widgets.stream_view import StreamView
from tests.fakes import FailingEnsure, FakeModelServer
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_playground import playground, run, write


def plain(pilot: Pilot[int], pane: str) -> str:
    return Content.from_markup(str(playground(pilot).query_one(pane).border_title)).plain


def seen(pilot: Pilot[int]) -> str | None:
    """The user's text that stands over the editor, where one does."""
    pane = playground(pilot).query_one("#playground-user", TemplatePane)
    return str(pane._seen.content) if pane._over.display else None


def answer(pilot: Pilot[int]) -> str:
    return playground(pilot).query_one("#answer", StreamView).text


async def test_the_version_under_the_cursor_is_seen_with_its_answer_and_runs(
    open_app: OpenApp, server: FakeModelServer
) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        await run(pilot)
        await write(pilot, " Please.")
        server.pieces = ["newer"]
        await run(pilot)
        await pilot.press("f9", "v", "down")
        await until(pilot, lambda: answer(pilot) == "Hello world.")
        await settle(pilot)
        assert screen.query_one(VersionList).version.number == 2  # type: ignore[union-attr]
        assert seen(pilot) == "{{ question }}"
        assert "@2, enter takes it" in plain(pilot, "#playground-user")
        assert "@2 · 1" in plain(pilot, "#playground-runs")
        assert "another version" not in plain(pilot, "#playground-answer")
        assert screen.state.draft.template == "{{ question }} Please."
        # One that was never run has no answer, and not that of another.
        await pilot.press("down")
        await until(pilot, lambda: answer(pilot) == "")
        assert "@1 · 0" in plain(pilot, "#playground-runs")
        # Whoever goes back to the editor has the own text, its answer and its runs again.
        await pilot.press("f9", "u")
        await until(pilot, lambda: answer(pilot) == "newer")
        assert seen(pilot) is None
        assert "support @3" in plain(pilot, "#playground-user")
        assert "@3 · 1" in plain(pilot, "#playground-runs")


async def test_what_runs_is_seen_and_listed_while_it_runs(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        listed = screen.query_one(RunList)
        await pilot.press("f9", "v", "down")
        await until(pilot, lambda: seen(pilot) is not None)
        server.gated = True
        await pilot.press("f5")
        await until(pilot, lambda: [row.version for row in listed.rows] == [2])
        assert seen(pilot) is None
        assert listed._mark(listed.rows[0])[0]
        server.release(4)
        await settle(pilot)
        await until(pilot, lambda: [row.output for row in listed.rows] == ["Hello world."])
        assert "@2 · 1" in plain(pilot, "#playground-runs")


async def test_rows_and_title_of_the_runs_are_of_one_version(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        pane, listed = playground(pilot).query_one(RunsPane), playground(pilot).query_one(RunList)
        second, first = playground(pilot).state.versions
        runs = [RunRecord(f"run_{n}", 1.0, "m", "support", 1 + n % 2, finish_reason="stop") for n in range(5)]
        pane.show(runs, second)
        assert ([row.version for row in listed.rows], "@2 · 2" in plain(pilot, "#playground-runs")) == ([2, 2], True)
        pane.show(runs, None)
        assert (len(listed.rows), plain(pilot, "#playground-runs").split()[-1]) == (5, "5")
        # A run that is on its way is of its version and its prompt alone.
        going = RunRecord("run_9", 2.0, "m", "support", 2)
        playground(pilot).query_one(AnswerPane).show_run(going)
        await settle(pilot)
        assert listed.rows[0].id == "run_9"
        pane.show(runs, first)
        assert "run_9" not in [row.id for row in listed.rows]
        playground(pilot).query_one(AnswerPane).show_run(replace(going, prompt="other"))
        await settle(pilot)
        pane.show([], None)
        assert listed.rows == []
        # One that failed before its first word is in no list until it is read there.
        playground(pilot).query_one(AnswerPane).show_run(replace(going, finish_reason="error"))
        await settle(pilot)
        assert listed.rows == []


async def test_an_answer_to_another_version_is_told_in_the_title(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        await run(pilot)
        await write(pilot, " Please.")
        assert "another version" not in plain(pilot, "#playground-answer")  # of the version that is written on
        server.pieces = ["newer"]
        await run(pilot)
        old = screen.services.history.of("support", 2)[0]
        screen.query_one(AnswerPane).show_run(old)
        assert "Answer @2  another version" in plain(pilot, "#playground-answer")


async def test_figures_stay_as_they_are_when_the_run_is_read_again(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        await run(pilot)
        line = screen.query_one("#figures", Static)
        assert "prompt 10 of 1,024" in str(line.content)
        before = str(line.content)
        await screen.refresh_versions()
        screen.query_one(AnswerPane).show_run(screen.services.history.of("support")[0])
        assert str(line.content) == before


def test_figures_break_between_each_other_and_the_end_comes_first() -> None:
    past = RunRecord(
        "run_1", 0.0, "m", "p", 1, finish_reason="length", completion_tokens=256, ttft_ms=164.0, prompt_tokens=42
    )
    for width in range(28, 70):
        told = figures(past, width)
        lines = told.plain.split("\n")
        assert all(not line.startswith(("·", " ")) and len(line) <= width for line in lines)
        assert " · ".join(lines) == "cut off: p raises max tokens · 256 tokens · first 164 ms · prompt 42"
        assert ("$warning", lines[0].split(" · ")[0]) in [
            (str(span.style), told.plain[span.start : span.end]) for span in told.spans
        ]
    full = RunRecord(
        "run_2", 0.0, "m", "p", 1, finish_reason="length", completion_tokens=60, prompt_tokens=40, context=100
    )
    assert figures(full, 30).plain.startswith("cut off: the context is full\n")


async def test_the_reason_why_there_is_no_answer_is_what_is_copied(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        works = screen.services.runner._ensure
        screen.services.runner._ensure = FailingEnsure(
            LlmopsError("model_load_failed", "there is no memory", "Unload one")
        )
        await run(pilot)
        assert screen.copy_choices()[0] == ("error", "there is no memory. Unload one")
        screen.services.runner._ensure = works
        await run(pilot)
        assert screen.copy_choices()[0] == ("answer", "Hello world.")
        assert "error" not in dict(screen.copy_choices())


async def test_the_key_that_copies_is_told_where_it_is_pressed(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        line = playground(pilot).query_one(KeyLine)
        assert "alt+y Copy" in line.render().plain
        await pilot.press("f9", "a")
        await until(pilot, lambda: "  y Copy" in line.render().plain)


async def test_a_long_value_is_read_whole_and_may_have_several_lines(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        field = screen.query_one(ValueEditor)
        assert field.size.height == 1
        text = "Hello, please refund the kettle that came broken. " * 2 + "\nIt is urgent."
        field.focus()
        field.replace(text, (0, 0), field.document.end)
        await settle(pilot)
        await until(pilot, lambda: field.size.height == 6 or field.size.height >= field.wrapped_document.height > 1)
        assert screen.state.draft.variables["question"] == text
        assert isinstance(screen.query_one("#user"), TextArea)


async def test_marks_are_counted_and_the_keys_of_the_pane_are_told_while_it_has_the_focus(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        pane = playground(pilot).query_one(VersionsPane)
        assert "marked" not in plain(pilot, "#playground-versions")
        assert not pane.border_subtitle
        await pilot.press("f9", "v", "space")
        await settle(pilot)
        assert "1 marked" in plain(pilot, "#playground-versions")
        assert "d diff" in str(pane.border_subtitle)
        await pilot.press("space")
        playground(pilot).query_one("#user", TextArea).focus()
        await settle(pilot)
        assert "marked" not in plain(pilot, "#playground-versions")
        assert not pane.border_subtitle
