from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual import events
from textual.notifications import Notify
from textual.widgets import Input, Static, TextArea
from textual.widgets._toast import Toast

from llmops_tui.errors import LlmopsError
from llmops_tui.settings import Settings, load_settings, save_settings
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.notices import write_notice
from screens import terminal
from screens.actions import ACTIONS, SCREEN_KEYS, bindings_of
from screens.jobs.jobs_pane import JobsPane
from screens.jobs.screen import JobsScreen
from screens.keymap import check_keymap, load_keymap, textual_keymap
from screens.models.screen import ModelsScreen
from screens.playground.screen import PlaygroundScreen
from screens.playground.version_graph import lanes
from screens.settings.screen import SettingsScreen
from screens.shell.base import BaseScreen
from screens.shell.help import HelpScreen
from screens.shell.jump import JumpScreen
from screens.shell.notices import Notice
from screens.shell.status_feed import StatusFeed
from screens.shell.status_line import gauge
from screens.shell.trust_dialog import TrustDialog
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.field_text import to_text
from screens.widgets.form import ModelForm
from screens.widgets.line_list import LineList
from screens.widgets.panel import Panel
from screens.widgets.table import Table
from screens.widgets.text_wrap import wrap_line
from tests.fakes import FakeClock, FakeModelServer
from tests.screens.conftest import OpenApp, notices, settle, until


async def test_every_screen_opens_by_its_digit(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        for key, name in SCREEN_KEYS.items():
            await pilot.press("f9", key)
            await settle(pilot)
            assert isinstance(pilot.app.screen, BaseScreen)
            assert pilot.app.screen.scope == name


async def test_jump_mode_reaches_every_pane(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        panels = list(pilot.app.screen.walk_children(Panel))
        assert len(panels) == 7
        for panel in panels:
            await pilot.press("ctrl+o")
            assert isinstance(pilot.app.screen, JumpScreen)
            await pilot.press(panel.jump_key)
            await settle(pilot)
            screen = pilot.app.screen
            assert isinstance(screen, BaseScreen)
            assert screen.focused_panel() is panel
        await pilot.press("ctrl+o", "escape")
        assert isinstance(pilot.app.screen, BaseScreen)


@pytest.mark.slow
async def test_jump_keys_are_told_apart(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        for name in SCREEN_KEYS.values():
            await pilot.app.switch_mode(name)
            await settle(pilot)
            panels = list(pilot.app.screen.walk_children(Panel))
            # As jump mode and styles find them: by their type.
            assert panels == list(pilot.app.screen.query(Panel))
            keys = [panel.jump_key for panel in panels]
            assert len(keys) == len(set(keys))
            assert not set(keys) & set(SCREEN_KEYS)


@pytest.mark.slow
async def test_help_explains_each_screen(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        for name in SCREEN_KEYS.values():
            await pilot.app.switch_mode(name)
            await settle(pilot)
            await pilot.press("f1")
            assert isinstance(pilot.app.screen, HelpScreen), name
            text = str(pilot.app.screen.query_one(Static).content)
            assert name.capitalize() in text
            assert "Keys of this screen" in text, name
            assert "llmops " in text, name
            await pilot.press("escape")
            assert isinstance(pilot.app.screen, BaseScreen), name


@pytest.mark.slow
async def test_the_palette_finds_actions_prompts_and_models(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await pilot.press("ctrl+p", *"prompt: triage")
        await until(
            pilot, lambda: any(line.count for line in pilot.app.screen.query("#palette-found").results(LineList))
        )
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, BaseScreen))
        await settle(pilot)
        assert pilot.app.screen.state.prompt == "triage"  # type: ignore[attr-defined]


async def test_a_pane_fills_the_terminal_and_goes_back(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        before = pilot.app.screen.query_one("#playground-user").region
        await pilot.press("f11")
        await settle(pilot)
        assert pilot.app.screen.query_one("#playground-user").region.area > 3 * before.area
        await pilot.press("f11")
        await settle(pilot)
        assert pilot.app.screen.query_one("#playground-user").region == before


async def test_quit_asks_only_where_work_would_be_lost(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        server.gated = True
        await pilot.press("f5")
        await until(pilot, lambda: bool(server.requests))
        await pilot.press("ctrl+q")
        assert not isinstance(pilot.app.screen, BaseScreen)
        await pilot.press("n")
        assert isinstance(pilot.app.screen, BaseScreen)
        await pilot.press("escape")
        await until(pilot, lambda: server.cancelled.is_set())
        await pilot.press("ctrl+q")
        await pilot.pause()
    assert pilot.app.return_value == 0


async def test_every_failure_of_a_worker_is_told_and_the_app_lives(open_app: OpenApp) -> None:
    async def fail() -> None:
        raise ValueError("[/ a bug]")

    async def refuse() -> None:
        raise LlmopsError("code", "what happened", "What to do")

    async with open_app() as pilot:
        pilot.app.run_worker(fail(), exit_on_error=False)
        pilot.app.run_worker(refuse(), exit_on_error=False)
        await until(pilot, lambda: "ValueError: [/ a bug]" in notices(pilot))
        await until(pilot, lambda: "what happened. What to do" in notices(pilot))


@pytest.mark.slow
async def test_models_shows_what_the_file_says_and_verifies_as_a_job(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await pilot.press("f9", "5")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, ModelsScreen)
        text = str(screen.query_one("#facts-text", Static).content)
        assert "4,459,264" in text
        assert "Q8_0" in text
        assert "<|im_start|>" in text
        await pilot.press("v")
        await settle(pilot)
        assert "support-base is intact" in notices(pilot)
        await pilot.press("f9", "8")
        await settle(pilot)
        jobs = pilot.app.screen
        assert isinstance(jobs, JobsScreen)
        assert [job.state for job in jobs.query_one(JobsPane).jobs] == ["done"]
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("Y")
        await until(pilot, lambda: "is deleted" in notices(pilot))
        await until(pilot, lambda: jobs.query_one(JobsPane).jobs == [])


@pytest.mark.slow
async def test_a_damaged_file_is_refused_with_the_reason(open_app: OpenApp, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"\x80\x04" + bytes(100))
    async with open_app() as pilot:
        await pilot.press("f9", "5")
        await settle(pilot)
        await pilot.press("a", *str(bad), "enter")
        await settle(pilot)
        assert "pickle" in notices(pilot)


@pytest.mark.slow
async def test_a_model_is_added_as_a_job_and_then_listed(open_app: OpenApp, model_file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(model_file.read_bytes())
    async with open_app() as pilot:
        await pilot.press("f9", "5")
        await settle(pilot)
        await pilot.press("a", *str(mine), "enter")
        await settle(pilot)
        assert "mine is registered" in notices(pilot)
        assert pilot.app.screen.query_one("#model-list", Table).count == 4


@pytest.mark.slow
async def test_notices_of_the_workspace_are_shown_until_dismissed(open_app: OpenApp, sample: Workspace) -> None:
    write_notice(sample, "the log was quarantined [/")
    async with open_app() as pilot:
        await pilot.press("f9", "8")
        await settle(pilot)
        shown = pilot.app.screen.query_one("#notices", Static)
        assert shown.display
        assert "quarantined [/" in str(shown.content)
        await pilot.press("d")
        await settle(pilot)
        assert not shown.display


@pytest.mark.slow
async def test_a_form_begins_with_what_is_seen_and_the_rest_follows(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("f9", "9")
        await settle(pilot)
        form = pilot.app.screen.query_one(ModelForm)
        names = [field.name for field in form.query("Input, Checkbox, Choice")]
        assert names == list(Settings.model_fields)
        assert len(names) > 24 // 2
        # One that followed is checked and filled as the others are.
        late = next(field for field in form.query(Input) if field.name == "backup_keep")
        assert form.problems == {}
        late.value = "{"
        await settle(pilot)
        assert list(form.problems) == ["backup_keep"]
        form.fill(Settings())
        await settle(pilot)
        assert (form.problems, late.value) == ({}, to_text(Settings().backup_keep))


async def test_settings_are_checked_saved_and_used_again(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await pilot.press("f9", "9")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, SettingsScreen)
        # Nothing is written into until one says so: letters and digits are keys.
        assert isinstance(pilot.app.focused, ModelForm)
        await pilot.press("j", "k", "enter")
        assert isinstance(pilot.app.focused, Input)
        await pilot.press("escape")
        assert isinstance(pilot.app.focused, ModelForm)
        fields = {field.name: field for field in screen.query(Input)}
        fields["idle_minutes"].value = "-1"
        await pilot.pause()
        await pilot.press("ctrl+s")
        assert "Fix the fields" in notices(pilot)
        fields["idle_minutes"].value = "5"
        fields["theme"].value = "colour-blind-light"
        await pilot.pause()
        assert pilot.app.theme == "colour-blind-light"
        await pilot.press("ctrl+s")
        await pilot.pause()
    settings, problems = load_settings()
    assert (settings.idle_minutes, settings.theme, problems) == (5.0, "colour-blind-light", [])


def test_wrong_settings_are_told_and_the_rest_is_used(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('theme = "nord"\nthreads = -4\ntypo = 1\n')
    settings, problems = load_settings(path)
    assert settings == Settings(theme="nord")
    assert len(problems) == 2
    path.write_text("theme = [")
    assert load_settings(path)[0] == Settings(trace_content="off")
    # Saving writes the whole file anew: one that could not be read is put aside first.
    kept = save_settings(Settings(threads=3), path)
    assert kept is not None
    assert kept.read_text() == "theme = ["
    assert load_settings(path) == (Settings(threads=3), [])
    assert save_settings(Settings(threads=4), path) is None


@pytest.mark.parametrize(
    "text",
    [
        "trace_content = off",  # no TOML
        'trace_content = "of"',
        "trace_content = false",
        'trace-content = "off"',
        'Trace_Content = "off"',
        'trace_contents = "redact"',
        'traces = "off"',
        'keep_content = "off"',
        '[app]\ntrace_content = "off"',
        '[trace]\ncontent = "off"',
    ],
)
def test_a_slip_never_makes_traces_keep_more(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f"threads = 3\n{text}\n")
    settings, problems = load_settings(path)
    assert settings.trace_content == "off"
    assert len(problems) == 1
    assert "figures only" in problems[0]


def test_another_slip_leaves_what_traces_keep_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('thread = 3\ntrace_content = "redact"\n')
    settings, problems = load_settings(path)
    assert settings == Settings(trace_content="redact")
    assert problems == [f"{path}: thread: this setting does not exist; did you mean threads?"]


async def test_an_unknown_theme_is_told(open_app: OpenApp) -> None:
    async with open_app(settings=Settings(theme="nope")) as pilot:
        assert "'nope' is not a theme" in notices(pilot)


@pytest.mark.slow
async def test_every_theme_draws_every_screen(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        for theme in pilot.app.available_themes:
            pilot.app.theme = theme
            await pilot.pause()
        for name in SCREEN_KEYS.values():
            await pilot.app.switch_mode(name)
            await settle(pilot)


def test_each_action_has_two_keys_and_one_that_every_terminal_sends() -> None:
    for action in ACTIONS:
        keys = action.keys.split(",")
        assert len(keys) >= 2, action.id
        names = (
            "slash",
            "question_mark",
            "space",
            "escape",
            "enter",
            "plus",
            "minus",
            "left_square_bracket",
            "right_square_bracket",
            "left_curly_bracket",
            "right_curly_bracket",
            "underscore",
            "equals_sign",
            "colon",
            "ampersand",
            "percent_sign",
        )
        assert any(len(k) == 1 or k in names or (k[0] == "f" and k[1:2].isdigit()) for k in keys), action.id
        assert action.help.endswith(".")


@pytest.mark.slow
async def test_alt_and_a_letter_is_a_key_while_text_is_written(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        editor = pilot.app.screen.query_one("#user", TextArea)
        editor.focus()
        await pilot.pause()
        before = editor.text
        # As Textual's parser tells what a terminal sends, which the pilot's own presses do not: with the letter.
        pilot.app.post_message(events.Key("alt+t", "t"))
        await until(pilot, lambda: isinstance(pilot.app.screen, TrustDialog))
        assert editor.text == before


def test_no_two_default_keys_clash() -> None:
    for scope in {action.scope for action in ACTIONS} - {"app"}:
        keys = [k for b in [*bindings_of(scope), *bindings_of("app")] for k in b.key.split(",")]
        assert len(keys) == len(set(keys)), scope


def test_letters_never_work_while_text_is_written() -> None:
    for scope in {action.scope for action in ACTIONS}:
        for binding in bindings_of(scope):
            if binding.priority:
                assert all(k.startswith(("ctrl+", "f")) and len(k) > 1 for k in binding.key.split(",")), binding


def test_a_keymap_with_mistakes_is_told_and_the_rest_is_used(tmp_path: Path) -> None:
    path = tmp_path / "keymap.toml"
    path.write_text(
        '[keys]\n"playground.run" = "f17, alt+;"\n"playground.save" = "f7x"\n"playground.typo" = "x"\n"playground.diff" = "m"\n"models.add" = "f1"\n'
    )
    good, problems = load_keymap(path)
    assert good == {"playground.run": "f17,alt+semicolon"}
    assert len(problems) == 4
    assert any("playground.save: f7x is no key" in p for p in problems)
    assert any("unknown action" in p for p in problems)
    assert any("taken by playground.model" in p for p in problems)
    assert any("taken by app.help" in p for p in problems)
    assert check_keymap({"playground.run": "w"}) == ({"playground.run": "w"}, [])
    assert load_keymap(tmp_path / "none.toml") == ({}, [])


async def test_the_users_keys_work_and_the_old_ones_do_not(open_app: OpenApp, server: FakeModelServer) -> None:
    keymap, _problems = check_keymap({"playground.run": "ctrl+j"})
    assert textual_keymap(keymap) == {"playground.run.always": "ctrl+j"}
    async with open_app(keymap=keymap) as pilot:
        await pilot.press("f5")
        await settle(pilot)
        assert not server.requests
        pilot.app.screen.query_one("#answer").focus()
        await pilot.press("ctrl+j")
        await settle(pilot)
        assert len(server.requests) == 1


def test_the_terminal_profile_is_calm_over_ssh_and_in_tmux() -> None:
    local = terminal.detect({"LANG": "en_US.UTF-8", "TERM": "xterm-256color"})
    assert (local.calm, local.utf8, local.frames_per_second) == (False, True, 60)
    ssh = terminal.detect({"LANG": "C.UTF-8", "SSH_CONNECTION": "1 2 3 4"})
    assert (ssh.calm, ssh.remote, ssh.frames_per_second) == (True, True, 15)
    assert ssh.stream_interval > local.stream_interval
    assert terminal.detect({"LANG": "C.UTF-8", "TMUX": "x"}).calm
    assert not terminal.detect({"LC_ALL": "en_US.ISO-8859-1"}).utf8
    assert not terminal.detect({"LANG": "C.UTF-8", "TERM": "dumb"}).utf8


def test_gauges_fall_back_to_ascii() -> None:
    assert gauge([0, 50, 100], utf8=True) == "▁▄█ 100%"
    assert gauge([0, 50, 100], utf8=False).isascii()
    assert gauge([], utf8=True) == ""


def test_the_tree_of_versions_is_drawn_with_its_branches() -> None:
    assert lanes([(3, 2), (2, 1), (1, None)]) == ["●", "●", "●"]
    assert lanes([(4, 2), (3, 2), (2, 1), (1, None)]) == ["●", "│●", "●╯", "●"]
    assert lanes([(3, 1), (2, 1), (1, None)]) == ["●", "│●", "●╯"]
    assert lanes([]) == []


@pytest.mark.parametrize("width", [2, 5, 10, 80])
@pytest.mark.parametrize(
    "text", ["", "hello world and more", "日本語のテキスト", "x" * 50, "a  b   c ", " lead", "word " * 20]
)
def test_wrapping_keeps_the_text_and_only_the_last_line_may_change(text: str, width: int) -> None:
    whole = wrap_line(text, width)
    assert "".join(whole) == text
    grown = [""]
    for character in text:
        grown[-1:] = wrap_line(grown[-1] + character, width)
    assert [line.rstrip() for line in grown] == [line.rstrip() for line in whole]


@pytest.mark.slow
async def test_a_look_at_the_machine_never_takes_back_a_model_chosen_meanwhile(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def inspect(feed: StatusFeed, moment: object) -> dict[str, object]:
        looks.append(feed._app.status.model)
        feed._app.call_from_thread(
            feed._app.show_status, replace(feed._app.status, model=f"chosen {len(looks)}", loaded=True)
        )
        return {"notices": 7}

    monkeypatch.setattr(StatusFeed, "_fields", inspect)
    async with open_app() as pilot:
        # The screen itself names its model once while it loads; what counts is a look begun after that.
        before = len(looks)

        # The next look may just be choosing another; what it brings back is that the chosen one is not loaded.
        def taken_over() -> bool:
            status = pilot.app.status  # type: ignore[attr-defined]
            return len(looks) >= before + 2 and status.notices == 7 and not status.loaded

        await until(pilot, taken_over)
        assert pilot.app.status.model.startswith("chosen")  # type: ignore[attr-defined]


async def test_a_dialog_that_is_closing_takes_no_second_answer(open_app: OpenApp) -> None:
    answers: list[bool | None] = []
    async with open_app() as pilot:
        pilot.app.push_screen(ConfirmDialog("Really?", ""), answers.append)
        await pilot.pause()
        for key in "yyn":
            pilot.app.post_message(events.Key(key, key))
        await settle(pilot)
        assert answers == [True]
        assert isinstance(pilot.app.screen, PlaygroundScreen)
        await pilot.press("f9")
        await pilot.pause()
        for key in "vz":
            pilot.app.post_message(events.Key(key, key))
        await settle(pilot)
        assert isinstance(pilot.app.screen, PlaygroundScreen)


async def test_a_notice_whose_time_runs_out_while_it_is_shown_does_not_freeze_the_app(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as pilot:
        # It was there a moment ago, when the list of notices was looked through.
        monkeypatch.setattr(Notice, "has_expired", False)
        late = Notice("too late", timeout=0.0)
        pilot.app.post_message(Notify(late))
        await until(pilot, lambda: bool(pilot.app.screen.query(Toast)))
        await until(pilot, lambda: not pilot.app.screen.query(Toast))
        assert notices(pilot) == ""
        # What fails once a second is told once.
        for _ in range(3):
            pilot.app.report(LlmopsError("full", "the disk is full"))
            await pilot.pause()
        assert notices(pilot).count("the disk is full") == 1


def test_the_time_of_a_notice_begins_when_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late a busy app comes to showing it; and by no clock that somebody sets."""
    clock = FakeClock()
    monkeypatch.setattr("screens.shell.notices.time", SimpleNamespace(monotonic=clock))
    notice = Notice("started", timeout=6.0)
    clock.now += 60.0
    assert not notice.has_expired
    assert notice.time_left == 6.0
    clock.now += 5.9
    assert not notice.has_expired
    clock.now += 0.2
    assert notice.has_expired
    assert 0 < notice.time_left < 0.1
