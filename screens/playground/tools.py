"""Tools in the playground and in chats: choose servers and tools, and have the calls of a run approved."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from textual.content import Content

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.safe_text import safe_line
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.scripted.script import Script
    from llmops_tui.mcp_client.kept_connections import KeptConnections
    from llmops_tui.mcp_client.messages import Ready
    from llmops_tui.mcp_client.servers import ToolServer
    from llmops_tui.prompts.tool_rounds import CallStep, Decision, ToolRounds, Tools

_NEW, _MOCK = "+", "~"
_SHOWN_CALLS = 6
# Of a token, as English and JSON have them.
_CHARACTERS = 4
_MARKS = {"waits": "…", "runs": "…", "done": "✓", "failed": "✗", "denied": "✗", "refused": "✗", "asked": "?"}


class ToolState(Protocol):
    """What a screen that offers tools keeps of them.

    Attributes:
        tool_servers: the servers whose tools the last run offered.
        connections: those to tool servers, once one was needed; they stay between runs.
        mock_tools: tools with mock results, where a file of them was chosen.
    """

    tool_servers: tuple[str, ...]
    connections: KeptConnections | None
    mock_tools: Script | None


def kept_connections(shell: Shell, state: ToolState) -> KeptConnections:
    """The connections of this screen, which end with it."""
    if state.connections is None:
        from llmops_tui.mcp_client.kept_connections import KeptConnections

        state.connections = KeptConnections(shell.services.workspace)
    return state.connections


async def choose_tools(shell: Shell, state: ToolState) -> None:
    """Choose a server or add one, and switch its tools."""
    from llmops_tui.mcp_client.servers import tool_servers

    servers = await asyncio.to_thread(tool_servers, shell.services.workspace)
    choices = [Choice(one.name, one.name, f"{len(one.tools)} on  {one.line}") for one in servers]
    choices.append(Choice(_NEW, "add a server", "by its command"))
    mocks = f"{len(state.mock_tools.tools)} offered" if state.mock_tools is not None else "none; a file as in suites"
    choices.append(Choice(_MOCK, "tools with mock results", mocks))
    name = await shell.ask(ChoiceDialog("Tool servers", choices))
    if name == _MOCK:
        await _choose_mocks(shell, state)
        return
    if name == _NEW:
        server = await _added(shell)
    else:
        server = next((one for one in servers if one.name == name), None)
    if server is not None:
        await _switch(shell, kept_connections(shell, state), server)


async def _choose_mocks(shell: Shell, state: ToolState) -> None:
    """Offer the tools of a file, or none of those that are offered."""
    from pathlib import Path

    from llmops_tui.evaluation.scripted.mock_toolbox import read_mock_tools
    from llmops_tui.user_files import with_home

    hint = "a file in YAML: a list of tools with name, parameters and results, as in suites; empty: none"
    path = await shell.ask(LineDialog("Tools with mock results", hint))
    if path is None:
        return
    state.mock_tools = await asyncio.to_thread(read_mock_tools, with_home(Path(path))) if path.strip() else None
    names = ", ".join(tool.name for tool in state.mock_tools.tools) if state.mock_tools is not None else "none"
    shell.say(f"Tools with mock results, until the app ends: {names}.")


async def _added(shell: Shell) -> ToolServer | None:
    from llmops_tui.mcp_client.servers import add_server

    name = await shell.ask(LineDialog("Name of the server", "letters, digits and _ -"))
    line = (
        await shell.ask(LineDialog("Its command", "a program and its arguments; it will run on this machine"))
        if name
        else ""
    )
    if not name or not line:
        return None
    try:
        command = tuple(shlex.split(line))
    except ValueError as error:
        raise InputRefusedError("bad_command", f"the command cannot be read: {error}", "Close the quotes.") from error
    return await asyncio.to_thread(add_server, shell.services.workspace, name, command)


async def _switch(shell: Shell, connections: KeptConnections, server: ToolServer) -> None:
    try:
        await _switched(shell, connections, server)
    finally:
        # What was removed, or has no tool that is on, need not run.
        await connections.end_unwanted()


async def _switched(shell: Shell, connections: KeptConnections, server: ToolServer) -> None:
    from llmops_tui.mcp_client.servers import remove_server, set_rules, switch_tools
    from screens.playground.tool_dialogs import REMOVE, ToolsChange, ToolsDialog

    shell.say(f"Starting {server.name} …")
    workspace = shell.services.workspace
    try:
        async with connections.lent(server) as connection:
            facts = connection.facts
    except LlmopsError as error:
        if await shell.ask(ConfirmDialog(f"{error.message}\nRemove {server.name}?", server.line)):
            await asyncio.to_thread(remove_server, workspace, server.name)
        return
    assert facts is not None
    change = await shell.ask(ToolsDialog(server.name, facts, server.tools, server.followed_rules, _cost(server, facts)))
    if change == REMOVE:
        await asyncio.to_thread(remove_server, workspace, server.name)
        shell.say(f"{server.name} is removed.")
    elif isinstance(change, ToolsChange):
        kept = await asyncio.to_thread(switch_tools, workspace, server.name, change.switched)
        if change.rules != server.followed_rules:
            kept = await asyncio.to_thread(set_rules, workspace, server.name, change.rules)
        shell.say(f"{server.name}: {len(kept.tools)} tools are on; runs offer them to the model.")


def _cost(server: ToolServer, facts: Ready) -> str:
    """What the tools take of a model's context, roughly: which tokens it has is known when it is loaded."""
    from llmops_tui.mcp_client.toolbox import list_text

    on = [tool for tool in facts["tools"] if server.tools.get(tool["name"]) == tool["digest"]]
    every, now = (len(list_text(tools)) // _CHARACTERS for tools in (facts["tools"], on))
    return f"All take about {every:,} tokens of each request, those that are on {now if on else 0:,}."


@asynccontextmanager
async def offering(shell: Shell, state: ToolState, stop: Callable[[], None]) -> AsyncIterator[ToolRounds | None]:
    """The tools that are on, connected for a run; none where there are none. What may not be started is told and left out."""
    from llmops_tui.mcp_client.servers import require_may_run, tool_servers

    workspace = shell.services.workspace
    servers = []
    for server in await asyncio.to_thread(tool_servers, workspace) if workspace.tool_servers.exists() else ():
        try:
            if server.tools:
                await asyncio.to_thread(require_may_run, workspace, server)
                servers.append(server)
        except InputRefusedError as error:
            shell.say(f"Its tools are not offered: {error.told}", severity="warning", seconds=12.0)
    state.tool_servers = tuple(server.name for server in servers)
    if not servers and state.mock_tools is None:
        yield None
        return
    from llmops_tui.mcp_client.toolbox import Toolbox
    from llmops_tui.prompts.tool_rounds import Decision, Together, ToolRounds
    from screens.playground.tool_dialogs import STOP, CallDialog

    sources: list[Tools] = []
    if state.mock_tools is not None:
        from llmops_tui.evaluation.scripted.mock_toolbox import MockToolbox

        sources.append(MockToolbox(state.mock_tools))
    async with AsyncExitStack() as stack:
        if servers:
            toolbox = await stack.enter_async_context(Toolbox(servers, kept_connections(shell, state).lent))
            for note in toolbox.notes:
                shell.say(note, severity="warning", seconds=12.0)
            sources.append(toolbox)
        offered = Together(*sources)

        async def approve(call: CallStep) -> Decision:
            tool = offered.find(call.function)
            word = await shell.ask(CallDialog(call, tool.record["description"] if tool is not None else ""))
            if word == STOP:
                stop()
                return Decision.DENY
            return Decision(word)

        yield ToolRounds(offered, approve)


def calls_text(calls: dict[str, CallStep]) -> Content:
    """The last calls of a run, a line each: where it is, what with, and what came."""
    lines = []
    for call in list(calls.values())[-_SHOWN_CALLS:]:
        good = call.state in {"done", "runs", "waits"}
        lines.append(
            Content.assemble(
                (f"{_MARKS[call.state]} ", "$success" if good else "$error"),
                safe_line(f"{call.function} {call.arguments}", 200),
                (f"  {call.state}  " if not call.text else "  → ", "$muted"),
                (safe_line(call.text, 200), "$muted"),
            )
        )
    return Content("\n").join(lines)
