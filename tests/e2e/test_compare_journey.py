"""Comparing in a terminal without a mouse: columns, a vote, a kill, the board as it was, an answer from inside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.prompts.compare.boards import CURRENT, Boards
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.conftest import OpenTerminal

pytestmark = pytest.mark.slow


def test_compare_vote_be_killed_go_on_and_look_inside(terminal: OpenTerminal, tmp_path: Path) -> None:
    app = terminal("demo", "--dir", str(tmp_path / "demo"))
    workspace = Workspace(tmp_path / "demo" / ".llmops")
    try:
        app.wait("{{ question }}")
        app.wait("support-base Q8_0")
        app.child.send(b"\x1bv")
        app.wait("1 column")
        app.press("v")
        app.wait("Versions of support as columns")
        app.press(" ", " ", "enter")
        app.wait("2 columns")
        app.press("f5")
        app.wait("1 asked")
        app.wait(lambda text: text.count("stop") + text.count("length") >= 2)
        app.press("b")
        app.wait("blind: 1–2 votes")
        app.press("1")
        app.wait("1 voted")
        app.wait("★")
        os.kill(app.child.pid, signal.SIGKILL)
        kept = Boards(EventLog(workspace)).load(CURRENT)
        assert [len(one.votes) for one in kept.rounds] == [1]
        again = terminal("--workspace", str(workspace.root))
        again.wait("support-base Q8_0")
        again.child.send(b"\x1bv")
        again.wait("1 voted")
        again.wait("★")
        again.press("escape")
        again.wait("{{ question }}")
        # Not escape and then the key: an app that is busy reads both at once, as one key with alt.
        again.jump("a", "a Answer")
        again.press("i")
        again.wait("the model ended it")
        again.wait("id ")
        again.press("down", "enter")
        again.wait("▸")
        again.press("p")
        again.wait("of the template")
        again.leave("of the template")
        again.leave("the model ended it")
        again.wait("{{ question }}")
        again.press("ctrl+q")
        assert again.finish() == 0
        assert again.unchanged()
    finally:
        supervisor = ServerSupervisor(workspace)
        for handle in supervisor.running():
            supervisor.stop(handle.model)
