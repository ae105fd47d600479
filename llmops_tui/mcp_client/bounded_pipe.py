"""A tool server's process and its pipes, as the package of the protocol wants a transport: bounded, and ended for sure.

The package's own transport reads lines of any length. This one ends a server that sends a longer one, keeps the last words
of its standard error, and starts it so that it dies with this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
import mcp_types as wire
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from llmops_tui.jobs.process import describe_exit, die_with_parent
from llmops_tui.mcp_client.ending import exits_within

MOST_LINE = 8_000_000
# A server may say a few things that are no messages, such as a greeting; more than that is no server.
_MOST_NOISE = 50
_LAST_WORDS = 2000
_END_SECONDS = 2.0
# Variables that are no secrets and that most programs need.
_HARMLESS = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


class ServerPipe:
    """One server's process. ``over`` is set when nothing more comes from it; :attr:`ended` says why."""

    def __init__(self, command: Sequence[str], variables: Sequence[str]) -> None:
        self._command = command
        self._environment = {n: os.environ[n] for n in (*_HARMLESS, *variables) if n in os.environ}
        self._words = b""
        self._fault = ""
        self._process: asyncio.subprocess.Process | None = None
        self.over = asyncio.Event()

    @property
    def ended(self) -> str:
        """Why the connection ended, as a predicate, with the server's last words."""
        code = self._process.returncode if self._process is not None else None
        why = self._fault or (describe_exit(code, None) if code is not None else "closed its output")
        lines = self._words.decode("utf-8", "replace").strip().splitlines()
        return f"{why}; its last words: {lines[-1][:300]}" if lines else why

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[Incoming, Outgoing]]:
        """Start the server; at the end its input is closed, and a server that stays is killed with all of its group.

        Raises:
            OSError: it cannot be started.
        """
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MOST_LINE,
            cwd="/",
            env=self._environment,
            # This process has one thread, so nothing is held here that the new one would wait for.
            preexec_fn=partial(die_with_parent, os.getpid()),
        )
        told, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, asked = anyio.create_memory_object_stream[SessionMessage](0)
        tasks = [
            asyncio.create_task(self._read(process, told)),
            asyncio.create_task(self._write(process, asked)),
            asyncio.create_task(self._listen(process)),
        ]
        try:
            yield incoming, outgoing
        finally:
            await _end(process)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in (told, incoming, outgoing, asked):
                stream.close()

    async def _read(
        self, process: asyncio.subprocess.Process, told: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        assert process.stdout is not None
        noise = 0
        with told, contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                try:
                    line = await process.stdout.readline()
                except ValueError:
                    self._fault = f"sent a line of more than {MOST_LINE / 1e6:g} MB"
                    break
                if not line:
                    # Its exit code says more than the end of its output.
                    await exits_within(process, _END_SECONDS)
                    break
                try:
                    message = wire.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    noise += 1
                    if noise > _MOST_NOISE:
                        self._fault = f"sent {noise} lines that are no messages of the protocol"
                        break
                    continue
                await told.send(SessionMessage(message))
        self.over.set()
        # A full pipe would keep it from ending.
        while await process.stdout.read(1 << 16):
            pass

    async def _write(
        self, process: asyncio.subprocess.Process, asked: MemoryObjectReceiveStream[SessionMessage]
    ) -> None:
        assert process.stdin is not None
        with asked, contextlib.suppress(ConnectionError):
            async for message in asked:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while part := await process.stderr.read(1 << 16):
            self._words = (self._words + part)[-_LAST_WORDS:]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close the input, as the protocol asks a server to end, and kill one that does not."""
    assert process.stdin is not None
    process.stdin.close()
    if not await exits_within(process, _END_SECONDS):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await exits_within(process, _END_SECONDS)
