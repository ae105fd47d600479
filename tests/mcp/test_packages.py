"""Both sides of the protocol beside other people's programs: a server from a package, and the official client in TypeScript."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.child_python import module_command
from llmops_tui.mcp_client.connection import ToolConnection
from llmops_tui.mcp_client.rules import ToolRule
from llmops_tui.mcp_client.servers import add_server, set_rules, switch_tools, tool_server
from llmops_tui.mcp_client.toolbox import Toolbox
from llmops_tui.prompts.tool_rounds import CallStep, Decision, ToolRounds
from llmops_tui.workspace.layout import Workspace
from tests.clients.running import HERE, beside

pytestmark = pytest.mark.slow


def installed() -> tuple[str, Path]:
    """Node, and the folder with the packages; the test is skipped where they are not there."""
    node, folder = shutil.which("node"), beside("clients-mcp")
    if node is None:
        pytest.skip("node is not installed")
    if not (folder / "node_modules").is_dir():
        pytest.skip(f"{folder} is not there: make test-slow installs it where npm is")
    return node, folder


def calls(*made: tuple[str, dict[str, object]]) -> Any:
    return [
        {"id": str(n), "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments) in enumerate(made)
    ]


async def test_the_file_system_server_is_used_with_keys_and_rules(workspace: Workspace, tmp_path: Path) -> None:
    node, folder = installed()
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text("Ann was here.")
    program = folder / "node_modules" / "@modelcontextprotocol" / "server-filesystem" / "dist" / "index.js"
    server = add_server(workspace, "files", (node, str(program), str(notes)))
    async with ToolConnection(workspace, server) as connection:
        tools = {tool["name"]: tool for tool in connection.tools}
        assert {"read_text_file", "write_file", "list_directory"} <= set(tools)
        assert not any(tool["problem"] for tool in tools.values())
        assert tools["read_text_file"]["parameters"]["required"] == ["path"]
        digests: dict[str, str | None] = {name: tools[name]["digest"] for name in ("read_text_file", "write_file")}
    switch_tools(workspace, "files", digests)
    set_rules(workspace, "files", [ToolRule(tool="read_text_file", allow=True, when={"path": f"{notes}/*"})])
    asked: list[str] = []

    async def deny(step: CallStep) -> Decision:
        asked.append(f"{step.tool} {step.arguments}")
        return Decision.DENY

    async with Toolbox([tool_server(workspace, "files")], lambda one: ToolConnection(workspace, one)) as toolbox:
        rounds = ToolRounds(toolbox, deny)
        made = calls(
            ("read_text_file", {"path": str(notes / "a.txt")}),
            ("read_text_file", {"path": f"{notes}/../outside.txt"}),
            ("write_file", {"path": str(notes / "b.txt"), "content": "x"}),
        )
        steps = [step async for step in rounds.answer(made)]
    ended = [step for step in steps if step.state in {"done", "denied", "failed"}]
    assert [(step.tool, step.state) for step in ended] == [
        ("read_text_file", "done"), ("read_text_file", "denied"), ("write_file", "denied"),
    ]  # fmt: skip
    assert "Ann was here." in ended[0].text
    assert len(asked) == 2
    assert not (notes / "b.txt").exists()


def test_the_official_client_uses_the_workspace(sample: Workspace) -> None:
    node, folder = installed()
    # Packages are looked for from where a script lies.
    program = shutil.copy(HERE / "mcp" / "official_client.mjs", folder)
    asked = [
        {"name": "list_prompts", "arguments": {}},
        {"name": "render_prompt", "arguments": {"ref": "support", "variables": {"question": "When?"}}},
        {"name": "query", "arguments": {"sql": "SELECT count(*) AS n FROM triage"}},
        {"uri": "llmops://prompt/support@1"},
        {"name": "save_prompt", "arguments": {"name": "x", "template": "y"}},
        {"name": "show_prompt", "arguments": {"ref": "none"}},
    ]
    command = [node, str(program), *module_command("llmops_tui"), "--workspace", str(sample.root), "mcp"]
    done = subprocess.run(
        command, input="".join(json.dumps(one) + "\n" for one in asked), capture_output=True, text=True, check=True
    )
    facts, prompts, rendered, counted, resource, refused, missing = map(json.loads, done.stdout.splitlines())
    assert facts["server"]["name"] == "llmops"
    assert {"list_prompts", "run_prompt", "query"} <= set(facts["tools"])
    assert "save_prompt" not in facts["tools"]
    assert "llmops://prompt/support" in facts["resources"][0] or facts["resources"]
    names = {one["prompt"] for one in prompts["structuredContent"]["prompts"]}
    assert {"support", "triage"} <= names
    assert rendered["structuredContent"]["messages"][-1]["content"] == "When?"
    assert counted["structuredContent"]["rows"][0][0] > 100
    assert "Marlow & Finch" in resource["contents"][0]["text"]
    # Without permission nothing is written, and an error is a result that says what to do.
    assert "failed" in refused or refused.get("isError")
    assert missing["isError"]
    assert json.loads(missing["content"][0]["text"])["error"]["code"] == "prompt_not_found"
