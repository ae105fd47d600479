"""The requests of the OpenAI-compatible endpoint, checked, and the shapes of its answers."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmops_tui.inference.sampling import SamplingParameters


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="allow")

    role: Annotated[str, Field(min_length=1, max_length=40)]
    content: str


class StreamOptions(BaseModel):
    """What a stream carries besides text."""

    include_usage: bool = False


class _GenerationRequest(BaseModel):
    """What chat and text completions have in common; names are OpenAI's, with llama.cpp's extra samplers."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    n: Literal[1] = 1
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def sampling(self) -> SamplingParameters:
        """The sampling parameters, defaults filled in.

        Raises:
            pydantic.ValidationError: a value is out of its bounds.
        """
        given = {name: getattr(self, name) for name in SamplingParameters.model_fields}
        return SamplingParameters.model_validate({k: v for k, v in given.items() if v is not None})


class ChatRequest(_GenerationRequest):
    """Body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: int | None = None

    def sampling(self) -> SamplingParameters:
        """As for all requests; ``max_completion_tokens`` is the newer name of ``max_tokens``."""
        if self.max_completion_tokens is not None and self.max_tokens is None:
            return self.model_copy(update={"max_tokens": self.max_completion_tokens}).sampling()
        return super().sampling()


class CompletionRequest(_GenerationRequest):
    """Body of ``POST /v1/completions``."""

    prompt: str


class TokenizeRequest(BaseModel):
    """Body of ``POST /tokenize``: a text, or a conversation through the chat template."""

    content: str | None = None
    messages: list[Message] | None = None
    add_special: bool = False
    parse_special: bool = True


def error_body(code: str, message: str, hint: str = "", kind: str = "invalid_request_error") -> dict[str, Any]:
    """An error in OpenAI's form, with our hint beside it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code, "hint": hint}}


def chunk(kind: str, request_id: str, model: str, text: str | None, finish: str | None) -> dict[str, Any]:
    """One event of a stream, of ``kind`` ``chat`` or ``text``."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if kind == "chat":
        choice["delta"] = {} if text is None else {"content": text}
        name = "chat.completion.chunk"
    else:
        choice["text"] = text or ""
        name = "text_completion"
    return {"id": request_id, "object": name, "created": int(time.time()), "model": model, "choices": [choice]}


def whole(kind: str, request_id: str, model: str, text: str, finish: str) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if kind == "chat":
        choice["message"] = {"role": "assistant", "content": text}
        name = "chat.completion"
    else:
        choice["text"] = text
        name = "text_completion"
    return {"id": request_id, "object": name, "created": int(time.time()), "model": model, "choices": [choice]}


def usage(result: dict[str, Any]) -> dict[str, int]:
    """Token counts in OpenAI's form."""
    prompt, made = int(result["prompt_tokens"]), int(result["completion_tokens"])
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
