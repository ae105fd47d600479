"""The body of ``POST /v1/responses`` as one chat completion, and its response."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from llmops_tui.inference.server import fields
from llmops_tui.inference.server.apis.base import Answer, Asked
from llmops_tui.inference.server.apis.response_teller import Echoed, ResponseTeller
from llmops_tui.inference.server.connection import read_body
from llmops_tui.inference.server.fields import Checked, Rules, refuse
from llmops_tui.inference.server.generation import Choice
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


class ResponsesApi:
    """The endpoint; ``answer`` answers what is a chat completion."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def create(self, request: Request) -> Response:
        """``POST /v1/responses``."""
        body = await read_body(request, ResponsesRequest)

        def teller(choices: list[Choice], model: str) -> ResponseTeller:
            return ResponseTeller(choices[0].record.id.replace("run_", "resp_"), model, body.echoed())

        return await self._answer(request, Asked(body.as_chat(), body.stream, teller))
