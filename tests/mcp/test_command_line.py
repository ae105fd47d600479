"""Tool servers on the command line, and runs with tools."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from llmops_tui.maintenance.trust_review import consent, describe, inspect
from llmops_tui.mcp_client.rules import ToolRule
from llmops_tui.mcp_client.servers import add_server, set_rules, tool_server
from llmops_tui.user_files import approved_tool_servers_path
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import withdraw
from tests.commands import Llmops, llmops

SERVERS = Path(__file__).parent / "servers"


def test_servers_and_tools(workspace: Workspace) -> None:
    command = Llmops(workspace)
    made = command.run("tools", "add", "bare", "--env", "LANG", "--", sys.executable, str(SERVERS / "bare.py"))
    assert made == {
        "server": "bare",
        "command": [sys.executable, str(SERVERS / "bare.py")],
        "variables": ["LANG"],
        "approved": True,
        "tools": [],
        "rules": [],
    }
    shown = command.run("tools", "show", "bare")
    assert [(tool["name"], tool["on"]) for tool in shown["tools"]] == [("echo", False)]
    assert command.run("tools", "on", "bare", "echo")["tools"] == ["echo"]
    assert command.run("tools", "show", "bare")["tools"][0]["on"]
    assert command.run("tools", "on", "bare", "no-such", code=3)["error"]["code"] == "tool_not_found"
    assert command.run("tools", "off", "bare", "--all")["tools"] == []
    command.run("tools", "off", "bare", code=2)
    assert [one["server"] for one in command.run("tools", "list")["servers"]] == ["bare"]
    command.run("tools", "remove", "bare")
    assert command.run("tools", "remove", "bare", code=3)["error"]["code"] == "tool server_not_found"


def test_escape_sequences_of_a_server_are_not_printed(workspace: Workspace) -> None:
    add_server(workspace, "hostile", (sys.executable, str(SERVERS / "hostile.py"), "escapes"))
    done = llmops("tools", "show", "hostile", workspace=workspace)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e")
    assert "evil" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--mcp", "bare"), "--approve-tools makes all calls without asking"),
        (("--approve-tools",), "needs --mcp"),
        (("--tool-choice", "required"), "needs --mcp"),
    ],
)
def test_calls_are_approved_by_somebody(sample: Workspace, arguments: tuple[str, ...], told: str) -> None:
    add_server(sample, "bare", ("a program",))
    done = llmops(
        "prompt", "run", "support", "--model", "support-base", "--var", "question=x", *arguments, workspace=sample
    )
    assert done.returncode == 2
    assert told in done.stderr


def test_a_run_needs_tools_that_are_on(sample: Workspace) -> None:
    add_server(sample, "bare", (sys.executable, str(SERVERS / "bare.py")))
    asked = ("prompt", "run", "support", "--model", "support-base", "--var", "question=x", "--approve-tools")
    done = llmops("--json", *asked, "--mcp", "bare", workspace=sample)
    assert json.loads(done.stdout)["error"]["code"] == "no_tools"
    assert json.loads(llmops("--json", *asked, "--mcp", "no", workspace=sample).stdout)["error"]["code"] == (
        "tool server_not_found"
    )


def test_rules_of_somebody_else_are_not_made_ones_own(workspace: Workspace) -> None:
    add_server(workspace, "files", ("/nowhere/program",))
    theirs = [ToolRule(tool=tool, allow=True) for tool in ("read", "*")]
    set_rules(workspace, "files", theirs)
    followed = approved_tool_servers_path().read_text().splitlines()
    approved_tool_servers_path().write_text("\n".join(followed[:-1]) + "\n")
    assert tool_server(workspace, "files").followed_rules == ()
    # Neither by one that is removed, nor by one that is added.
    command = Llmops(workspace)
    assert command.run("tools", "ask", "files", "read")["rules"] == []
    set_rules(workspace, "files", [])
    assert command.run("tools", "ask", "files", "read", code=3)["error"]["code"] == "rule_not_found"


def test_consent_to_a_workspace_is_consent_to_its_commands(workspace: Workspace) -> None:
    add_server(workspace, "other", ("a program", "x"), ("TOKEN",))
    approved_tool_servers_path().write_text("")
    request = inspect(workspace)
    assert request.is_new
    assert "the tool server other runs, with the variables TOKEN: 'a program' x" in "\n".join(describe(request))
    withdraw(workspace)
    consent(workspace, inspect(workspace))
    assert tool_server(workspace, "other").approved
    assert not inspect(workspace).is_new
