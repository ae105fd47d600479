"""Connections that stay between runs: lent again while nothing has changed, ended once something has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.mcp_client.connection import ToolConnection
from llmops_tui.mcp_client.kept_connections import KeptConnections
from llmops_tui.mcp_client.servers import ToolServer, add_server, remove_server, switch_tools, tool_server
from llmops_tui.mcp_client.toolbox import Toolbox
from llmops_tui.user_files import approved_tool_servers_path
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import withdraw
from tests.mcp.test_client import added, family


class Fake(ToolConnection):
    """A connection to nothing, which says what is done with it."""

    gone = False

    async def __aenter__(self) -> Self:
        log.append("connect")
        return self

    async def __aexit__(self, *_: object) -> None:
        log.append("end")

    @property
    def broken(self) -> bool:
        return self.gone

    async def list_again(self) -> None:
        log.append("list")
        if self.gone:
            raise LlmopsError("tool_server_failed", "it is gone")


log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


@pytest.fixture
async def kept(workspace: Workspace) -> AsyncIterator[KeptConnections]:
    made = KeptConnections(workspace, lambda server: Fake(workspace, server))
    yield made
    await made.close()


@pytest.fixture
def server(workspace: Workspace) -> ToolServer:
    """A server with a tool that is on."""
    add_server(workspace, "one", ("a", "b"))
    return switch_tools(workspace, "one", {"x": "1"})


async def use(kept: KeptConnections, server: ToolServer) -> Fake:
    async with kept.lent(server) as connection:
        assert isinstance(connection, Fake)
        return connection


async def test_the_next_run_has_the_same_connection_and_its_tools_as_they_are(
    kept: KeptConnections, server: ToolServer, workspace: Workspace
) -> None:
    first = await use(kept, server)
    # Other tools are on now; the command is the same.
    again = await use(kept, switch_tools(workspace, "one", {"y": "2"}))
    assert again is first
    assert again.server.tools == {"x": "1", "y": "2"}
    assert log == ["connect", "list"]
    await kept.close()
    assert log == ["connect", "list", "end"]
    with pytest.raises(LlmopsError) as no:
        await use(kept, server)
    assert no.value.code == "closing"


async def test_two_at_once_share_it(kept: KeptConnections, server: ToolServer) -> None:
    async with kept.lent(server) as first, kept.lent(server) as second:
        assert first is second
    assert log == ["connect", "list"]


async def test_another_command_under_the_name_is_another_server(
    kept: KeptConnections, server: ToolServer, workspace: Workspace
) -> None:
    await use(kept, server)
    remove_server(workspace, "one")
    await use(kept, add_server(workspace, "one", ("a", "c")))
    assert log == ["connect", "end", "connect"]


@pytest.mark.parametrize("how", ["broken", "left"])
async def test_what_broke_or_was_left_in_a_call_is_not_lent_again(
    kept: KeptConnections, server: ToolServer, how: str
) -> None:
    async with kept.lent(server) as connection:
        assert isinstance(connection, Fake)
        connection.gone, connection.left_a_call = how == "broken", how == "left"
    assert log == ["connect", "end"]
    await use(kept, server)
    assert log == ["connect", "end", "connect"]


async def test_one_that_is_connected_while_all_are_closed_is_ended(workspace: Workspace, server: ToolServer) -> None:
    closing = asyncio.Event()

    class Slow(Fake):
        async def __aenter__(self) -> Self:
            closing.set()
            await asyncio.sleep(0)
            return await super().__aenter__()

    kept = KeptConnections(workspace, lambda one: Slow(workspace, one))
    using = asyncio.create_task(use(kept, server))
    await closing.wait()
    await kept.close()
    with pytest.raises(LlmopsError, match="are closed"):
        await using
    assert log == ["connect", "end"]
    assert kept._watch is None


async def test_whoever_waits_is_told_when_the_connection_ends_under_it(
    workspace: Workspace, server: ToolServer
) -> None:
    connection = ToolConnection(workspace, server)
    process = type("Process", (), {"stdout": asyncio.StreamReader(), "stdin": None})()
    connection._reader = asyncio.create_task(connection._read(process))
    listing = asyncio.create_task(connection.list_again())
    calling = asyncio.create_task(connection.call("x", {}))
    await asyncio.sleep(0)
    connection._reader.cancel()
    for waiting in (listing, calling):
        with pytest.raises(LlmopsError, match="is not connected any more"):
            await waiting


async def test_what_was_left_in_a_listing_is_not_lent_again(workspace: Workspace, server: ToolServer) -> None:
    connection = ToolConnection(workspace, server)
    process = type("Process", (), {"stdout": asyncio.StreamReader(), "stdin": None})()
    connection._reader = asyncio.create_task(connection._read(process))
    listing = asyncio.create_task(connection.list_again())
    await asyncio.sleep(0)
    listing.cancel()
    await asyncio.wait([listing])
    assert connection.left_a_call
    connection._reader.cancel()


async def test_what_broke_while_nobody_used_it_is_connected_anew(kept: KeptConnections, server: ToolServer) -> None:
    (await use(kept, server)).gone = True
    await use(kept, server)
    assert log == ["connect", "end", "connect"]


@pytest.mark.parametrize("how", ["disapproved", "distrusted"])
async def test_what_may_not_run_any_more_is_ended_and_refused(
    kept: KeptConnections, server: ToolServer, workspace: Workspace, how: str
) -> None:
    await use(kept, server)
    if how == "disapproved":
        approved_tool_servers_path().write_text("")
    else:
        withdraw(workspace)

    async def refused() -> None:
        with pytest.raises(InputRefusedError):
            await ToolConnection(workspace, server).__aenter__()

    await refused()
    await kept.end_unwanted()
    assert log == ["connect", "end"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["removed", "off", "unreadable"])
async def test_a_change_from_outside_ends_it(
    kept: KeptConnections, server: ToolServer, workspace: Workspace, how: str
) -> None:
    """Nobody asks for the connection: it is the file that is looked at."""
    await use(kept, server)
    if how == "removed":
        remove_server(workspace, "one")
    elif how == "off":
        switch_tools(workspace, "one", {"x": None})
    else:
        workspace.tool_servers.write_text("{")
    async with asyncio.timeout(600):
        while "end" not in log:
            await asyncio.sleep(0.01)
    assert log == ["connect", "end"]


async def test_what_is_removed_while_it_is_used_ends_after_that(
    kept: KeptConnections, server: ToolServer, workspace: Workspace
) -> None:
    async with kept.lent(server):
        remove_server(workspace, "one")
        await kept.end_unwanted()
        assert log == ["connect"]
    assert log == ["connect", "end"]


@pytest.mark.slow
async def test_a_real_server_stays_the_same_process_until_it_is_let_go(workspace: Workspace) -> None:
    server = added(workspace, "bare")
    kept = KeptConnections(workspace)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(kept.close)
        async with kept.lent(server) as connection:
            digest = connection.tools[0]["digest"]
        before = family()
        server = switch_tools(workspace, "bare", {"echo": digest})
        for _ in range(3):
            async with Toolbox([server], kept.lent) as toolbox:
                assert (await toolbox.call(toolbox.tools[0], {"text": "ha"})).text == "haha"
        assert family() == before
        # Killed while nobody used it: the next run has another, and nothing of the first is left.
        before[-1].kill()
        async with Toolbox([tool_server(workspace, "bare")], kept.lent) as toolbox:
            assert (await toolbox.call(toolbox.tools[0], {"text": "ha"})).text == "haha"
        assert not {process.pid for process in before} & {process.pid for process in family()}
    assert not family()
