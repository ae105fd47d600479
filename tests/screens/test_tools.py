"""Tools in the playground: servers are added and their tools switched on, and each call waits for a key."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from llmops_tui.mcp_client.connection import ToolConnection
from llmops_tui.mcp_client.servers import add_server, switch_tools, tool_server, tool_servers
from llmops_tui.user_files import approved_tool_servers_path
from llmops_tui.workspace.layout import Workspace
from screens.playground.answer_pane import AnswerPane
from screens.playground.tool_dialogs import CallDialog, ToolsDialog
from screens.shell.notices import Notice
from screens.widgets.dialogs import ChoiceDialog, LineDialog
from screens.widgets.stream_view import StreamView
from tests.fakes import FakeModelServer
from tests.representatives import representatives
from tests.screens.conftest import OpenApp, notices, settle, until

SERVERS = Path(__file__).parents[1] / "mcp" / "servers"
BARE = (sys.executable, str(SERVERS / "bare.py"))


@pytest.fixture(autouse=True)
def notices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told is looked at once all is over, however long that takes."""
    monkeypatch.setattr(Notice, "has_expired", False)
    monkeypatch.setattr(Notice, "time_left", 3600.0)


async def with_echo(workspace: Workspace) -> None:
    """A server whose tool ``echo`` is on."""
    server = add_server(workspace, "bare", BARE)
    async with ToolConnection(workspace, server) as connection:
        switch_tools(workspace, "bare", {"echo": connection.tools[0]["digest"]})


def call(text: str, number: int = 0) -> dict[str, Any]:
    """A piece of an answer that calls ``echo``."""
    function = {"name": "echo", "arguments": json.dumps({"text": text})}
    return {"tool_calls": [{"index": 0, "id": f"c{number}", "type": "function", "function": function}]}


def shown(pilot: Pilot[int], widget: str) -> str:
    """What a line of the playground says."""
    return str(pilot.app.screen_stack[0].query_one(widget, Static).content)


def answer(pilot: Pilot[int]) -> str:
    """The answer, without what tools said."""
    return pilot.app.screen_stack[0].query_one("#answer", StreamView).text


def bare() -> list[psutil.Process]:
    """The tool servers that run."""
    found = psutil.Process().children(recursive=True)
    return [p for p in found if p.status() != "zombie" and "bare.py" in " ".join(p.cmdline())]


async def asked(pilot: Pilot[int]) -> CallDialog:
    """The dialog of the next call."""
    await until(pilot, lambda: isinstance(pilot.app.screen, CallDialog))
    dialog = pilot.app.screen
    assert isinstance(dialog, CallDialog)
    return dialog


def said(server: FakeModelServer) -> list[str]:
    """What tools said, as the last request has it."""
    return [message["content"] for message in server.requests[-1]["messages"] if message["role"] == "tool"]


@pytest.mark.slow
async def test_a_server_is_added_and_its_tools_are_switched_on(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        await pilot.press("f9", "a", "t")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        for line in ("bare", shlex.join(BARE)):
            await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
            pilot.app.screen.query_one(Input).value = line
            await pilot.press("enter")
            await pilot.pause()
        await until(pilot, lambda: isinstance(pilot.app.screen, ToolsDialog))
        assert pilot.app.screen.query_one(OptionList).option_count == 1
        assert "Say it again." in str(pilot.app.screen.query_one("#tool", Static).content)
        await pilot.press("space", "enter")
        await settle(pilot)
        assert list(tool_server(sample, "bare").tools) == ["echo"]
        # And off again, and away.
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ToolsDialog))
        await pilot.press("D")
        await settle(pilot)
        assert tool_servers(sample) == []


@pytest.mark.parametrize(
    ("key", "told", "state"),
    representatives([("a", ["haha"], "✓ echo"), ("d", ["Not called: the user denied this call."], "✗ echo")], "d"),
)
async def test_a_call_waits_for_a_key(
    open_app: OpenApp, sample: Workspace, server: FakeModelServer, key: str, told: list[str], state: str
) -> None:
    await with_echo(sample)
    server.turns = [["I ask. ", call("ha")]]
    async with open_app() as pilot:
        await pilot.press("f5")
        dialog = await asked(pilot)
        assert '"text": "ha"' in str(dialog.query_one("#arguments", Static).content)
        assert len(server.requests) == 1
        await pilot.press(key)
        await settle(pilot)
        assert said(server) == told
        assert answer(pilot) == "I ask. Hello world."
        assert state in shown(pilot, "#calls")
        assert "stop" in shown(pilot, "#figures")
        assert pilot.app.screen.cli_command().endswith("--mcp bare")  # type: ignore[attr-defined]
    assert not bare()


@pytest.mark.slow
async def test_a_word_for_the_run_and_the_next_run_asks_again(
    open_app: OpenApp, sample: Workspace, server: FakeModelServer
) -> None:
    await with_echo(sample)
    server.turns = [[call("a")], [call("b", 1)]]
    async with open_app() as pilot:
        await pilot.press("f5")
        await asked(pilot)
        await pilot.press("A")
        await settle(pilot)
        assert said(server) == ["aa", "bb"]
        # The server stays for the next run, and goes with the app.
        before = bare()
        assert len(before) == 1
        server.turns = [[call("c")]]
        await pilot.press("f5")
        await asked(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert not pilot.app.screen.query_one(AnswerPane).running
        assert "cancelled" in shown(pilot, "#figures")
        assert len(server.requests) == 4
        assert bare() == before
    assert not bare()


async def test_what_is_not_approved_is_not_started_and_the_run_goes_on(
    open_app: OpenApp, sample: Workspace, server: FakeModelServer
) -> None:
    await with_echo(sample)
    approved_tool_servers_path().write_text("")
    async with open_app() as pilot:
        await pilot.press("f5")
        await settle(pilot)
        assert answer(pilot) == "Hello world."
        assert "tools" not in server.requests[0]
        assert "never approved on this machine" in notices(pilot)


@pytest.mark.slow
async def test_a_server_that_does_not_start_is_told(open_app: OpenApp, sample: Workspace) -> None:
    add_server(sample, "hostile", (sys.executable, str(SERVERS / "hostile.py"), "exits"))
    switch_tools(sample, "hostile", {"act": "x"})
    async with open_app() as pilot:
        await pilot.press("f5")
        await settle(pilot)
        assert "ended with exit code 4" in pilot.app.screen.query_one(AnswerPane).problem
        assert "error: tool_server_failed" in shown(pilot, "#figures")


@pytest.mark.slow
async def test_what_a_tool_writes_does_not_reach_the_terminal(
    open_app: OpenApp, sample: Workspace, server: FakeModelServer
) -> None:
    made = add_server(sample, "hostile", (sys.executable, str(SERVERS / "hostile.py"), "escapes"))
    async with ToolConnection(sample, made) as connection:
        switch_tools(sample, "hostile", {"act": connection.tools[0]["digest"]})
    function = {"name": "act", "arguments": '{"x": "\\u001b[2J"}'}
    server.turns = [[{"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]}]]
    async with open_app() as pilot:
        await pilot.press("f5")
        dialog = await asked(pilot)
        drawn = "".join(str(widget.content) for widget in dialog.query(Static))
        await pilot.press("a")
        await settle(pilot)
        drawn += shown(pilot, "#calls")
        assert "done" in drawn
        assert not set(drawn) & set("\x1b\x07\u202e")
