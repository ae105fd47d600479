"""A tool server as the app and commands see it: connected in a process of its own, asked, and ended with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar, cast

from llmops_tui.child_python import module_command
from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.jobs.process import describe_exit
from llmops_tui.mcp_client.ending import exits_within
from llmops_tui.mcp_client.messages import Asked, Ready, ToolRecord
from llmops_tui.mcp_client.servers import ToolServer, require_may_run
from llmops_tui.workspace.layout import Workspace

T = TypeVar("T")

_LINE = 32_000_000
# The worker tells by itself that a server does not list its tools, after less.
_READY_SECONDS = 90.0
CALL_SECONDS = 300.0
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Called:
    """What came of a call: text for the model, and whether the tool says that it failed."""

    text: str
    failed: bool


class ToolConnection:
    """One connected server; use it as a context manager. A call is sent once: a broken connection is told, not tried again."""

    def __init__(self, workspace: Workspace, server: ToolServer, call_seconds: float = CALL_SECONDS) -> None:
        self.server = server
        self.facts: Ready | None = None
        self.left_a_call = False
        """Whether a call or a listing was left before its end, which a server may or may not heed."""
        self._workspace = workspace
        self._seconds = call_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Called]] = {}
        self._heard: dict[int, Callable[[str], None]] = {}
        self._ready: asyncio.Future[Ready] | None = None

    @property
    def tools(self) -> list[ToolRecord]:
        """Its tools, as they were listed when it was connected."""
        return self.facts["tools"] if self.facts is not None else []

    @property
    def broken(self) -> bool:
        """Whether it was connected and is not any more."""
        return self._reader is not None and self._reader.done()

    async def list_again(self) -> None:
        """Have the tools listed again: they are then as the server has them now.

        Raises:
            LlmopsError: ``tool_server_failed``, ``tool_server_silent``; the connection is of no use then.
        """
        self._ready = asyncio.get_running_loop().create_future()
        if self.broken:
            raise self._failure("tool_server_failed", "is not connected any more")
        self._send({"op": "list"})
        await self._listed()

    async def _listed(self) -> None:
        assert self._ready is not None
        try:
            async with asyncio.timeout(_READY_SECONDS):
                self.facts = await self._ready
        except TimeoutError as error:
            raise self._failure("tool_server_silent", f"did not respond within {_READY_SECONDS:g} s") from error
        except asyncio.CancelledError:
            # What it lists later would be taken for the next listing.
            self.left_a_call = True
            raise

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            InputRefusedError: this user did not let its command run (:func:`.require_may_run`).
            LlmopsError: ``tool_server_not_started``, ``tool_server_failed``, ``tool_server_silent``.
        """
        await asyncio.to_thread(require_may_run, self._workspace, self.server)
        self._ready = asyncio.get_running_loop().create_future()
        self._process = process = await asyncio.create_subprocess_exec(
            *module_command("llmops_tui.mcp_client.worker", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LINE,
            # A group of its own: the server and what it starts are in it, and end with it.
            start_new_session=True,
            cwd="/",
        )
        self._reader = asyncio.create_task(self._read(process))
        try:
            self._send({"command": list(self.server.command), "variables": list(self.server.variables)})
            await self._listed()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def call(self, tool: str, arguments: JsonObject, heard: Callable[[str], None] | None = None) -> Called:
        """Call a tool; ``heard`` is told what the server says of its progress. Cancelling leaves the call.

        Raises:
            LlmopsError: ``tool_server_failed``: the connection broke; ``tool_silent``: nothing came in time.
        """
        number = next(self._numbers)
        outcome: asyncio.Future[Called] = asyncio.get_running_loop().create_future()
        self._calls[number] = outcome
        if heard is not None:
            self._heard[number] = heard
        try:
            if self._reader is None or self.broken:
                raise self._failure("tool_server_failed", "is not connected any more")
            self._send({"op": "call", "id": number, "tool": tool, "arguments": arguments})
            async with asyncio.timeout(self._seconds):
                return await outcome
        except TimeoutError as error:
            self._leave(number)
            raise self._failure("tool_silent", f"did not finish {tool!r} within {self._seconds:g} s") from error
        except asyncio.CancelledError:
            self._leave(number)
            raise
        finally:
            self._calls.pop(number, None)
            self._heard.pop(number, None)

    def _leave(self, number: int) -> None:
        self.left_a_call = True
        self._send({"op": "leave", "id": number})

    def _send(self, message: Asked | JsonObject) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        failure: LlmopsError | None = None
        try:
            with contextlib.suppress(ValueError):  # a line that is too long, or is none
                while line := await process.stdout.readline():
                    failure = self._hear(cast("JsonObject", parse_json(line))) or failure
            if failure is None:
                await exits_within(process, _END_SECONDS)
                code = process.returncode
                how = describe_exit(code, None) if code is not None else "sent what cannot be read"
                failure = self._failure("tool_server_failed", f"is not connected any more: its process {how}")
        finally:
            # Whoever waits is told also where the connection is ended meanwhile.
            self._fail(failure or self._failure("tool_server_failed", "is not connected any more"))

    def _hear(self, message: JsonObject) -> LlmopsError | None:
        """Pass on what the worker says; returns the failure that it tells."""
        if message["event"] == "ready":
            _settle(self._ready, cast("Ready", message))
        elif message["event"] == "outcome":
            _settle(self._calls.get(message["id"]), Called(message["text"], message["failed"]))
        elif message["event"] == "progress":
            self._heard.get(message["id"], _ignored)(message["told"])
        else:
            failure = LlmopsError(**message["error"])
            return self._failure(failure.code, failure.message, failure.hint)
        return None

    def _fail(self, failure: LlmopsError) -> None:
        for waiting in (self._ready, *self._calls.values()):
            if waiting is not None and not waiting.done():
                waiting.set_exception(failure)
                # Whoever waited may have left.
                waiting.exception()

    def _failure(self, code: str, what: str, hint: str = "") -> LlmopsError:
        name = self.server.name
        return LlmopsError(code, f"tool server {name}: {what}", hint or f"llmops tools show {name} tries it again.")

    async def _end(self) -> None:
        """Let the server end in good order, then end its whole group, whatever is left of it."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(b'{"op": "end"}\n')
        try:
            await exits_within(process, _END_SECONDS)
        finally:
            # The group outlives its first process as long as anything is in it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(exits_within(process, _END_SECONDS))
            if self._reader is not None:
                self._reader.cancel()
                await asyncio.wait([self._reader])


def _settle(waiting: asyncio.Future[T] | None, value: T) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(value)


def _ignored(_: str) -> None:
    """Nobody listens to the progress of this call."""
