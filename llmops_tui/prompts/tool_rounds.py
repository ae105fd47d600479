"""Tools in a run: a call that the model makes waits for a person's word, is made, and its result goes back to the model.

What is not approved, by a word or by a rule of the user, is not called. What a tool answers is another program's text: it
goes to the model, and never decides whether the next call needs a word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.wire import ToolCall
from llmops_tui.mcp_client.connection import Called
from llmops_tui.mcp_client.toolbox import OfferedTool

_MOST_AT_ONCE = 16
# The same call with the same arguments so often is a loop, whatever it gives.
_SAME = 3
# How a refusal begins that is about the parameters of one tool of a request.
_PLACE = re.compile(r"tools\[(\d{1,3})\]\.function\.parameters: ")


class Decision(Enum):
    """What a person says to a call."""

    ONCE = "once"
    RUN = "run"  # and to all further calls of the tool in this run
    DENY = "deny"


@dataclass(frozen=True)
class CallStep:
    """A call that the model makes, and where it is.

    Attributes:
        state: ``waits`` for a word, ``runs``, ``done``, ``failed``, ``denied``, or ``refused``: it cannot be made.
        arguments: as the model wrote them, a text of JSON.
        text: what goes back to the model, once it is known.
    """

    state: str
    id: str
    function: str
    server: str = ""
    tool: str = ""
    arguments: str = ""
    text: str = ""


Approve = Callable[[CallStep], Awaitable[Decision]]


class Tools(Protocol):
    """What calls tools: a :class:`~llmops_tui.mcp_client.toolbox.Toolbox`."""

    @property
    def tools(self) -> list[OfferedTool]:
        """All that are offered."""

    def find(self, function: str) -> OfferedTool | None:
        """The tool that a model calls so."""

    async def call(self, tool: OfferedTool, arguments: JsonObject) -> Called:
        """Call it."""


class Together:
    """Tools of several sources as one: of two with one name the first source has it, as a mock has the name of a real tool."""

    def __init__(self, *sources: Tools) -> None:
        self._sources = sources

    @property
    def tools(self) -> list[OfferedTool]:
        """All of them."""
        found: dict[str, OfferedTool] = {}
        for source in self._sources:
            for tool in source.tools:
                found.setdefault(tool.function, tool)
        return list(found.values())

    def find(self, function: str) -> OfferedTool | None:
        """The tool that a model calls so."""
        return next((tool for tool in self.tools if tool.function == function), None)

    async def call(self, tool: OfferedTool, arguments: JsonObject) -> Called:
        """Call it where it is from."""
        source = next(source for source in self._sources if source.find(tool.function) is tool)
        return await source.call(tool, arguments)


@dataclass
class ToolRounds:
    """The tools of one run, what was approved in it, and what was called.

    Attributes:
        first: what the first answer is to be: ``auto`` leaves it to the model, ``required`` is a call, and the name of a tool
            a call of that. The answers after it are the model's own choice, or there would never be an end.
    """

    toolbox: Tools
    approve: Approve
    first: str = "auto"
    replies: list[JsonObject] = field(default_factory=list)
    _approved: set[str] = field(default_factory=set)
    _made: Counter[tuple[str, str]] = field(default_factory=Counter)

    def as_request(self) -> JsonObject:
        """The fields of the next request.

        Raises:
            InputRefusedError: ``tool_not_found``: there is no tool that the first answer is to call.
        """
        fields: JsonObject = {"tools": [tool.as_request() for tool in self.toolbox.tools]}
        if self.first != "auto" and not self.replies:
            fields["tool_choice"] = "required" if self.first == "required" else self._named(self.first)
        return fields

    def _named(self, name: str) -> JsonObject:
        tools = self.toolbox.tools
        found = [tool for tool in tools if name == tool.function] or [t for t in tools if name == t.record["name"]]
        if not found:
            names = ", ".join(tool.function for tool in tools)
            raise InputRefusedError("tool_not_found", f"no tool {name!r} is offered", f"There are: {names[:300]}.")
        return {"type": "function", "function": {"name": found[0].function}}

    def refusal_of_one(self, error: LlmopsError) -> LlmopsError | None:
        """A server's refusal of one tool's parameters, by the tool's name and its server's; none where it is of other things."""
        place = _PLACE.match(error.message)
        if place is None or int(place[1]) >= len(self.toolbox.tools):
            return None
        tool = self.toolbox.tools[int(place[1])]
        name = tool.record["name"]
        told = f"{tool.server}: the tool {name!r} cannot be offered to this model: {error.message[place.end() :]}"
        return LlmopsError(error.code, told, f"llmops tools off {tool.server} {name} switches it off.", error.exit_code)

    async def answer(self, calls: Sequence[ToolCall]) -> AsyncIterator[CallStep]:
        """Ask for each call of an answer and make it; ``replies`` are then the messages that go back to the model."""
        self.replies = []
        for number, call in enumerate(calls):
            function = call["function"]
            made = CallStep(
                "waits", call.get("id") or f"call_{number}", function["name"], arguments=function["arguments"]
            )
            async for step in self._answer_one(made, too_many=number >= _MOST_AT_ONCE):
                yield step
            self.replies.append({"role": "tool", "tool_call_id": step.id, "content": step.text})

    async def _answer_one(self, made: CallStep, *, too_many: bool) -> AsyncIterator[CallStep]:
        tool = self.toolbox.find(made.function)
        problem, arguments = self._problem(made, tool, too_many=too_many)
        if tool is None or problem:
            yield replace(made, state="refused", text=f"Not called: {problem}")
            return
        made = replace(made, server=tool.server, tool=tool.record["name"])
        rule = tool.ruling(arguments)
        if rule is not None and not rule.allow:
            yield replace(made, state="denied", text="Not called: a rule of the user denies this call.")
            return
        if rule is None and made.function not in self._approved:
            yield made
            decision = await self.approve(made)
            if decision is Decision.DENY:
                yield replace(made, state="denied", text="Not called: the user denied this call.")
                return
            if decision is Decision.RUN:
                self._approved.add(made.function)
        yield replace(made, state="runs")
        self._made[made.function, made.arguments] += 1
        try:
            outcome = await self.toolbox.call(tool, arguments)
        except LlmopsError as error:
            yield replace(made, state="failed", text=error.told)
        else:
            yield replace(made, state="failed" if outcome.failed else "done", text=outcome.text)

    def _problem(self, made: CallStep, tool: OfferedTool | None, *, too_many: bool) -> tuple[str, JsonObject]:
        """Why a call cannot be made, as a sentence for the model; and its arguments."""
        if tool is None:
            return f"there is no tool {made.function!r}.", {}
        if too_many:
            return f"more than {_MOST_AT_ONCE} calls at once.", {}
        try:
            arguments = parse_json(made.arguments or "{}")
        except ValueError:
            return "the arguments are no JSON.", {}
        if not isinstance(arguments, dict):
            return "the arguments are no JSON object.", {}
        if self._made[made.function, made.arguments] >= _SAME:
            return f"it was called {_SAME} times with these arguments already; use what it gave.", {}
        return "", arguments
