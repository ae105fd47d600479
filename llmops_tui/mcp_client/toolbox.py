"""The tools that a model is offered in a run: those of connected servers that the user switched on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Self

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.mcp_client.connection import Called, ToolConnection
from llmops_tui.mcp_client.messages import ToolRecord
from llmops_tui.mcp_client.rules import ANY_TOOL, ToolRule, ruling
from llmops_tui.mcp_client.servers import ToolServer
from llmops_tui.workspace.files import sha256_text

# What OpenAI's API takes as a function's name, and so every server like it.
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_MOST_NAME = 64

Connect = Callable[[ToolServer], AbstractAsyncContextManager[ToolConnection]]


@dataclass(frozen=True)
class OfferedTool:
    """A tool, and the name by which the model calls it."""

    function: str
    server: str
    record: ToolRecord
    rules: tuple[ToolRule, ...] = ()

    def ruling(self, arguments: JsonObject) -> ToolRule | None:
        """The rule that decides a call of it; none: a person does."""
        return ruling(self.rules, self.record["name"], arguments)

    def as_request(self) -> JsonObject:
        """The tool as chat completions take it."""
        described = {name: self.record[name] for name in ("description", "parameters") if self.record[name]}
        return {"type": "function", "function": {"name": self.function, **described}}


def offered(connections: Sequence[ToolConnection]) -> tuple[list[OfferedTool], list[str]]:
    """The tools that are on, with names that no two have; and what to tell of those that are not offered, and of rules."""
    found: list[OfferedTool] = []
    notes: list[str] = []
    for connection in connections:
        server, known = connection.server, {tool["name"]: tool for tool in connection.tools}
        rules = server.followed_rules
        if server.rules and not rules:
            notes.append(
                f"{server.name}: its rules were not made by you and are not followed: each call is asked about"
            )
        notes += [
            f"{server.name}: it has no tool {rule.tool!r}, and this rule decides nothing: {rule.told}"
            for rule in rules
            if rule.tool not in {ANY_TOOL, *known}
        ]
        for name, digest in server.tools.items():
            tool = known.get(name)
            if tool is None:
                notes.append(f"{server.name}: there is no tool {name!r} any more")
            elif tool["problem"]:
                notes.append(f"{server.name}: {name!r} is not offered: {tool['problem']}")
            elif tool["digest"] != digest:
                notes.append(
                    f"{server.name}: {name!r} is another since you switched it on; look at it and switch it on again"
                )
            else:
                found.append(
                    OfferedTool(_function(server.name, name, {one.function for one in found}), server.name, tool, rules)
                )
    return found, notes


def _function(server: str, tool: str, taken: set[str]) -> str:
    """The tool's own name where it is one and free, else with its server's before it, cut to what servers take."""
    if len(tool) <= _MOST_NAME and not _UNFIT.search(tool) and tool not in taken:
        return tool
    long = _UNFIT.sub("_", f"{server}__{tool}")
    if len(long) <= _MOST_NAME and long not in taken:
        return long
    mark = sha256_text(f"{server} {tool}")[:8]
    return f"{long[: _MOST_NAME - len(mark) - 1]}_{mark}"


def list_text(tools: Iterable[ToolRecord]) -> str:
    """What a list of tools is in a request, as JSON: chat templates put it before the conversation in this or a similar form."""
    return json.dumps([OfferedTool(tool["name"], "", tool).as_request() for tool in tools], ensure_ascii=False)


class Toolbox:
    """Connects servers and calls their tools; use it as a context manager, which lets go of all of them."""

    def __init__(self, servers: Sequence[ToolServer], connect: Connect) -> None:
        """``connect`` gives the connection to a server: one that ends with its use, or one that is kept."""
        self._servers = servers
        self._connect = connect
        self._connections: list[ToolConnection] = []
        self._stack = AsyncExitStack()
        self.tools: list[OfferedTool] = []
        self.notes: list[str] = []

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            InputRefusedError: ``no_tools``: none is on and as it was; or a command was not approved.
            LlmopsError: a server cannot be connected.
        """
        async with AsyncExitStack() as stack:
            self._connections = [await stack.enter_async_context(self._connect(server)) for server in self._servers]
            self.tools, self.notes = offered(self._connections)
            if not self.tools:
                names = ", ".join(server.name for server in self._servers)
                told = "; ".join(self.notes)
                raise InputRefusedError(
                    "no_tools",
                    f"no tool of {names} can be offered" + (f": {told}" if told else ": none is switched on"),
                    "llmops tools show NAME lists them, llmops tools on NAME TOOL switches one on.",
                )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def find(self, function: str) -> OfferedTool | None:
        """The tool that a model calls so."""
        return next((tool for tool in self.tools if tool.function == function), None)

    async def call(
        self, tool: OfferedTool, arguments: JsonObject, heard: Callable[[str], None] | None = None
    ) -> Called:
        """Call it.

        Raises:
            LlmopsError: as :meth:`.ToolConnection.call`.
        """
        connection = next(one for one in self._connections if one.server.name == tool.server)
        return await connection.call(tool.record["name"], arguments, heard)
