"""Conversations of requests: messages, their parts, tool calls, and tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import ConfigDict, Field, PlainValidator, field_validator, model_validator

from llmops_tui.inference.constraints import ToolRecord
from llmops_tui.inference.server import fields
from llmops_tui.inference.server.fields import Checked, Rules, refuse
from llmops_tui.inference.wire import ChatMessage

# Kinds of parts that are text, and where they have it.
_NAME = re.compile(r"[\w.:/-]+")
_TEXT_OF = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


class _CalledFunction(Checked):
    rules: ClassVar[Rules] = fields.CALLED

    name: Annotated[str, Field(min_length=1, max_length=128)]
    # A text of JSON as OpenAI has it, or an object, as many templates want it.
    arguments: str | dict[str, Any] = "{}"


class ToolCall(Checked):
    """A call that the model made in an earlier turn."""

    rules: ClassVar[Rules] = fields.CALL

    id: Annotated[str, Field(max_length=200)] | None = None
    type: Literal["function"] = "function"
    function: _CalledFunction


class Message(Checked):
    """One turn of a conversation. Content is text, or parts of which only text is taken.

    Further fields are passed on to the chat template; see :mod:`.template_features`.
    """

    model_config = ConfigDict(extra="allow")
    rules: ClassVar[Rules] = fields.MESSAGE

    role: Annotated[str, Field(min_length=1, max_length=40)]
    content: str | None = None
    refusal: str | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: Annotated[str, Field(max_length=200)] | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, value: Any) -> Any:
        return joined_text(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _whole(self) -> Message:
        if self.tool_calls and self.role != "assistant":
            refuse("tool_calls", "only the assistant calls tools")
        if self.tool_call_id is not None and self.role != "tool":
            refuse("tool_call_id", "only a message with the role tool answers a call")
        if self.content is None and self.refusal is None and not (self.role == "assistant" and self.tool_calls):
            refuse(
                "content", "a message needs content; only an assistant's with tool_calls may be without", "Give a text."
            )
        return self

    def as_turn(self) -> ChatMessage:
        """The turn as templates get it."""
        said = self.content if self.content is not None else self.refusal or ""
        told = self.model_dump(exclude_none=True, exclude={"refusal"}) | {"content": said}
        return cast("ChatMessage", told)


def goes_on(messages: Sequence[Message], wanted: bool | None, prompted: bool | None) -> bool:
    """Whether the answer goes on with the last message: a text of the assistant's, unless its request says otherwise.

    ``wanted`` and ``prompted`` are ``continue_final_message`` and its opposite, ``add_generation_prompt``; for a validator.
    """
    last = messages[-1]
    can = last.role == "assistant" and last.content is not None and not last.tool_calls
    if wanted and not can:
        refuse("continue_final_message", "the last message is no text of the assistant's", "Leave it out.")
    found = can if wanted is None else wanted
    if wanted is None and can and prompted:
        found = False
    if prompted is not None and prompted == found:
        hint = (
            "Leave it out: an answer goes on with a text of the assistant's at the end, and is a new turn after others."
        )
        refuse("add_generation_prompt", "says something else than the end of the conversation", hint)
    return found


def joined_text(parts: list[Any]) -> str:
    """Parts of which only text is taken, as one text; to be called from within a validator."""
    if not parts:
        refuse("", "has no parts", "Give a text; an empty one is a turn in which nothing is said.")
    return "".join(_text_of(part, f"[{n}]") for n, part in enumerate(parts))


def _text_of(part: Any, at: str) -> str:
    if not isinstance(part, dict):
        refuse(at, f"a content part is an object, no {type(part).__name__}")
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _TEXT_OF:
        refuse(f"{at}.type", f"a content part of type {str(kind)[:40]!r} is not taken here; only text is")
    name = _TEXT_OF[kind]
    kept = fields.PART.sift(part, {"type", name}, f"{at}.")
    if not isinstance(kept.get(name), str):
        refuse(f"{at}.{name}", "must be a text")
    return str(kept[name])


class _Function(Checked):
    name: Annotated[str, Field(min_length=1, max_length=128)]

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            refuse("", f"{value!r} is no name of a function", "Letters, digits and _ - . : / are taken.")
        return value

    description: Annotated[str, Field(max_length=100_000)] | None = None
    parameters: dict[str, Any] | None = None
    # Arguments are constrained by the parameters either way.
    strict: bool | None = None
    # What it gives back, as transformers describes a function; templates show it to the model.
    return_: Annotated[Any, Field(alias="return")] = None


class Tool(Checked):
    """A function that a model may call."""

    rules: ClassVar[Rules] = fields.TOOL

    type: Literal["function"] = "function"
    function: _Function

    def as_shown(self) -> ToolRecord:
        """The tool as templates get it."""
        return cast("ToolRecord", self.model_dump(exclude_none=True, by_alias=True))


# A tool that is demanded by its name; no word of tool_choice begins so.
NAMED = "function:"


@dataclass(frozen=True)
class Chosen:
    """Which tools may or must be called.

    Attributes:
        word: ``none``, ``auto``, ``required``, or the one function's name behind :data:`NAMED`.
        among: the names of those that may be called, where not all of the request may.
    """

    word: str
    among: tuple[str, ...] | None = None


_NAMING = '{"type": "function", "function": {"name": …}}'


def _choice(value: Any) -> Chosen:
    """``tool_choice`` as chat completions have it."""
    if isinstance(value, str):
        if value not in {"none", "auto", "required"}:
            refuse("", f"{value[:40]!r} is none of none, auto, required", f"Or {_NAMING}.")
        return Chosen(value)
    if not isinstance(value, dict) or value.get("type") != "allowed_tools":
        return Chosen(NAMED + _named(value))
    Rules().sift(value, {"type", "allowed_tools"})
    allowed = value.get("allowed_tools")
    if not isinstance(allowed, dict) or allowed.get("mode") not in {"auto", "required"}:
        refuse("allowed_tools.mode", "is neither auto nor required")
    Rules().sift(allowed, {"mode", "tools"}, "allowed_tools.")
    tools = allowed.get("tools")
    if not isinstance(tools, list) or not tools:
        refuse("allowed_tools.tools", "must be a list of the tools that may be called", f"Each is {_NAMING}.")
    return Chosen(allowed["mode"], tuple(_named(tool, f"allowed_tools.tools[{n}].") for n, tool in enumerate(tools)))


def _named(value: Any, at: str = "") -> str:
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or value.get("type") != "function":
        refuse(at.removesuffix("."), f"must be {_NAMING}" if at else f"must be none, auto, required or {_NAMING}")
    Rules().sift(value, {"type", "function"}, at)
    Rules().sift(function, {"name"}, f"{at}function.")
    return str(function["name"])


ToolChoice = Annotated[Chosen, PlainValidator(_choice, json_schema_input_type=str | dict[str, Any])]
