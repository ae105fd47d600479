"""What the terminal shows before the first frame, and what Textual is told before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pyte
import pytest
from textual.widgets import Static, TextArea

from llmops_tui.settings import Settings
from llmops_tui.user_files import settings_path
from llmops_tui.workspace.layout import Workspace
from screens.app import LlmopsApp
from screens.frame_delta import FrameDelta
from screens.opening import opening_frame
from screens.playground.state import Loaded, read
from screens.services import Services
from screens.widgets.table import Table
from tests.emulated import EmulatedScreen, EmulatedStream
from tests.screens.conftest import PROFILE, OpenApp, notices, settle, until

ASKED = """
from screens.launch import prepared
prepared()
from textual import constants
print(constants.MAX_FPS, constants.TEXTUAL_ANIMATIONS, constants.SMOOTH_SCROLL)
"""
OWN = ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "TEXTUAL_FPS", "TEXTUAL_ANIMATIONS", "TEXTUAL_SMOOTH_SCROLL")


@pytest.mark.parametrize(
    ("environment", "settings", "told"),
    [
        ({}, "", "60 full True"),
        ({}, 'animations = "off"', "60 none True"),
        ({"TMUX": "/tmp/tmux,1,0"}, "", "60 none False"),
        ({"SSH_CONNECTION": "1 2 3 4"}, "", "15 none False"),
        ({"SSH_CONNECTION": "1 2 3 4"}, 'animations = "full"', "15 full False"),
    ],
)
def test_textual_is_loaded_knowing_the_terminal_and_the_settings(
    environment: dict[str, str], settings: str, told: str
) -> None:
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(settings, encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if name not in OWN}
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        env=plain | environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == told


@pytest.mark.parametrize("size", [(80, 24), (12, 3)])
async def test_the_first_that_is_shown_says_what_is_opened_in_the_colours_of_the_app(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    async with open_app(size=size) as pilot:
        screen = EmulatedScreen(*size)
        screen.reset_mode(pyte.modes.DECAWM)
        text = FrameDelta().render(opening_frame(pilot.app, "support\x1b[7m-desk"), pilot.app.console)
        EmulatedStream(screen).feed(text)
    middle = size[1] // 2
    assert "Opening supp" in screen.display[middle]
    assert "".join(screen.display).split() == screen.display[middle].split()
    assert {(char.bg, char.reverse) for line in screen.buffer.values() for char in line.values()} == {("12151b", False)}


async def test_the_playground_denies_nothing_before_it_was_read(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def read_late(services: Services, prompt: str | None) -> Loaded:
        go.wait()
        return read(services, prompt)

    monkeypatch.setattr("screens.playground.reader.read", read_late)
    services = Services(sample, Settings())
    app = LlmopsApp(sample, profile=PROFILE, services=services)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        try:
            await until(pilot, lambda: bool(app.screen.query("#version-list")))
            tables = [app.screen.query_one(name, Table) for name in ("#version-list", "#run-list")]
            editors = [app.screen.query_one(name, TextArea) for name in ("#system", "#user")]
            assert {table.placeholder for table in tables} == {"Reading …"}
            assert {str(editor.placeholder) for editor in editors} == {"Reading …"}
            assert str(app.screen.query_one("#variable-fields > Static", Static).content) == "Reading …"
            app.action_command()
            await until(pilot, lambda: "there is nothing to copy yet" in notices(pilot))
        finally:
            go.set()
        await settle(pilot)
        assert tables[0].rows
        assert "Reading …" not in {str(editor.placeholder) for editor in editors}
        app.action_command()
        await until(pilot, lambda: "prompt run support" in notices(pilot))
    services.close()
