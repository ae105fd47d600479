"""The process that speaks to one tool server: lists its tools, and calls those that its parent says.

Run as ``python -m llmops_tui.mcp_client.worker PARENT``. The package of the protocol and the server's schemas are kept out
of the app: what they take of time and memory, and what a hostile server does to them, ends with this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import sys
from typing import Any, cast

import mcp_types as wire
from mcp import Client
from mcp.shared.exceptions import MCPError

from llmops_tui import __version__
from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.jobs.process import die_with_parent
from llmops_tui.mcp_client.bounded_pipe import ServerPipe
from llmops_tui.mcp_client.messages import Asked, Ready, Start, Told
from llmops_tui.mcp_client.reading import text_of_result, tool_records

_MEMORY = 2 << 30
_LINE = 16_000_000
_MOST_PAGES = 50
_LISTING_SECONDS = 50.0
_TOLD = 300
_REMEDY = "llmops tools show NAME tries it again; run its command in a shell to see what it says."


class Conversation:
    """A connected server, and the calls that are under way."""

    def __init__(self, client: Client, pipe: ServerPipe) -> None:
        self._client = client
        self._pipe = pipe
        self._calls: dict[int, asyncio.Task[None]] = {}

    async def list_tools(self) -> Ready:
        """List the tools.

        Raises:
            LlmopsError: they cannot be listed.
        """
        tools: list[wire.Tool] = []
        cursor: str | None = None
        try:
            if self._client.server_capabilities.tools is not None:
                for _ in range(_MOST_PAGES):
                    page = await self._client.list_tools(cursor=cursor)
                    tools += page.tools
                    cursor = page.next_cursor
                    if not cursor:
                        break
        except (MCPError, ValueError) as error:
            raise self._broken(f"its tools cannot be listed: {_one_line(error)}") from error
        records, note = tool_records(tools)
        who = self._client.server_info
        return {
            "event": "ready",
            "server": who.name[:100] if who else "",
            "version": who.version[:100] if who else "",
            "protocol": self._client.protocol_version,
            "tools": records,
            "note": "; ".join(filter(None, [note, "more pages of tools were not read" if cursor else ""])),
        }

    async def serve(self, lines: asyncio.StreamReader) -> None:
        """Do what the parent asks until it says that is all, or is gone."""
        while line := await lines.readline():
            asked = cast("Asked", parse_json(line))
            if asked["op"] == "end":
                break
            if asked["op"] == "call":
                self._calls[asked["id"]] = asyncio.create_task(self._call(asked))
            elif asked["op"] == "list":
                tell(await self._list_again())
            elif (call := self._calls.get(asked["id"])) is not None:
                call.cancel()
        for call in self._calls.values():
            call.cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)

    async def _list_again(self) -> Ready:
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                return await self.list_tools()
        except TimeoutError as error:
            raise _silent() from error

    async def _call(self, asked: Asked) -> None:
        number = asked["id"]

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            share = f"{progress:g}" + (f" of {total:g}" if total else "")
            tell({"event": "progress", "id": number, "told": f"{share} {message or ''}".strip()[:_TOLD]})

        try:
            result = await self._client.call_tool(asked["tool"], asked["arguments"], progress_callback=heard)
            text, failed = text_of_result(result), result.is_error
        except MCPError as error:
            ended = f" The server {self._pipe.ended}." if error.code == wire.CONNECTION_CLOSED else ""
            text, failed = f"The call failed: {_one_line(error)}.{ended}", True
        except (ValueError, RuntimeError) as error:
            # A result that is not as the protocol, or the tool's own schema, has it; or a server that asks for more.
            text, failed = f"The result cannot be used: {_one_line(error)}.", True
        finally:
            self._calls.pop(number, None)
        tell({"event": "outcome", "id": number, "text": text, "failed": failed})

    def _broken(self, why: str) -> LlmopsError:
        return LlmopsError("tool_server_failed", why, _REMEDY)


def tell(message: Told) -> None:
    """Write a line for the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:_TOLD]


def _causes(error: BaseException) -> list[BaseException]:
    """The errors that a group is made of."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for one in error.exceptions for cause in _causes(one)]
    return [error]


async def _main() -> None:
    lines = asyncio.StreamReader(limit=_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    start = cast("Start", parse_json(await lines.readline()))
    pipe = ServerPipe(start["command"], start["variables"])
    client = Client(
        cast("Any", pipe.streams()), client_info=wire.Implementation(name="llmops", version=__version__), cache=None
    )
    beginning = asyncio.current_task()
    assert beginning is not None
    watch = asyncio.create_task(_give_up(beginning, pipe))
    try:
        async with asyncio.timeout(_LISTING_SECONDS) as limit, client:
            conversation = Conversation(client, pipe)
            tell(await conversation.list_tools())
            watch.cancel()
            limit.reschedule(None)
            await conversation.serve(lines)
    except asyncio.CancelledError:
        tell({"event": "failed", "error": LlmopsError("tool_server_failed", f"it {pipe.ended}", _REMEDY).as_dict()})
    except TimeoutError:
        tell({"event": "failed", "error": _silent().as_dict()})
    except Exception as raised:  # noqa: BLE001  whatever a server makes of the package is told as its failure
        told = _failure(_causes(raised)[0], pipe, start["command"][0])
        tell({"event": "failed", "error": told.as_dict()})


async def _give_up(beginning: asyncio.Task[Any], pipe: ServerPipe) -> None:
    """End the beginning when the server is gone: the package would wait for what it asked last."""
    await pipe.over.wait()
    beginning.cancel()


def _silent() -> LlmopsError:
    return LlmopsError("tool_server_silent", f"it did not list its tools within {_LISTING_SECONDS:g} s", _REMEDY)


def _failure(cause: BaseException, pipe: ServerPipe, program: str) -> LlmopsError:
    if isinstance(cause, LlmopsError):
        return cause
    if isinstance(cause, OSError) and not isinstance(cause, ConnectionError):
        return LlmopsError(
            "tool_server_not_started", f"{program} cannot be started: {cause.strerror or cause}", "Check its command."
        )
    return LlmopsError("tool_server_failed", f"it {pipe.ended}: {_one_line(cause)}", _REMEDY)


def main() -> None:
    """Work until the parent has said that is all."""
    die_with_parent(int(sys.argv[1]))
    # The package logs what it hears, which is anything.
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        asyncio.run(_main())
    # Whatever the package still does in the background ends here.
    os._exit(0)


if __name__ == "__main__":
    main()
