"""The input of a response: messages, calls, their outputs and reasoning, and the turns of a chat that they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, field_validator, model_validator

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server.apis.names import Turn
from llmops_tui.inference.server.apis.response_teller import OutputItem
from llmops_tui.inference.server.fields import MESSAGE, Checked, Rules, Unoffered, refuse
from llmops_tui.inference.server.messages import Message, joined_text

_KNOWN_BY = dict.fromkeys(("id", "status"), "what a part of an answer was known by; only what it says goes on")
_CALLER = {"caller": Unoffered("Calls come from the model alone.", ({"type": "direct"},))}
_ITEM = Rules(
    idle=dict(MESSAGE.idle) | _KNOWN_BY | {"phase": "as status"},
    unoffered=MESSAGE.unoffered,
)  # fmt: skip
_CALL = Rules(
    idle=_KNOWN_BY,
    unoffered=_CALLER | {
        "namespace": Unoffered("Tools have no namespaces here: give the name as the tool has it."),
        "async": Unoffered("A call's output is always waited for.", (False,)),
    },
)  # fmt: skip
_RESULT = Rules(
    idle=_KNOWN_BY | {"name": "which function it is the output of, as its call says"},
    unoffered=_CALLER | {"namespace": _CALL.unoffered["namespace"]},
)
_Id = Annotated[str, Field(min_length=1, max_length=200)]


class MessageItem(Message):
    """A message; its fields beside are those of an answer's message, which clients send back."""

    rules: ClassVar[Rules] = _ITEM

    type: Literal["message"] = "message"


class CallItem(Checked):
    """A call that the model made."""

    rules: ClassVar[Rules] = _CALL

    type: Literal["function_call"]
    call_id: _Id
    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: str = "{}"


class ResultItem(Checked):
    """What a call gave back: a text, or parts that are text."""

    rules: ClassVar[Rules] = _RESULT

    type: Literal["function_call_output"]
    call_id: _Id
    output: str

    @field_validator("output", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return joined_text(value) if isinstance(value, list) else value


class _Thought(Checked):
    type: Literal["reasoning_text", "summary_text"]
    text: str


class ReasoningItem(Checked):
    """What the model thought before it went on: the reasoning itself, or what another provider says of it."""

    rules: ClassVar[Rules] = Rules(idle=_KNOWN_BY)

    type: Literal["reasoning"]
    content: list[_Thought] = Field(default_factory=list)
    summary: list[_Thought] = Field(default_factory=list)
    encrypted_content: str | None = None

    @model_validator(mode="after")
    def _is_text(self) -> ReasoningItem:
        if self.encrypted_content and not self.text:
            told = "this reasoning has no text, and only the provider that encrypted it can read it"
            refuse("encrypted_content", told, "Leave the item out.")
        return self

    @property
    def text(self) -> str:
        """What was thought, as far as it is told."""
        return "\n\n".join(thought.text for thought in self.content or self.summary)


class ReferenceItem(Checked):
    """Stands for a part of an answer that is kept here."""

    type: Literal["item_reference"]
    id: _Id


Item = MessageItem | CallItem | ResultItem | ReasoningItem | ReferenceItem
_KINDS: dict[str, type[Item]] = {
    "message": MessageItem,
    "function_call": CallItem,
    "function_call_output": ResultItem,
    "reasoning": ReasoningItem,
    "item_reference": ReferenceItem,
}


def item_of(value: Any) -> Item:
    """One item of the input.

    Raises:
        ValueError: it is none, or one that is not taken here.
    """
    if not isinstance(value, Mapping):
        refuse("", f"an item is an object, no {type(value).__name__}")
    kind = value.get("type") or "message"
    if kind not in _KINDS:
        hint = "Leave it out; messages, function_call, function_call_output and reasoning are taken."
        refuse("type", f"an item of type {str(kind)[:40]!r} is not taken here", hint, "unsupported_parameter")
    return _KINDS[kind].model_validate(value)


def item_said(output: OutputItem) -> Item:
    """A part of an answer as an item of the input; what the model wrote is held to no limit."""
    text = "".join(part["text"] for part in output.get("content", ()))
    if output["type"] == "function_call":
        name, arguments = output.get("name", ""), output.get("arguments", "")
        return CallItem.model_construct(
            type="function_call", call_id=output.get("call_id", ""), name=name, arguments=arguments
        )
    if output["type"] == "reasoning":
        thought = _Thought.model_construct(type="reasoning_text", text=text)
        return ReasoningItem.model_construct(type="reasoning", content=[thought])
    return MessageItem.model_construct(type="message", role="assistant", content=text)


AnyItem = Annotated[Item, PlainValidator(item_of, json_schema_input_type=Item)]


def as_turns(items: Iterable[tuple[str, Item]]) -> list[Turn]:
    """The turns of a chat; what the assistant thought, said and called one after the other is one turn of it."""
    turns: list[Turn] = []
    last: JsonObject | None = None
    for place, item in items:
        if isinstance(item, ResultItem):
            turns.append(Turn(place, {"role": "tool", "content": item.output, "tool_call_id": item.call_id}))
            last = None
        elif isinstance(item, MessageItem) and item.role != "assistant":
            turns.append(Turn(place, item.model_dump(exclude={"type"}, exclude_none=True)))
            last = None
        elif not isinstance(item, ReferenceItem):
            if last is None or _begins(item, last):
                last = {"role": "assistant"}
                turns.append(Turn(place, last))
            _add(item, last)
    for turn in turns:
        if turn.message["role"] == "assistant" and not {"content", "refusal", "tool_calls"} & set(turn.message):
            turn.message["content"] = ""
    return turns


def _begins(item: Item, turn: JsonObject) -> bool:
    """Whether an item of the assistant's begins another turn: a turn has one text, and its thoughts come before that."""
    if isinstance(item, MessageItem):
        return bool({"content", "refusal", "tool_calls"} & set(turn))
    # Calls that nobody has answered yet belong together, whatever was thought between them.
    return isinstance(item, ReasoningItem) and "content" in turn and "tool_calls" not in turn


def _add(item: Item, turn: JsonObject) -> None:
    if isinstance(item, MessageItem):
        turn |= item.model_dump(exclude={"type"}, exclude_none=True)
    elif isinstance(item, CallItem):
        function = {"name": item.name, "arguments": item.arguments}
        turn.setdefault("tool_calls", []).append({"id": item.call_id, "type": "function", "function": function})
    elif isinstance(item, ReasoningItem) and item.text:
        before = f"{turn['reasoning_content']}\n\n" if "reasoning_content" in turn else ""
        turn["reasoning_content"] = before + item.text
