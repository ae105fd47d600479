"""Messages of Anthropic's API, made of blocks, and the turns of a chat that they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server.apis.names import Turn
from llmops_tui.inference.server.fields import Checked, Rules, Unoffered, refuse

CACHE_CONTROL = {"cache_control": "where a provider's cache ends; here that is found out from the tokens"}
_TOOLSET = Unoffered("There are no sets of tools here; give each as a tool.")
# Blocks are apart from each other; without anything between them, their words would be one.
_APART = "\n"
_Id = Annotated[str, Field(min_length=1, max_length=200)]


class TextBlock(Checked):
    """A text."""

    rules: ClassVar[Rules] = Rules(
        idle=CACHE_CONTROL | {"citations": "where a text has it from, which is no part of it"}
    )

    type: Literal["text"]
    text: str


class CallBlock(Checked):
    """A call that the model made."""

    rules: ClassVar[Rules] = Rules(
        idle=CACHE_CONTROL,
        unoffered={
            "caller": Unoffered("Calls come from the model alone.", ({"type": "direct"},)),
            "toolset_name": _TOOLSET,
        },
    )

    type: Literal["tool_use"]
    id: _Id
    name: Annotated[str, Field(min_length=1, max_length=128)]
    input: dict[str, Any]


class ThoughtBlock(Checked):
    """What the model thought."""

    rules: ClassVar[Rules] = Rules(
        idle={"signature": "a provider's proof that the text is its own; what clients send is taken as it is"}
    )

    type: Literal["thinking"]
    thinking: str


class HiddenThoughtBlock(Checked):
    """What another provider's model thought, which only that provider can read."""

    type: Literal["redacted_thinking"]
    data: str


def _texts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class _ResultText(TextBlock):
    @model_validator(mode="before")
    @classmethod
    def _a_text(cls, given: Any) -> Any:
        return _only(given, ("text",))


class ResultBlock(Checked):
    """What a call gave back."""

    rules: ClassVar[Rules] = Rules(idle=CACHE_CONTROL, unoffered={"toolset_name": _TOOLSET})

    type: Literal["tool_result"]
    tool_use_id: _Id
    content: Annotated[list[_ResultText], BeforeValidator(_texts, json_schema_input_type=str | list[_ResultText])] = (
        Field(default_factory=list)
    )
    is_error: bool = False

    @property
    def text(self) -> str:
        """The result as the model gets it; what failed says so."""
        text = _APART.join(block.text for block in self.content)
        return f"Error: {text}" if self.is_error else text


Block = TextBlock | CallBlock | ThoughtBlock | HiddenThoughtBlock | ResultBlock
_KINDS: dict[str, type[Block]] = {
    "text": TextBlock,
    "tool_use": CallBlock,
    "thinking": ThoughtBlock,
    "redacted_thinking": HiddenThoughtBlock,
    "tool_result": ResultBlock,
}
# What each role may say.
_SAYS = {
    "user": ("text", "tool_result"),
    "assistant": ("text", "thinking", "redacted_thinking", "tool_use"),
    "system": ("text",),
}


def _only(given: Any, kinds: Sequence[str], at: str = "") -> Any:
    """Refuse a block of another kind."""
    dot = f"{at}." if at else ""
    if not isinstance(given, Mapping):
        refuse(at, f"a block is an object, no {type(given).__name__}")
    if (kind := given.get("type")) not in kinds:
        hint = f"Blocks are {', '.join(kinds)} here."
        refuse(f"{dot}type", f"a block of type {str(kind)[:40]!r} is not taken here", hint, "unsupported_parameter")
    return given


def _block(value: Any) -> Block:
    given = _only(value, list(_KINDS))
    return _KINDS[given["type"]].model_validate(given)


AnyBlock = Annotated[Block, PlainValidator(_block, json_schema_input_type=Block)]
SystemText = Annotated[list[_ResultText], BeforeValidator(_texts, json_schema_input_type=str | list[_ResultText])]


class MessageIn(Checked):
    """One message: a text, or blocks."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[list[AnyBlock], BeforeValidator(_texts, json_schema_input_type=str | list[AnyBlock])]

    @model_validator(mode="after")
    def _fits(self) -> MessageIn:
        text = False
        for n, block in enumerate(self.content):
            _only({"type": block.type}, _SAYS[self.role], f"content[{n}]")
            if block.type == "tool_result" and text:
                refuse(f"content[{n}]", "results come before what else the user says", "Put the texts behind them.")
            text = text or block.type == "text"
        return self


def joined(blocks: Sequence[TextBlock]) -> str:
    """Texts as one."""
    return _APART.join(block.text for block in blocks)


def as_turns(messages: Sequence[MessageIn]) -> list[Turn]:
    """The turns of a chat. Messages of one role that follow one another are one turn, as Anthropic has it."""
    turns: list[Turn] = []
    for n, message in enumerate(messages):
        place = f"messages[{n}]"
        for at, block in enumerate(message.content):
            if isinstance(block, ResultBlock):
                told = {"role": "tool", "content": block.text, "tool_call_id": block.tool_use_id}
                turns.append(Turn(f"{place}.content[{at}]", told))
        said = [block for block in message.content if not isinstance(block, ResultBlock)]
        if not said and message.content:
            continue
        last = turns[-1].message if turns else {}
        if last.get("role") != message.role or "tool_calls" in last:
            last = {"role": message.role, "content": None}
            turns.append(Turn(place, last))
        for block in said:
            _add(block, last)
        if last["content"] is None and "tool_calls" not in last:
            last["content"] = ""
    return turns


def _add(block: Block, turn: JsonObject) -> None:
    if isinstance(block, TextBlock):
        turn["content"] = block.text if turn["content"] is None else f"{turn['content']}{_APART}{block.text}"
    elif isinstance(block, ThoughtBlock):
        before = f"{turn['reasoning_content']}{_APART}" if "reasoning_content" in turn else ""
        turn["reasoning_content"] = before + block.thinking
    elif isinstance(block, CallBlock):
        function = {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}
        turn.setdefault("tool_calls", []).append({"id": block.id, "type": "function", "function": function})
