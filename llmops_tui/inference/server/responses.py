"""The body of ``POST /v1/responses`` as one chat completion, and its response."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypedDict

from pydantic import BeforeValidator, Field, model_validator

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server import fields
from llmops_tui.inference.server.fields import Checked, Rules, refuse
from llmops_tui.inference.server.messages import Message
from llmops_tui.inference.server.schemas import ChatRequest, Effort, StreamOptions


class Item(Message):
    """A message of the input; its fields beside are those of an answer's message, which clients send back."""

    rules: ClassVar[Rules] = fields.ITEM

    type: Literal["message"] = "message"

    @model_validator(mode="before")
    @classmethod
    def _a_message(cls, given: Any) -> Any:
        kind = given.get("type", "message") if isinstance(given, dict) else "message"
        if kind != "message":
            told = f"an item of type {str(kind)[:40]!r} is not taken here; only messages are"
            refuse("type", told, "Calls and their results go through /v1/chat/completions.")
        return given


class _Format(Checked):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None

    @model_validator(mode="after")
    def _fits(self) -> _Format:
        if (self.schema_ is not None) != (self.type == "json_schema"):
            refuse("schema", "goes with the type json_schema, and the type with it")
        return self


class _Text(Checked):
    rules: ClassVar[Rules] = fields.RESPONSES_TEXT

    format: _Format = _Format()


class _Reasoning(Checked):
    rules: ClassVar[Rules] = fields.REASONING

    effort: Effort | None = None


def _as_items(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


class Echoed(TypedDict):
    """What an answer repeats of its request."""

    instructions: str | None
    metadata: JsonObject
    temperature: float | None
    top_p: float | None
    max_output_tokens: int | None
    truncation: str


class Place(TypedDict):
    """Where a piece of an answer belongs."""

    item_id: str
    output_index: int
    content_index: int


class OutputPart(TypedDict):
    """A part of an answer's message."""

    type: str
    text: str
    annotations: list[JsonObject]


class OutputItem(TypedDict):
    """The message that is the answer."""

    id: str
    type: str
    role: str
    status: str
    content: list[OutputPart]


class ResponseUsage(TypedDict):
    """Tokens of a request and its answer."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens_details: dict[str, int]


class Response(Echoed):
    """A whole answer, or what there is of it."""

    id: str
    object: str
    created_at: int
    status: str
    model: str
    output: list[OutputItem]
    usage: ResponseUsage | None
    error: None
    incomplete_details: dict[str, str] | None
    store: bool
    parallel_tool_calls: bool
    tool_choice: str
    tools: list[JsonObject]


class ResponsesRequest(Checked):
    """Body of ``POST /v1/responses``."""

    rules: ClassVar[Rules] = fields.RESPONSES

    model: Annotated[str, Field(max_length=400)] = ""
    input: Annotated[
        list[Item],
        Field(min_length=1, max_length=10_000),
        BeforeValidator(_as_items, json_schema_input_type=str | list[Item]),
    ]
    instructions: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    text: _Text = _Text()
    reasoning: _Reasoning = _Reasoning()
    truncation: Literal["auto", "disabled"] = "disabled"
    metadata: dict[str, Any] | None = None

    def as_chat(self) -> ChatRequest:
        """The same as a chat completion."""
        turns: list[dict[str, Any]] = [{"role": "system", "content": self.instructions}] if self.instructions else []
        turns += [item.model_dump(exclude={"type"}) for item in self.input]
        form: dict[str, Any] = {"type": self.text.format.type}
        if self.text.format.schema_ is not None:
            form["json_schema"] = {"schema": self.text.format.schema_}
        return ChatRequest.model_validate(
            {
                "model": self.model,
                "messages": turns,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "max_tokens": self.max_output_tokens,
                "response_format": form,
                "metadata": self.metadata,
                "reasoning_effort": self.reasoning.effort,
                "truncate": "oldest" if self.truncation == "auto" else "",
            }
        )

    def echoed(self) -> Echoed:
        """What an answer repeats of its request."""
        return {
            "instructions": self.instructions,
            "metadata": self.metadata or {},
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_output_tokens": self.max_output_tokens,
            "truncation": self.truncation,
        }
