from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import Input, Static, TextArea

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.stages import Stage, StageStore, StageSubject
from llmops_tui.prompts.drafts import Drafts
from llmops_tui.prompts.label_audit import audited_moves
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.playground.answer_pane import AnswerPane
from screens.playground.blame_screen import BlameScreen
from screens.playground.diff_screen import DiffScreen
from screens.playground.prompts_pane import PromptList
from screens.playground.runs_pane import RunList
from screens.playground.screen import PlaygroundScreen
from screens.playground.state import Loaded, read
from screens.playground.thinking_view import ThinkingView
from screens.playground.variables_pane import ValueEditor, VariablesPane
from screens.playground.version_list import VersionList
from screens.services import Services
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.stream_view import StreamView
from tests.evaluation.test_what_decides import BODY, finished
from tests.fakes import FailingEnsure, FakeModelServer, end_processes, hostile_strings, start_no_processes
from tests.screens.conftest import OpenApp, notices, settle, until


def playground(pilot: Pilot[int]) -> PlaygroundScreen:
    screen = pilot.app.screen
    assert isinstance(screen, PlaygroundScreen)
    return screen


def answer(pilot: Pilot[int]) -> str:
    return pilot.app.screen_stack[0].query_one("#answer", StreamView).text


def placeholder(pilot: Pilot[int]) -> str:
    return pilot.app.screen_stack[0].query_one("#answer", StreamView)._placeholder


def figures(pilot: Pilot[int]) -> str:
    return str(pilot.app.screen_stack[0].query_one("#figures", Static).content)


async def write(pilot: Pilot[int], text: str) -> None:
    """Put text at the end of the user template, as keys would."""
    editor = playground(pilot).query_one("#user", TextArea)
    editor.focus()
    editor.move_cursor(editor.document.end)
    editor.insert(text)
    await settle(pilot)


async def run(pilot: Pilot[int]) -> None:
    await pilot.press("f5")
    await settle(pilot)


async def test_the_demo_opens_with_a_prompt_a_model_and_its_versions(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        assert screen.query_one("#user", TextArea).text == "{{ question }}"
        assert screen.state.model_name == "support-base"
        assert [v.number for v in screen.state.versions] == [2, 1]
        assert screen.query_one("#variable-fields ValueEditor", ValueEditor).value == "When are you open?"


async def test_a_run_streams_and_unchanged_text_makes_no_version(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        server.gated = True
        await pilot.press("f5")
        server.release(2)
        await until(pilot, lambda: answer(pilot) == "Hello ")
        assert playground(pilot).query_one(AnswerPane).running
        server.release(2)
        await settle(pilot)
        assert answer(pilot) == "Hello world."
        assert "stop" in figures(pilot)
        assert "4 tokens" in figures(pilot)
        assert len(playground(pilot).state.versions) == 2
        assert server.requests[0]["messages"][-1]["content"] == "When are you open?"
        assert playground(pilot).query_one(RunList).count == 1


@pytest.mark.slow
async def test_what_is_thought_is_folded_until_a_key_unfolds_it(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        view = screen.query_one(ThinkingView)
        assert not view.display
        server.thoughts = ["Let me ", "see."]
        await run(pilot)
        await until(pilot, lambda: "stop" in figures(pilot))
        assert (answer(pilot), view.text) == ("Hello world.", "Let me see.")
        assert "4 tokens, 2 thinking" in figures(pilot)
        assert view.display
        text, line = view.query_one("#thinking-text"), view.query_one("#thinking-line", Static)
        assert not text.display
        assert "thinking, 2 tokens" in str(line.content)
        screen.query_one(AnswerPane).action_unfold()
        assert text.display
        screen.query_one(AnswerPane).action_unfold()
        assert not text.display
        server.thoughts = []
        await run(pilot)
        await until(pilot, lambda: not view.display)


async def test_changed_text_makes_a_version_by_itself(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        await write(pilot, " Please.")
        assert playground(pilot).state.dirty
        await run(pilot)
        newest = PromptStore(Catalog(sample)).versions("support")[0]
        assert (newest.number, newest.parent, newest.template) == (3, 2, "{{ question }} Please.")
        assert not playground(pilot).state.dirty
        # What is written after the prompt was read again, as after a visit to another screen, goes on from that version.
        playground(pilot).open_prompt("support")
        await settle(pilot)
        await write(pilot, " Now.")
        await run(pilot)
        assert PromptStore(Catalog(sample)).versions("support")[0].parent == 3


@pytest.mark.slow
async def test_a_slow_look_is_not_shown_over_a_later_one(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, begun = threading.Event(), threading.Event()

    def held(*arguments):  # type: ignore[no-untyped-def]
        loaded = read(*arguments)
        if not begun.is_set():
            begun.set()
            slow.wait(120)
        return loaded

    async with open_app() as pilot:
        screen = playground(pilot)
        monkeypatch.setattr("screens.playground.reader.read", held)
        first = asyncio.create_task(screen.refresh_versions())
        await until(pilot, begun.is_set)
        PromptStore(Catalog(sample)).save("support", system="", template="newer")
        second = asyncio.create_task(screen.refresh_versions())
        await pilot.pause()
        slow.set()
        await asyncio.gather(first, second)
        assert [v.number for v in screen.state.versions] == [3, 2, 1]


@pytest.mark.slow
async def test_escape_leaves_an_editor_so_that_digits_open_screens(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = pilot.app.screen
        screen.query_one("#user", TextArea).focus()
        await settle(pilot)
        await pilot.press("escape", "8")
        await settle(pilot)
        assert "8" not in screen.query_one("#user", TextArea).text
        assert pilot.app.screen is not screen


async def test_escape_stops_the_answer_and_keeps_its_text(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        server.gated = True
        await pilot.press("f5")
        server.release(1)
        await until(pilot, lambda: answer(pilot) == "Hel")
        await pilot.press("f5")
        assert "being generated" in notices(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: server.cancelled.is_set())
        assert answer(pilot) == "Hel"
        assert "cancelled" in figures(pilot)
        server.gated = False
        await run(pilot)
        assert answer(pilot) == "Hello world."


@pytest.mark.slow
async def test_a_version_that_was_being_saved_when_its_run_was_stopped_is_told(
    open_app: OpenApp, sample: Workspace, server: FakeModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, slow = threading.Event(), threading.Event()
    save = PromptStore.save

    def held(self: PromptStore, *arguments: Any, **named: Any) -> tuple[PromptVersion, bool]:
        begun.set()
        slow.wait(120)
        return save(self, *arguments, **named)

    async with open_app() as pilot:
        await write(pilot, " more")
        monkeypatch.setattr(PromptStore, "save", held)
        await pilot.press("f5")
        await until(pilot, begun.is_set)
        await pilot.press("escape")
        await pilot.pause()
        slow.set()
        state = playground(pilot).state
        await until(pilot, lambda: not state.dirty)
        assert "cancelled" in figures(pilot)
        # What is written next comes of this version, and no model was asked.
        assert state.draft.base == 3
        assert server.requests == []


async def test_a_server_that_dies_is_told_and_its_text_kept(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        server.die_after = 2
        await run(pilot)
        assert "died" in notices(pilot)
        assert answer(pilot) == "Hello "
        history = playground(pilot).services.history.of("support")
        assert (history[0].output, history[0].finish_reason) == ("Hello ", "error")
        server.die_after = None
        await run(pilot)
        assert answer(pilot) == "Hello world."


async def test_a_model_that_cannot_be_loaded_says_what_to_do(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        error = LlmopsError("model_load_failed", "there is no memory", "Unload another model")
        pilot.app.services.runner._ensure = FailingEnsure(error)  # type: ignore[attr-defined]
        await run(pilot)
        assert "no memory. Unload another model" in placeholder(pilot)
        # It is told once; over the other panes is one line.
        assert notices(pilot).strip() == "No answer; the Answer pane says why. F5 runs it again."


@pytest.mark.slow
async def test_a_template_with_an_error_says_where(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await write(pilot, "Hi.\n{% if %}")
        pane = pilot.app.screen.query_one(VariablesPane)
        await until(pilot, lambda: "user, line 2: Expected an expression" in str(pane.border_subtitle))
        await run(pilot)
        assert "line 2: Expected an expression" in placeholder(pilot)


async def test_variables_become_fields_and_keep_their_values(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await write(pilot, " {{ tone }}")
        screen = playground(pilot)
        await until(pilot, lambda: len(screen.query("#variable-fields ValueEditor")) == 2)
        fields = list(screen.query("#variable-fields ValueEditor").results(ValueEditor))
        assert [(f.name, f.value) for f in fields] == [("question", "When are you open?"), ("tone", "")]


@pytest.mark.slow
async def test_a_value_that_spells_a_mark_of_the_model_is_told(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        pane = screen.query_one("#playground-variables")
        field = screen.query_one("#variable-fields ValueEditor", ValueEditor)
        for value, told in (
            ("Open <|im_end|> <b>?", "question: <|im_end|> is sent as text, not as a mark"),
            ("Open <|other|>?", ""),
        ):
            field.value = value
            await until(pilot, lambda told=told: str(pane.border_subtitle or "") == told)
        services = screen.services
        services._settings = services.settings.model_copy(update={"special_in_content": True})
        field.value = "<|im_start|>"
        await until(pilot, lambda: str(pane.border_subtitle) == "question: <|im_start|> acts as a mark")


@pytest.mark.slow
async def test_variables_of_a_text_that_is_gone_are_not_shown(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, begun = threading.Event(), threading.Event()
    async with open_app() as pilot:
        screen = playground(pilot)
        renderer = screen.services.renderer
        find = renderer.variables

        def held(text: str) -> list[str]:
            if "{{ gone }}" in text:
                begun.set()
                slow.wait(120)
            return find(text)

        monkeypatch.setattr(renderer, "variables", held)
        screen.query_one("#user", TextArea).load_text("{{ gone }}")
        await until(pilot, begun.is_set)
        screen.open_prompt("triage")
        await until(pilot, lambda: "triage" in str(screen.query_one("#playground-user").border_title))
        expected = find(screen.query_one("#user", TextArea).text)
        slow.set()
        await settle(pilot)
        assert [field.name for field in screen.query("#variable-fields ValueEditor").results(ValueEditor)] == expected


@pytest.mark.slow
async def test_a_prompt_is_opened_even_where_a_run_ends_meanwhile(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, begun = threading.Event(), threading.Event()

    def held(services: Services, prompt: str | None) -> Loaded:
        if prompt == "triage":
            begun.set()
            slow.wait(120)
        return read(services, prompt)

    async with open_app() as pilot:
        screen = playground(pilot)
        monkeypatch.setattr("screens.playground.reader.read", held)
        screen.open_prompt("triage")
        await until(pilot, begun.is_set)
        screen.query_one(AnswerPane).post_message(AnswerPane.Ended())
        await pilot.pause()
        slow.set()
        await settle(pilot)
        assert screen.state.prompt == "triage"
        assert screen.query_one("#user", TextArea).text == screen.state.draft.template != "{{ question }}"


async def test_the_draft_is_kept_as_it_is_typed(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        await pilot.press("x", "y")
        await settle(pilot)
        draft = Drafts(EventLog(sample)).load("support")
        assert draft is not None
        assert draft.template == "xy{{ question }}"
    async with open_app() as pilot:
        assert playground(pilot).query_one("#user", TextArea).text == "xy{{ question }}"


@pytest.mark.slow
async def test_the_last_keys_before_leaving_are_kept(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        editor = playground(pilot).query_one("#user", TextArea)
        editor.insert("just before ")
        pilot.app.exit()
        await pilot.pause()
    draft = Drafts(EventLog(sample)).load("support")
    assert draft is not None
    assert draft.template == "just before {{ question }}"


async def test_what_is_typed_while_the_app_starts_is_not_lost(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app(typed_early="early ") as pilot:
        assert playground(pilot).query_one("#user", TextArea).text == "early {{ question }}"
        assert playground(pilot).state.prompt == "support"
        await settle(pilot)
        draft = Drafts(EventLog(sample)).load("support")
        assert draft is not None
        assert draft.template == "early {{ question }}"


async def test_f5_before_the_workspace_is_read_runs_what_is_then_seen(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressed = threading.Event()

    start = AnswerPane.start

    def told(pane: AnswerPane) -> None:
        start(pane)
        pressed.set()

    def read_late(services: Services, prompt: str | None) -> Loaded:
        pressed.wait()
        return read(services, prompt)

    monkeypatch.setattr(AnswerPane, "start", told)
    monkeypatch.setattr("screens.playground.reader.read", read_late)
    async with open_app(pressed_early=["f5"]) as pilot:
        await settle(pilot)
        assert playground(pilot).query_one("#answer", StreamView).text == "Hello world."
        assert not notices(pilot)


async def test_keys_that_come_at_once_start_one_run(open_app: OpenApp, server: FakeModelServer) -> None:
    """As they do where they were pressed before the app was drawn, and waited for it together."""
    server.gated = True
    async with open_app() as pilot:
        for _ in range(3):
            playground(pilot).action_run()
        await until(pilot, lambda: len(server.requests) == 1)
        server.release(len(server.pieces))
        await settle(pilot)
        assert len(server.requests) == 1
        assert answer(pilot) == "Hello world."


@pytest.mark.slow
async def test_going_back_to_a_version_keeps_unsaved_text_as_one(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await write(pilot, " unsaved")
        screen = playground(pilot)
        versions = screen.query_one(VersionList)
        versions.focus()
        versions.move_to(versions.count - 1)
        await pilot.press("enter")
        await settle(pilot)
        assert screen.query_one("#system", TextArea).text == "You are the support assistant of Marlow & Finch."
        kept = screen.state.versions[0]
        assert kept.template == "{{ question }} unsaved"
        assert "kept as support@3" in notices(pilot)


async def test_two_versions_are_compared_in_words_and_tokens(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        pilot.app.services.servers.find = lambda _name: server.handle  # type: ignore[attr-defined]
        await pilot.press("f3")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChoiceDialog)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, DiffScreen)
        content = pilot.app.screen.query_one("#diff-text", Static).content
        assert isinstance(content, Content)
        added = [str(content[span.start : span.end]) for span in content.spans if "underline" in str(span.style)]
        assert " Answer briefly and kindly." in added
        await pilot.press("t")
        await settle(pilot)
        assert "+4 tokens" in str(pilot.app.screen.query_one("#diff-head", Static).content)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, PlaygroundScreen)


async def test_a_version_to_compare_with_says_all_that_makes_it_likely(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await write(pilot, " Please.")
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        dialog = pilot.app.screen
        assert isinstance(dialog, ChoiceDialog)
        assert next((choice.label, choice.note) for choice in dialog._choices) == (
            "support@2",
            "parent · production · brief and kind",
        )


@pytest.mark.slow
async def test_a_label_moves_and_z_takes_it_back(open_app: OpenApp, sample: Workspace) -> None:
    store = PromptStore(Catalog(sample))
    async with open_app() as pilot:
        versions = playground(pilot).query_one(VersionList)
        versions.focus()
        versions.move_to(1)
        await pilot.press("l")
        assert isinstance(pilot.app.screen, LineDialog)
        await pilot.press("enter")
        await settle(pilot)
        assert store.get("support@production").number == 1
        assert "production is now support@1" in notices(pilot)
        await pilot.press("z")
        await settle(pilot)
        assert store.get("support@production").number == 2
        # What was told of it is not so any more.
        assert "Undone" in notices(pilot)
        assert "is now support@1" not in notices(pilot)


@pytest.mark.slow
async def test_one_key_rolls_a_label_back_and_a_policy_is_passed_over_only_with_a_reason(
    open_app: OpenApp, sample: Workspace
) -> None:
    store, log = PromptStore(Catalog(sample)), EventLog(sample)
    store.move_label("support@1", "production")
    async with open_app() as pilot:
        versions = playground(pilot).query_one(VersionList)
        versions.focus()
        versions.move_to(1)
        await pilot.press("B")
        await until(pilot, lambda: store.get("support@production").number == 2)
        await settle(pilot)
        StageStore(log).set(Stage("support", "production", "", ("s",)), StageSubject("pv"))
        versions.focus()
        versions.move_to(1)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press(*"urgent", "enter")
        kinds = lambda: [(move.kind, move.reason) for move in audited_moves(log)][-2:]  # noqa: E731
        await until(pilot, lambda: kinds() == [("label.rolled_back", ""), ("label.promoted", "urgent")])
        assert store.get("support@production").number == 1


@pytest.mark.slow
async def test_a_label_moves_where_a_suite_allows_it_and_a_missing_run_is_offered(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_no_processes(monkeypatch)
    evaluation = EvaluationStore(sample)
    store = evaluation.prompts
    ref = store.versions("support")[1].ref
    suite = check_suite(BODY | {"prompt": "support", "rules": ["exact >= 0.9"]}, "s")
    # What has the label now is known; what is to have it is not.
    finished(evaluation, suite, "support@2")

    async def ask_the_suite(pilot: Pilot[int]) -> None:
        versions = playground(pilot).query_one(VersionList)
        versions.focus()
        versions.move_to(1)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await settle(pilot)

    async with open_app() as pilot:
        await ask_the_suite(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: "s-2: started" in notices(pilot))
        assert evaluation.get("s-2").asked.prompt == ref
        assert store.get("support@production").number == 2
        end_processes()
        # Too few are right, then all of them.
        finished(evaluation, suite, ref, right=5)
        await ask_the_suite(pilot)
        await until(pilot, lambda: "production stays where it is" in notices(pilot))
        assert store.get("support@production").number == 2
        finished(evaluation, suite, ref)
        await ask_the_suite(pilot)
        await until(pilot, lambda: "production is now support@1: exact >= 0.9 pass" in notices(pilot))
        assert store.get("support@production").number == 1


async def test_saving_asks_for_a_note(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        await write(pilot, "!")
        await pilot.press("ctrl+s")
        await pilot.press(*"why", "enter")
        await settle(pilot)
        newest = PromptStore(Catalog(sample)).versions("support")[0]
        assert (newest.number, newest.note) == (3, "why")
        draft = Drafts(EventLog(sample)).load("support")
        assert draft is not None
        assert draft.base == 3


async def test_a_new_prompt_starts_empty_and_gets_its_first_version_by_running(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await pilot.press("f7")
        await pilot.press(*"fresh", "enter")
        await settle(pilot)
        screen = playground(pilot)
        assert screen.state.prompt == "fresh"
        assert screen.query_one("#user", TextArea).text == ""
        await write(pilot, "hi")
        await run(pilot)
        assert [v.ref for v in screen.state.versions] == ["fresh@1"]


@pytest.mark.slow
async def test_the_filter_finds_prompts_by_their_text(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = playground(pilot)
        screen.query_one(PromptList).focus()
        await pilot.press("slash", *"triage the")
        await settle(pilot)
        shown = screen.query_one(PromptList)
        assert [row.name for row in shown.shown] == ["triage"]
        # Opening one leaves the filter, and what it found, as they are.
        await pilot.press("enter", "enter")
        await settle(pilot)
        assert screen.state.prompt == "triage"
        assert [(row.name, row.opened) for row in shown.shown] == [("triage", True)]
        await pilot.press("escape")
        await settle(pilot)
        assert shown.count == 3


@pytest.mark.slow
async def test_the_parameters_are_checked_and_kept(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        await pilot.press("f6")
        field = pilot.app.screen.query(Input).first()
        field.value = "99"
        await pilot.pause()
        await pilot.press("enter")
        assert "Fix the fields" in notices(pilot)
        field.value = "0.7"
        await pilot.pause()
        await pilot.press("enter")
        await settle(pilot)
        assert playground(pilot).state.parameters.temperature == 0.7
        assert Drafts(EventLog(sample)).load_session().parameters.temperature == 0.7


@pytest.mark.slow
async def test_a_model_is_chosen_with_its_size(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await pilot.press("f4")
        await settle(pilot)
        await pilot.press(*"q4", "enter")
        await settle(pilot)
        assert playground(pilot).state.model_name == "support-base-q4"


@pytest.mark.slow
async def test_the_command_of_the_screen_can_be_copied(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as pilot:
        playground(pilot).query_one(PromptList).focus()
        await pilot.press("c")
        await settle(pilot)
        expected = "prompt run support@2 --model support-base --var 'question=When are you open?'"
        # It works where the app was started, and nothing leads from there to this workspace.
        assert (sample.root / "clipboard.txt").read_text() == f"llmops --workspace {sample.root} {expected}"
        monkeypatch.setenv("LLMOPS_WORKSPACE", str(sample.root))
        await pilot.press("c")
        await settle(pilot)
        assert (sample.root / "clipboard.txt").read_text() == f"llmops {expected}"
        await pilot.press("y")
        await pilot.press("y")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChoiceDialog)


@pytest.mark.slow
async def test_the_editor_of_the_environment_changes_the_text(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    script = tmp_path / "editor"
    script.write_text("#!/bin/sh\nprintf 'from outside\\n' > \"$1\"\n")
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    import contextlib

    async with open_app() as pilot:
        monkeypatch.setattr(pilot.app, "suspend", contextlib.nullcontext)
        await pilot.press("ctrl+e")
        await settle(pilot)
        assert playground(pilot).query_one("#user", TextArea).text == "from outside"
        monkeypatch.setenv("EDITOR", "/nonexistent")
        await pilot.press("ctrl+e")
        assert "Set EDITOR" in notices(pilot)


@pytest.mark.parametrize(
    "size", [(60, 16), (1, 1), *(pytest.param(size, marks=pytest.mark.slow) for size in ((80, 24), (200, 50), (20, 5)))]
)
async def test_any_size_is_survived(open_app: OpenApp, size: tuple[int, int]) -> None:
    async with open_app(size=size) as pilot:
        small = size[0] < 60 or size[1] < 16
        assert pilot.app.screen.has_class("-too-small") == small
        await pilot.resize_terminal(100, 30)
        await pilot.pause()
        assert not pilot.app.screen.has_class("-too-small")


@pytest.mark.slow
async def test_on_a_narrow_terminal_the_versions_unfold_when_jumped_to(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        screen = playground(pilot)
        assert not screen.query_one("#playground-versions").region.area
        await pilot.press("f9", "v")
        await settle(pilot)
        assert screen.query_one("#playground-versions").region.area
        assert screen.focused is screen.query_one(VersionList)
        await pilot.press("escape")
        await settle(pilot)
        assert not screen.query_one("#playground-versions").region.area


@pytest.mark.slow
async def test_hostile_text_is_shown_everywhere_without_a_crash(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    store = PromptStore(Catalog(sample))
    texts = hostile_strings()
    usable = [t.encode("utf-8", "replace").decode() for t in texts]
    for number, text in enumerate(usable[:40]):
        store.save("evil", template=f"{number} {text}", system=text, note=text)
    server.pieces = [character for text in texts for character in text.encode("utf-8", "replace").decode()]
    async with open_app(size=(120, 40)) as pilot:
        playground(pilot).open_prompt("evil")
        await settle(pilot)
        for text in usable:
            pilot.app.say(text)
        editor = playground(pilot).query_one("#user", TextArea)
        editor.load_text("".join(usable).replace("{", "("))
        playground(pilot).query_one("#system", TextArea).load_text("x")
        await settle(pilot)
        await run(pilot)
        assert "PWN" in answer(pilot)
        await pilot.press("f1")
        await pilot.press("escape")
        await pilot.press("ctrl+p")
        await settle(pilot)
        for strip in pilot.app.screen._compositor.render_strips():
            for segment in strip:
                assert "\x1b" not in segment.text
                assert not any(0x80 <= ord(c) < 0xA0 or ord(c) < 32 for c in segment.text)


async def test_what_was_typed_just_before_the_run_is_what_runs(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        pilot.app.screen.query_one("#user", TextArea).insert("Last words. ")
        # At once: the editor has not told the screen yet.
        pilot.app.screen.action_run()  # type: ignore[attr-defined]
        await until(pilot, lambda: len(server.requests) == 1)
        assert "Last words." in server.requests[0]["messages"][-1]["content"]


@pytest.mark.slow
async def test_what_is_typed_while_another_prompt_is_read_stays_with_its_own(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    PromptStore(Catalog(sample)).save("other", system="", template="another text")
    async with open_app() as pilot:
        screen = playground(pilot)
        editor = screen.query_one("#user", TextArea)
        monkeypatch.setattr(screen._editors, "post_message", lambda _message: True)  # nothing of it is told
        loading = asyncio.create_task(screen.load("other"))
        editor.insert("typed late ")
        await loading
        monkeypatch.undo()
        assert editor.text == "another text"
        await settle(pilot)
        assert screen.state.draft.template == "another text"
        kept = Drafts(EventLog(sample)).load("support")
        assert kept is not None
        assert kept.template == "typed late {{ question }}"


async def test_a_run_can_be_copied_as_other_programs_make_it(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        await pilot.press("f5")
        await until(pilot, lambda: bool(answer(pilot)))
        await settle(pilot)
        choices = dict(playground(pilot).copy_choices())
        assert "curl http://127.0.0.1:8080/v1/chat/completions" in choices["run as curl"]
        assert "OpenAI(base_url=" in choices["run as python"]
        assert "## Assistant\n\n```\nHello world.\n```" in choices["run as markdown"]


@pytest.mark.slow
async def test_the_lines_of_a_version_say_which_version_brought_them(open_app: OpenApp, sample: Workspace) -> None:
    store = PromptStore(Catalog(sample))
    first = store.get("support")
    newest, _ = store.save("support", system=first.system, template=f"{first.template}\nAnswer [b]briefly[/b].")
    async with open_app() as pilot:
        await settle(pilot)
        versions = playground(pilot).query_one(VersionList)
        versions.go_to(newest.number)
        versions.focus()
        await pilot.press("b")
        await until(pilot, lambda: isinstance(pilot.app.screen, BlameScreen))
        shown = [str(line.content) for line in pilot.app.screen.query(Static)]
        assert f"support@{newest.number}" in shown[0]
        assert any(f"@{newest.number} " in one and "Answer [b]briefly[/b]." in one for one in shown)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlaygroundScreen))


@pytest.mark.slow
async def test_what_others_change_is_seen_and_what_is_being_written_stays(open_app: OpenApp, sample: Workspace) -> None:
    store = PromptStore(Catalog(sample))
    async with open_app() as pilot:
        await write(pilot, " mine")
        store.save("support", template="of another window", note="from there")
        store.move_label("triage@1", "staging")
        await until(pilot, lambda: any(v.note == "from there" for v in playground(pilot).state.versions))
        await until(
            pilot, lambda: {p.name: p for p in playground(pilot).state.prompts}["triage"].labels["staging"] == 1
        )
        await settle(pilot)
        rows = playground(pilot).query_one(VersionList).rows
        assert [row.number for row in rows][:2] == [4, 3]
        assert playground(pilot).state.draft.template.endswith(" mine")
