"""Tools of other programs: servers of both eras, what is not approved, and servers that do harm."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.mcp_client.connection import ToolConnection
from llmops_tui.mcp_client.reading import MOST_TEXT, MOST_TOOLS
from llmops_tui.mcp_client.servers import ToolServer, add_server, remove_server, switch_tools, tool_server, tool_servers
from llmops_tui.user_files import approved_tool_servers_path
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import trust, withdraw
from tests.waiting import wait_for

SERVERS = Path(__file__).parent / "servers"


def added(workspace: Workspace, program: str, *arguments: str, variables: tuple[str, ...] = ()) -> ToolServer:
    """A server of the tests, as a user adds one."""
    return add_server(workspace, program, (sys.executable, str(SERVERS / f"{program}.py"), *arguments), variables)


_OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Note what is below this process already: servers that other tests share."""
    _OTHERS.clear()
    _OTHERS.update(process.pid for process in family())


def family() -> list[psutil.Process]:
    """All processes below this one that were not there when the test began."""
    return [process for process in psutil.Process().children(recursive=True) if process.pid not in _OTHERS]


@pytest.mark.slow
async def test_a_server_of_the_newer_era(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "s")
    monkeypatch.setenv("WANTED", "w")
    heard: list[str] = []
    async with ToolConnection(workspace, added(workspace, "official", variables=("WANTED",))) as connection:
        assert connection.facts is not None
        facts = connection.facts
        assert (facts["server"], facts["version"], facts["protocol"]) == ("counterpart", "7", "2026-07-28")
        tools = {tool["name"]: tool for tool in connection.tools}
        assert tools["add"]["parameters"]["required"] == ["a", "b"]
        assert (tools["add"]["reads_only"], tools["weather"]["reads_only"]) == (True, None)
        assert not any(tool["problem"] for tool in connection.tools)
        done = await connection.call("weather", {"city": "Graz"})
        assert (done.text, done.failed) == ("It rains in Graz.", False)
        assert (await connection.call("add", {"a": 2, "b": 3})).text.replace("\n", "").replace(" ", "") == '{"total":5}'
        # What fails is told, and the connection goes on.
        for tool, arguments in (("add", {"a": "x"}), ("fail", {}), ("no-such", {})):
            assert (await connection.call(tool, arguments)).failed
        # No variable that was not named, and not in the user's folder.
        told = (await connection.call("variables", {})).text
        assert "WANTED" in told
        assert "SOME_SECRET" not in told
        assert told.endswith(" in /")
        slow = asyncio.create_task(connection.call("slow", {}, heard.append))
        while not heard:
            await asyncio.sleep(0.01)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert heard[0] == "1 of 3 one of three"
        assert (await connection.call("weather", {"city": "Linz"})).text == "It rains in Linz."
    assert not family()


@pytest.mark.slow
async def test_a_server_of_the_older_era_without_the_package(workspace: Workspace) -> None:
    async with ToolConnection(workspace, added(workspace, "bare")) as connection:
        assert connection.facts is not None
        assert (connection.facts["server"], connection.facts["protocol"]) == ("bare", "2025-03-26")
        assert (await connection.call("echo", {"text": "ha"})).text == "haha"


async def refused(workspace: Workspace, server: ToolServer) -> str:
    """Why a server is not started; nothing was."""
    with pytest.raises(InputRefusedError) as no:
        async with ToolConnection(workspace, server):
            pass
    assert no.value.hint
    assert not family()
    return no.value.code


async def test_nothing_runs_that_was_not_approved(workspace: Workspace, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    server = add_server(workspace, "touch", ("touch", str(marker)))
    # Another command under an approved name, as somebody could write into the file.
    changed = server.model_copy(update={"command": ("touch", str(marker), str(marker))})
    assert await refused(workspace, changed) == "tool_server_unapproved"
    assert (
        await refused(workspace, server.model_copy(update={"variables": ("AWS_SECRET",)})) == "tool_server_unapproved"
    )
    # A copy of the workspace runs nothing, though this user approved the very command elsewhere.
    shutil.copytree(workspace.root, tmp_path / "copy")
    copy = Workspace(tmp_path / "copy")
    assert await refused(copy, tool_server(copy, "touch")) == "workspace_untrusted"
    withdraw(workspace)
    assert await refused(workspace, server) == "workspace_untrusted"
    with pytest.raises(InputRefusedError, match="not trusted"):
        add_server(workspace, "other", ("true",))
    trust(workspace)
    approved_tool_servers_path().write_text("")
    assert await refused(workspace, server) == "tool_server_unapproved"
    assert not marker.exists()


def test_servers_are_kept_switched_and_removed(workspace: Workspace) -> None:
    assert tool_servers(workspace) == []
    add_server(workspace, "one", ("a program", "with an argument"))
    add_server(workspace, "two", ("b",))
    assert tool_server(workspace, "one").line == "'a program' 'with an argument'"
    assert switch_tools(workspace, "one", {"x": "1", "y": "2"}).tools == {"x": "1", "y": "2"}
    assert switch_tools(workspace, "one", {"x": None, "y": "3"}).tools == {"y": "3"}
    for call, code in (
        (lambda: add_server(workspace, "one", ("c",)), "tool_server_exists"),
        (lambda: add_server(workspace, "a/b", ("c",)), "bad_name"),
        (lambda: add_server(workspace, "c", ()), "bad_command"),
        (lambda: add_server(workspace, "c", ("x\0y",)), "bad_command"),
    ):
        with pytest.raises(InputRefusedError) as no:
            call()
        assert no.value.code == code
    remove_server(workspace, "one")
    assert [one.name for one in tool_servers(workspace)] == ["two"]
    with pytest.raises(NotFoundError):
        switch_tools(workspace, "one", {})
    for text in ("{", "[]", '{"servers": [{"name": "x"}]}', '{"servers": [], "more": 1}', "[" * 200):
        workspace.tool_servers.write_text(text)
        with pytest.raises(InputRefusedError) as no:
            tool_servers(workspace)
        assert no.value.code == "bad_tool_servers"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        pytest.param("garbage", "no messages of the protocol", marks=pytest.mark.slow),
        ("exits", r"ended with exit code 4; its last words: .*no key was given"),
    ],
)
async def test_what_cannot_be_connected(workspace: Workspace, kind: str, told: str) -> None:
    with pytest.raises(LlmopsError, match=told) as no:
        async with ToolConnection(workspace, added(workspace, "hostile", kind)):
            pass
    assert (no.value.code, bool(no.value.hint)) == ("tool_server_failed", True)
    assert not family()


async def test_a_program_that_is_not_there(workspace: Workspace) -> None:
    with pytest.raises(LlmopsError, match="tool server gone: /no/such/program cannot be started: No such file") as no:
        async with ToolConnection(workspace, add_server(workspace, "gone", ("/no/such/program",))):
            pass
    assert no.value.code == "tool_server_not_started"


@pytest.mark.slow
async def test_a_server_that_never_answers_is_left_when_its_user_goes(workspace: Workspace) -> None:
    async def connect() -> None:
        async with ToolConnection(workspace, added(workspace, "hostile", "mute")):
            pass

    task = asyncio.create_task(connect())
    while len(family()) < 2:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not family()


@pytest.mark.slow
async def test_lists_and_schemas_that_are_too_much_are_cut_and_told(workspace: Workspace) -> None:
    async with ToolConnection(workspace, added(workspace, "hostile", "many")) as connection:
        assert connection.facts is not None
        assert len(connection.tools) == MOST_TOOLS
        assert connection.facts["note"] == f"10,000 tools were listed, and the first {MOST_TOOLS} are used"
    remove_server(workspace, "hostile")
    async with ToolConnection(workspace, added(workspace, "hostile", "bombs")) as connection:
        assert connection.facts is not None
        problems = [tool["problem"] for tool in connection.tools]
        assert [bool(problem) for problem in problems] == [True, True, True, False]
        assert "nested deeper" in problems[0]
        assert "more than 100,000 characters" in problems[1]
        assert len(connection.tools[3]["description"]) == 10_000
        assert "1 tools have the name of another" in connection.facts["note"]


@pytest.mark.parametrize(
    ("kind", "failed", "told"),
    [
        ("huge", False, f"[{3_000_000 - MOST_TEXT:,} of 3,000,000 characters were left out]"),
        pytest.param("escapes", False, "done", marks=pytest.mark.slow),
        pytest.param("line", True, "sent a line of more than 8 MB", marks=pytest.mark.slow),
        ("dies", True, "ended with exit code 3; its last words"),
        pytest.param("wrong", True, "The result cannot be used", marks=pytest.mark.slow),
    ],
)
async def test_results_that_do_harm_are_bounded_and_told(
    workspace: Workspace, kind: str, failed: bool, told: str
) -> None:
    async with ToolConnection(workspace, added(workspace, "hostile", kind)) as connection:
        done = await connection.call("act", {})
        assert (done.failed, told in done.text) == (failed, True), done.text[-500:]
        assert len(done.text) < MOST_TEXT + 200
    assert not family()


@pytest.mark.parametrize("kind", ["silent", pytest.param("regex", marks=pytest.mark.slow)])
async def test_a_call_that_never_ends_is_given_up(workspace: Workspace, kind: str) -> None:
    server = added(workspace, "hostile", kind)
    async with ToolConnection(workspace, server, call_seconds=1.0) as connection:
        with pytest.raises(LlmopsError, match="did not finish 'act' within 1 s") as no:
            await connection.call("act", {})
        assert no.value.code == "tool_silent"
    assert not family()


@pytest.mark.slow
async def test_what_a_server_leaves_behind_ends_with_it(workspace: Workspace) -> None:
    async with ToolConnection(workspace, added(workspace, "hostile", "stays")) as connection:
        assert connection.tools
        group = os.getpgid(family()[0].pid)
        members = [process for process in psutil.process_iter() if _group(process) == group]
        assert len(members) == 3
    wait_for(lambda: not any(process.is_running() and process.status() != "zombie" for process in members))


def _group(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return 0


async def test_a_killed_worker_takes_its_server_along(workspace: Workspace) -> None:
    async with ToolConnection(workspace, added(workspace, "bare")) as connection:
        worker, server = family()
        worker.kill()
        with pytest.raises(LlmopsError, match="not connected any more"):
            await connection.call("echo", {"text": "x"})
        wait_for(lambda: not server.is_running() or server.status() == "zombie")
