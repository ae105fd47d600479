"""Connections to tool servers that stay between runs, for as long as their user stays.

Connecting takes seconds, most of it what a server and the protocol's package load. What is kept is what was approved: before
each use the command is looked at again and the tools are listed again, and a connection whose server was changed, removed,
switched off or disapproved is ended. So is one in which a call was left before its end: nobody knows what the server still does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.mcp_client.connection import ToolConnection
from llmops_tui.mcp_client.servers import ToolServer, require_may_run, tool_servers
from llmops_tui.user_files import approved_tool_servers_path
from llmops_tui.workspace.layout import Workspace

_LOOK_SECONDS = 1.0
_Stamps = list[tuple[int, int, int] | None]


@dataclass(eq=False)
class _Kept:
    """A connection, and how many use it now."""

    connection: ToolConnection
    users: int = 0
    unwanted: bool = False


class KeptConnections:
    """The connections of one user, such as a screen; :meth:`close` ends all of them."""

    def __init__(self, workspace: Workspace, connect: Callable[[ToolServer], ToolConnection] | None = None) -> None:
        self._workspace = workspace
        self._connect = connect or partial(ToolConnection, workspace)
        self._kept: dict[str, _Kept] = {}
        self._all: set[_Kept] = set()
        self._alone = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def lent(self, server: ToolServer) -> AsyncIterator[ToolConnection]:
        """The connection to a server, with its tools as they are now; a new one where none is kept or it broke.

        Raises:
            InputRefusedError: the command may not run any more.
            LlmopsError: as :class:`.ToolConnection`; ``closing``: all were ended.
        """
        async with self._alone:
            kept = await self._live(server)
            kept.users += 1
        try:
            yield kept.connection
        finally:
            kept.users -= 1
            if kept.connection.left_a_call or kept.connection.broken:
                self._drop(kept)
            if kept.unwanted and not kept.users:
                await self._end(kept)

    async def end_unwanted(self) -> None:
        """End those whose server is not what it was, or has no tool that is on; what is in use ends after its use."""
        try:
            known = {server.name: server for server in await asyncio.to_thread(self._allowed)}
        except LlmopsError:
            known = {}
        for name, kept in list(self._kept.items()):
            now = known.get(name)
            if now is None or now.digest != kept.connection.server.digest or not (now.tools or kept.users):
                self._drop(kept)
                if not kept.users:
                    await self._end(kept)

    async def close(self) -> None:
        """End all of them, whatever they do; none is lent after that."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        self._kept.clear()
        await asyncio.gather(*(self._end(kept) for kept in list(self._all)))

    async def _live(self, server: ToolServer) -> _Kept:
        kept = self._kept.get(server.name)
        if kept is not None:
            if await self._is_good(kept, server):
                # Which tools are on may have changed.
                kept.connection.server = server
                return kept
            self._drop(kept)
            if not kept.users:
                await self._end(kept)
        if self._closed:
            raise _closing()
        before = self._stamps()
        connection = await self._connect(server).__aenter__()
        if self._closed:
            # Meanwhile: nobody would end it any more.
            await connection.__aexit__()
            raise _closing()
        made = self._kept[server.name] = _Kept(connection)
        self._all.add(made)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look(before))
        return made

    async def _is_good(self, kept: _Kept, server: ToolServer) -> bool:
        connection = kept.connection
        if connection.server.digest != server.digest or connection.broken or connection.left_a_call:
            return False
        try:
            await asyncio.to_thread(require_may_run, self._workspace, server)
            await connection.list_again()
        except LlmopsError:
            # Connecting anew tells why, where that fails as well.
            return False
        return True

    def _drop(self, kept: _Kept) -> None:
        """Lend it no more."""
        kept.unwanted = True
        if self._kept.get(kept.connection.server.name) is kept:
            del self._kept[kept.connection.server.name]

    async def _end(self, kept: _Kept) -> None:
        self._all.discard(kept)
        await kept.connection.__aexit__()

    def _allowed(self) -> list[ToolServer]:
        """The servers that are there and may run."""
        found = []
        for server in tool_servers(self._workspace):
            with contextlib.suppress(InputRefusedError):
                require_may_run(self._workspace, server)
                found.append(server)
        return found

    def _stamps(self) -> _Stamps:
        return [_stamp(path) for path in (self._workspace.tool_servers, approved_tool_servers_path())]

    async def _look(self, seen: _Stamps) -> None:
        """See to it that a change from outside, by a command or in a file, ends what is not wanted any more."""
        while self._kept:
            await asyncio.sleep(_LOOK_SECONDS)
            if (now := self._stamps()) != seen:
                seen = now
                await self.end_unwanted()


def _closing() -> LlmopsError:
    return LlmopsError("closing", "the connections to tool servers are closed")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
