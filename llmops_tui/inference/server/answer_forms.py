"""What an answer is held to, as its client is told of it: what the grammar leaves out, and whether the answer keeps it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.constraints import Held
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.schema_loosening import Unheld
from llmops_tui.inference.wire import ToolCall, Warned

HEADER = "x-llmops-warnings"
"""Tells the warnings that were known when an answer began, as JSON."""
_HEADER_BYTES = 4000
# So many keywords are told one by one.
_MOST = 50

Problems = Callable[[Schema, str], Awaitable[list[str]]]
"""What a text in JSON does not keep of a schema; raises LlmopsError where that cannot be told."""


@dataclass(frozen=True)
class AnswerForm:
    """How an answer is held.

    Attributes:
        held: the grammar, and what it does not hold.
        places: what the request's field is called that has a schema, by the name of its tool, empty for the answer's own.
        answer: the schema of an answer in JSON, if there is one.
        tools: the parameters of the tools that may be called, by name.
    """

    held: Held = field(default_factory=Held)
    places: Callable[[str], str] = str
    answer: Schema | None = None
    tools: Mapping[str, Schema] = field(default_factory=dict)

    def warnings(self) -> list[Warned]:
        """What is told before the answer: keywords that do not hold it."""
        told = [self._told(one) for one in self.held.told[:_MOST]]
        if more := len(self.held.told) - len(told):
            told.append(
                {"param": told[-1]["param"], "message": f"{more:,} more keywords are not enforced or not known"}
            )
        return told

    def _told(self, one: Unheld) -> Warned:
        return {"param": self.places(one.get("tool", "")), "pointer": one["pointer"], "message": one["message"]}

    async def check(self, content: str, calls: Sequence[ToolCall], problems: Problems) -> list[Warned]:
        """What is told behind a finished answer: what it does not keep of its schemas."""
        if not self.held.checked:
            return []
        told: list[Warned] = []
        for call in calls:
            name = call["function"]["name"]
            if name in self.tools:
                arguments = str(call["function"]["arguments"])
                what = f"the call of {name[:128]!r}"
                told += await self._kept(self.tools[name], arguments, self.places(name), what, problems)
        if not calls and self.answer is not None:
            told += await self._kept(self.answer, content, self.places(""), "the answer", problems)
        return told

    async def _kept(self, schema: Schema, text: str, param: str, what: str, problems: Problems) -> list[Warned]:
        try:
            found = await problems(schema, text)
        except LlmopsError as error:
            return [{"param": param, "message": f"{what} could not be checked against the schema: {error.told}"}]
        return [{"param": param, "message": f"{what} is not as the schema says, at {problem}"} for problem in found]


def as_header(warnings: Sequence[Warned]) -> dict[str, str]:
    """The header that tells them; those for which there is no room are counted."""
    told: list[Warned] = []
    size = 0
    for warning in warnings:
        size += len(json.dumps(warning)) + 2
        if size > _HEADER_BYTES:
            told.append({"param": "", "message": f"{len(warnings) - len(told)} more are told in the answer"})
            break
        told.append(warning)
    # The one character of ASCII beside those that JSON escapes which no header may have.
    return {HEADER: json.dumps(told).replace("\x7f", "\\u007f")} if told else {}
