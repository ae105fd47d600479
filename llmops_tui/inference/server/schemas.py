"""The requests of the OpenAI-compatible endpoint, checked, and the shapes of its answers."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmops_tui.inference.sampling import SamplingParameters

MAX_CHOICES = 64
_MAX_PROMPTS = 2048
Tokens = Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(max_length=2_000_000)]


class Message(BaseModel):
    """One turn of a conversation. Content is text, or parts of which only text is taken."""

    model_config = ConfigDict(extra="allow")

    role: Annotated[str, Field(min_length=1, max_length=40)]
    content: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        texts = []
        for part in value:
            if not isinstance(part, dict) or part.get("type") not in {"text", "input_text", "output_text"}:
                kind = part.get("type") if isinstance(part, dict) else type(part).__name__
                raise ValueError(f"a content part of type {str(kind)[:40]!r} is not taken here; only text is")
            texts.append(str(part.get("text", "")))
        return "".join(texts)

    def as_turn(self) -> dict[str, Any]:
        """The turn as templates get it."""
        return self.model_dump(exclude_none=True) | {"content": self.content or ""}


class StreamOptions(BaseModel):
    """What a stream carries besides text."""

    include_usage: bool = False


class _GenerationRequest(BaseModel):
    """What chat and text completions have in common; names are OpenAI's, with extra samplers under llama.cpp's names."""

    model_config = ConfigDict(extra="ignore")

    model: Annotated[str, Field(max_length=400)] = ""
    adapter: Annotated[str, Field(max_length=200)] = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] = 1
    response_format: dict[str, Any] | None = None
    grammar: Annotated[str, Field(max_length=200_000)] | None = None
    truncate: Literal["", "left", "middle", "oldest"] = ""
    cache_prompt: bool = True
    ignore_eos: bool = False
    metadata: dict[str, Any] | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known_format(self) -> _GenerationRequest:
        given = self.response_format
        if given is not None:
            kind = given.get("type")
            if self.grammar and kind != "text":
                raise ValueError("an answer is held to a grammar or to a response_format, not both")
            if kind not in {"text", "json_object", "json_schema"}:
                raise ValueError(f"response_format: the type {str(kind)[:40]!r} is not known")
            schema = given.get("json_schema")
            if kind == "json_schema" and not (isinstance(schema, dict) and isinstance(schema.get("schema"), dict)):
                raise ValueError("response_format: json_schema.schema must be an object")
        return self

    @property
    def default_max_tokens(self) -> int:
        """How long an answer gets where nothing is said: as long as the context has room."""
        return 1_000_000

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def constraint(self) -> dict[str, Any] | None:
        """What the answer's form is held to, as the engine takes it."""
        return {"type": "grammar", "grammar": self.grammar} if self.grammar else self.response_format

    def sampling(self, offset: int = 0) -> SamplingParameters:
        """The sampling parameters of choice ``offset``; OpenAI's defaults where nothing is said, and a random seed.

        Raises:
            pydantic.ValidationError: a value is out of its bounds.
        """
        given = {name: getattr(self, name, None) for name in SamplingParameters.model_fields}
        given = {"temperature": 1.0, "max_tokens": self.default_max_tokens} | {
            k: v for k, v in given.items() if v is not None
        }
        seed = given.get("seed")
        # OpenAI allows any integer as a seed; ours are 32 bits wide.
        given["seed"] = (secrets.randbits(31) if seed is None else (seed + offset) % (2**32 - 1)) % (2**32 - 1)
        return SamplingParameters.model_validate(given)


class Tool(BaseModel):
    """A function that a model may call."""

    model_config = ConfigDict(extra="allow")

    type: Literal["function"] = "function"
    function: dict[str, Any]

    @model_validator(mode="after")
    def _named(self) -> Tool:
        name = self.function.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= 100:
            raise ValueError("a function needs a name of 1 to 100 characters")
        return self


class ChatRequest(_GenerationRequest):
    """Body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: int | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)

    def sampling(self, offset: int = 0) -> SamplingParameters:
        """As for all requests; ``max_completion_tokens`` is the newer name of ``max_tokens``."""
        if self.max_completion_tokens is not None and self.max_tokens is None:
            return self.model_copy(update={"max_tokens": self.max_completion_tokens}).sampling(offset)
        return super().sampling(offset)

    @property
    def alternatives(self) -> int | None:
        """How many alternatives are told beside each token; none where no log-probabilities are wanted."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(_GenerationRequest):
    """Body of ``POST /v1/completions``."""

    prompt: str | Tokens | Annotated[list[str] | list[Tokens], Field(min_length=1, max_length=_MAX_PROMPTS)]
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logprob_start_len: Annotated[int, Field(ge=0)] = 0
    add_special_tokens: bool = True
    suffix: str | None = None
    best_of: int | None = None

    @field_validator("logprobs", mode="before")
    @classmethod
    def _as_number(cls, value: Any) -> Any:
        return (1 if value else None) if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _offered(self) -> CompletionRequest:
        if self.suffix:
            raise ValueError("suffix: text is only continued here, never filled in")
        if self.best_of is not None and self.best_of != self.n:
            raise ValueError("best_of: only the same number as n is offered")
        return self

    @property
    def default_max_tokens(self) -> int:
        """As OpenAI's text completions: short."""
        return 16

    def prompts(self) -> list[str | list[int]]:
        """The prompts, each as text or as token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if not self.prompt or isinstance(self.prompt[0], int):
            return [[int(t) for t in self.prompt if isinstance(t, int)]]
        return [p for p in self.prompt if not isinstance(p, int)]


class EmbeddingRequest(BaseModel):
    """Body of ``POST /v1/embeddings``."""

    model: Annotated[str, Field(max_length=400)] = ""
    input: str | Tokens | Annotated[list[str] | list[Tokens], Field(min_length=1, max_length=_MAX_PROMPTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None

    def inputs(self) -> list[str | list[int]]:
        """The texts, each as text or as token ids."""
        return CompletionRequest(prompt=self.input).prompts()


class TokenizeRequest(BaseModel):
    """Body of ``POST /tokenize``: a text, or a conversation through the chat template."""

    content: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    add_special: bool | None = None
    add_special_tokens: bool = False
    parse_special: bool = True


class DetokenizeRequest(BaseModel):
    """Body of ``POST /detokenize``."""

    tokens: Tokens


class ResponsesRequest(BaseModel):
    """Body of ``POST /v1/responses``, as far as it is one chat completion."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stream: bool = False
    text: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None

    def as_chat(self) -> ChatRequest:
        """The same as a chat completion."""
        turns: list[dict[str, Any]] = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            turns.append({"role": "user", "content": self.input})
        else:
            turns += [{"role": t.get("role", "user"), "content": t.get("content", "")} for t in self.input]
        form = (self.text or {}).get("format") or {"type": "text"}
        if form.get("type") == "json_schema":
            form = {"type": "json_schema", "json_schema": {"schema": form.get("schema")}}
        return ChatRequest.model_validate(
            {
                "model": self.model, "messages": turns, "temperature": self.temperature, "top_p": self.top_p,
                "max_tokens": self.max_output_tokens, "response_format": form, "metadata": self.metadata,
            }
        )  # fmt: skip


def error_body(code: str, message: str, hint: str = "", kind: str = "invalid_request_error") -> dict[str, Any]:
    """An error in OpenAI's form, with our hint beside it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code, "hint": hint}}


class FeedbackRequest(BaseModel):
    """What somebody says of an answer: a thumb, a better answer, a comment; at least one of them."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=100)]
    score: Literal["up", "down"] | None = None
    correction: Annotated[str, Field(max_length=200_000)] | None = None
    comment: Annotated[str, Field(max_length=20_000)] | None = None
    user: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackRequest:
        if self.score is None and not self.correction and not self.comment:
            raise ValueError("give a score, a correction or a comment")
        return self

    def as_entry(self, trace: str) -> dict[str, Any]:
        """The feedback as the journal keeps it."""
        return {
            "request": trace, "score": {"up": 1, "down": -1, None: None}[self.score], "correction": self.correction,
            "comment": self.comment, "source": self.user or "endpoint", "said_at": time.time(),
        }  # fmt: skip


def envelope(kind: str, request_id: str, model: str, choices: list[dict[str, Any]], *, chunk: bool) -> dict[str, Any]:
    """What every completion has around its choices; ``kind`` is ``chat`` or ``text``."""
    name = ("chat.completion.chunk" if chunk else "chat.completion") if kind == "chat" else "text_completion"
    return {"id": request_id, "object": name, "created": int(time.time()), "model": model, "choices": choices}


def usage(results: list[dict[str, Any]], choices_a_prompt: int = 1) -> dict[str, Any]:
    """Token counts of all choices in OpenAI's form; a prompt counts once, however many choices it has."""
    prompt = sum(int(r["prompt_tokens"]) for r in results[::choices_a_prompt])
    made = sum(int(r["completion_tokens"]) for r in results)
    cached = sum(int(r["reused_tokens"]) for r in results[::choices_a_prompt])
    return {
        "prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }  # fmt: skip


def _text(raw: list[int]) -> str:
    return bytes(raw).decode("utf-8", "replace")


def chat_logprobs(tokens: list[list[Any]]) -> dict[str, Any]:
    """Token records of the engine as chat completions tell them."""

    def entry(token: list[Any]) -> dict[str, Any]:
        return {"token": _text(token[1]), "bytes": token[1], "logprob": token[2]}

    return {"content": [entry(t) | {"top_logprobs": [entry(a) for a in t[3]]} for t in tokens], "refusal": None}


def text_logprobs(tokens: list[list[Any]], offset: int = 0) -> dict[str, Any]:
    """Token records as text completions tell them; the chosen token is always among the alternatives.

    The first token of a text that begins with no other has no log-probability, and null stands for it.
    """
    pieces = [_text(t[1]) for t in tokens]
    offsets = []
    for piece in pieces:
        offsets.append(offset)
        offset += len(piece)
    tops: list[dict[str, float] | None] = []
    for token, piece in zip(tokens, pieces, strict=True):
        if token[2] is None:
            tops.append(None)
            continue
        # Different tokens may decode to one text; the likeliest of them stands.
        top: dict[str, float] = {}
        for _, raw, logprob in token[3]:
            top.setdefault(_text(raw), logprob)
        top.setdefault(piece, token[2])
        tops.append(top)
    return {
        "tokens": pieces, "token_logprobs": [t[2] for t in tokens], "top_logprobs": tops, "text_offset": offsets,
        "token_ids": [t[0] for t in tokens],
    }  # fmt: skip
