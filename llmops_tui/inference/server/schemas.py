"""Request models of the OpenAI-compatible endpoint; further fields are handled in :mod:`.fields`."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from llmops_tui.inference.constraints import Form
from llmops_tui.inference.sampling import LONGEST, SamplingParameters
from llmops_tui.inference.server import fields
from llmops_tui.inference.server.fields import Checked, Rules, refuse
from llmops_tui.inference.server.inputs import Texts, TokenIds
from llmops_tui.inference.server.messages import NAMED, Message, Tool, ToolChoice, goes_on
from llmops_tui.workspace.events import FeedbackRecord

MAX_CHOICES = 64
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class StreamOptions(Checked):
    """What a stream carries besides text. A whole answer always has its token counts."""

    rules: ClassVar[Rules] = fields.STREAM_OPTIONS

    include_usage: bool = False


class _JsonSchema(Checked):
    rules: ClassVar[Rules] = Rules(
        idle={
            "name": "what the form is called, which says nothing of it",
            "description": "as name; what the model is to know of the form belongs into the messages",
            "strict": "whether the form is enforced strictly, as it always is",
        }
    )

    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(Checked):
    """The form of an answer. An object with a ``schema`` beside its type, as llama.cpp has it, is constrained by that."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None

    @model_validator(mode="after")
    def _fits(self) -> ResponseFormat:
        if self.json_schema is not None and self.type != "json_schema":
            refuse("json_schema", f"has no meaning with the type {self.type}", "Set the type to json_schema.")
        if self.schema_ is not None and self.type != "json_object":
            refuse("schema", f"has no meaning beside the type {self.type}", "Put it into json_schema.")
        if self.type == "json_schema" and self.json_schema is None:
            refuse("json_schema", "the type json_schema needs one", 'Give it as {"schema": {...}}.')
        return self

    def as_form(self) -> Form:
        """The form as the engine's checker takes it."""
        schema = self.json_schema.schema_ if self.json_schema is not None else self.schema_
        return {"type": self.type} if schema is None else {"type": "json_schema", "json_schema": {"schema": schema}}


class _GenerationRequest(Checked):
    """What chat and text completions have in common; names are OpenAI's, with extra samplers under llama.cpp's names."""

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
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: list[str] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] = 1
    response_format: ResponseFormat | None = None
    grammar: Annotated[str, Field(max_length=200_000)] | None = None
    truncate: Literal["", "left", "middle", "oldest"] = ""
    cache_prompt: bool = True
    ignore_eos: bool = False
    # Kept with the trace, as its client's word; an answer does not depend on it.
    metadata: dict[str, Any] | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_form(self) -> _GenerationRequest:
        if self.grammar is not None:
            if not self.grammar.strip():
                refuse("grammar", "is empty", "Leave it out, or give a rule named root.")
            if self.response_format is not None and self.response_format.type != "text":
                refuse(
                    "grammar",
                    "an answer is constrained by a grammar or to a response_format, not both",
                    "Leave one out.",
                )
        return self

    @property
    def default_max_tokens(self) -> int:
        """How long an answer gets where nothing is said: as long as the context has room."""
        return LONGEST

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def constraint(self) -> Form | None:
        """What the answer's form is held to, as the engine takes it."""
        if self.grammar:
            return {"type": "grammar", "grammar": self.grammar}
        return self.response_format.as_form() if self.response_format is not None else None

    @property
    def demanded(self) -> str | None:
        """The tool that has to be called; empty for any of them, none where the model chooses whether, or there are none."""
        return None

    def traced_form(self) -> dict[str, object]:
        """What a trace keeps of the form that was asked for, beside how the answer was sampled; nothing of plain text."""
        if self.grammar:
            return {"grammar": self.grammar}
        if self.response_format is None or self.response_format.type == "text":
            return {}
        return {"response_format": self.response_format.as_form()}

    def place_of_form(self, _tool: str = "") -> str:
        """Where what the answer's form is held to stands in the body."""
        if self.grammar or self.response_format is None:
            return "grammar"
        return "response_format" + (
            ".json_schema.schema" if self.response_format.json_schema is not None else ".schema"
        )

    def sampling(self, offset: int = 0) -> SamplingParameters:
        """The sampling parameters of choice ``offset``; OpenAI's defaults where nothing is said, and a random seed.

        Raises:
            pydantic.ValidationError: a value is out of its bounds.
        """
        given = {name: getattr(self, name, None) for name in SamplingParameters.model_fields}
        given = {"temperature": 1.0, "max_tokens": self.default_max_tokens} | {
            k: v for k, v in given.items() if v is not None
        }
        # As llama-server has it: -1 tokens are as many as there is room for, a negative number of tokens to keep keeps all,
        # and the seed -1 is any.
        if given["max_tokens"] == -1:
            given["max_tokens"] = LONGEST
        given["top_k"] = max(0, given.get("top_k", 0))
        seed = given.get("seed", -1)
        # OpenAI allows any integer of 64 bits as a seed; ours have 32.
        given["seed"] = (secrets.randbits(31) if seed == -1 else seed + offset) % (2**32 - 1)
        return SamplingParameters.model_validate(given)


class ChatRequest(_GenerationRequest):
    """Body of ``POST /v1/chat/completions``."""

    rules: ClassVar[Rules] = fields.CHAT

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Annotated[int, Field(ge=-1, le=LONGEST)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    reasoning_effort: Effort | None = None
    enable_thinking: bool | None = None
    thinking_budget: Annotated[int, Field(ge=0, le=LONGEST)] | None = None
    answer_token_ids: TokenIds | None = None
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None

    @model_validator(mode="after")
    def _one_word_on_thinking(self) -> ChatRequest:
        known = self.chat_template_kwargs.get("enable_thinking", self.enable_thinking)
        if self.enable_thinking is not None and known != self.enable_thinking:
            refuse("enable_thinking", "says something else than chat_template_kwargs", "Leave one out.")
        return self

    @model_validator(mode="after")
    def _goes_on_with_what_may_be(self) -> ChatRequest:
        hint = "Set continue_final_message to false for a new turn, or end with a message of the user's."
        if self.answer_token_ids is not None:
            if self.goes_on:
                refuse("answer_token_ids", "the answer goes on with the last message already", hint)
            if self.truncate == "oldest":
                refuse("truncate", "turns are not dropped before an answer that is gone on with", "Leave it out.")
            hint = "Leave out answer_token_ids."
        elif not self.goes_on:
            return self
        if self.response_format is not None and self.response_format.type != "text":
            refuse("response_format", "what the assistant's last message begins is not held to a form", hint)
        if self.demanded is not None:
            refuse("tool_choice", "an answer that goes on with the assistant's last message is not made to call", hint)
        return self

    @property
    def goes_on(self) -> bool:
        """Whether the answer goes on with the last message, which is the assistant's."""
        return goes_on(self.messages, self.continue_final_message, self.add_generation_prompt)

    @model_validator(mode="after")
    def _fits(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            refuse("top_logprobs", "has no meaning without logprobs", "Set logprobs to true.")
        if self.max_tokens is not None and self.max_completion_tokens not in {None, self.max_tokens}:
            refuse("max_completion_tokens", "is another number than max_tokens, its older name", "Leave one out.")
        names = [t.function.name for t in self.tools or ()]
        if (again := next((n for n, name in enumerate(names) if name in names[:n]), None)) is not None:
            told = f"another tool has the name {names[again]!r}, so a call would not say which is meant"
            refuse(f"tools[{again}].function.name", told, "Give each a name of its own.")
        choice = self.tool_choice
        if choice is not None and not names and (choice.among or choice.word not in {"none", "auto"}):
            refuse("tool_choice", "no tool can be called where there are no tools", "Give tools, or leave it out.")
        meant = [self.demanded or ""] if choice is None or choice.among is None else choice.among
        if (unknown := next((name for name in meant if name and name not in names), None)) is not None:
            told = f"names no tool of the request: {unknown[:100]!r}"
            refuse("tool_choice", told, f"There are: {', '.join(names)[:300]}.", "tool_unknown")
        return self

    @property
    def offered(self) -> list[Tool]:
        """The tools that may be called; no others are shown to the model."""
        choice = self.tool_choice
        if choice is None or choice.word == "none":
            return [] if choice is not None else self.tools or []
        return [t for t in self.tools or () if choice.among is None or t.function.name in choice.among]

    def place_of_form(self, tool: str = "") -> str:
        """As for all requests; for a tool's name, where its parameters stand."""
        places = [
            f"tools[{n}].function.parameters" for n, one in enumerate(self.tools or ()) if one.function.name == tool
        ]
        if not places and self.offered and self.response_format is None:
            return "tools"
        return places[0] if places else super().place_of_form()

    @property
    def demanded(self) -> str | None:
        """The tool that has to be called; empty for any of them, none where the model chooses whether."""
        choice = self.tool_choice
        if choice is None or choice.word in {"none", "auto"}:
            return None
        return "" if choice.word == "required" else choice.word.removeprefix(NAMED)

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

    rules: ClassVar[Rules] = fields.COMPLETION

    prompt: Texts
    suffix: str | None = None
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logprob_start_len: Annotated[int, Field(ge=0)] = 0
    add_special_tokens: bool = True
    best_of: int | None = None

    @model_validator(mode="after")
    def _fits(self) -> CompletionRequest:
        if self.best_of is not None and self.best_of != self.n:
            refuse("best_of", "only the same number as n is offered", "Ask for n answers, and choose.")
        if self.truncate == "oldest":
            refuse("truncate", "a text has no turns of which the oldest could go", "Give left or middle.")
        if self.suffix and self.truncate == "middle":
            refuse("truncate", "around a gap, what is far from it is cut", "Give left.")
        if self.suffix and self.echo and self.logprobs is not None:
            refuse("logprobs", "a text with a gap is not scored", "Leave out echo or logprobs.")
        if self.logprob_start_len and not (self.echo and self.logprobs is not None):
            refuse("logprob_start_len", "only given text is scored from a token on", "Set echo and logprobs as well.")
        return self

    @property
    def default_max_tokens(self) -> int:
        """As OpenAI's text completions: short."""
        return 16


class EmbeddingRequest(Checked):
    """Body of ``POST /v1/embeddings``."""

    rules: ClassVar[Rules] = fields.EMBEDDING

    model: Annotated[str, Field(max_length=400)] = ""
    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None


class TokenizeRequest(Checked):
    """Body of ``POST /tokenize``: a text, or a conversation through the chat template."""

    rules: ClassVar[Rules] = fields.TOKENIZE

    model: Annotated[str, Field(max_length=400)] = ""
    content: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)] | None = None
    add_special: bool | None = None
    add_special_tokens: bool | None = None
    parse_special: bool = True
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    enable_thinking: bool | None = None

    @property
    def goes_on(self) -> bool:
        """As of a chat completion."""
        return goes_on(self.messages or (), self.continue_final_message, self.add_generation_prompt)

    @model_validator(mode="after")
    def _one_of_each(self) -> TokenizeRequest:
        given = [name for name in ("content", "prompt", "messages") if getattr(self, name) is not None]
        if len(given) != 1:
            told = f"only one of {' and '.join(given)} can be tokenized" if given else "there is nothing to tokenize"
            refuse(given[-1] if given else "content", told, "Give one of content, prompt and messages.")
        if self.add_special_tokens not in {None, self.add_special} and self.add_special is not None:
            refuse("add_special_tokens", "says something else than add_special", "Leave one out.")
        if self.messages is not None:
            goes_on(self.messages, self.continue_final_message, self.add_generation_prompt)
        elif self.enable_thinking is not None:
            refuse("enable_thinking", "a text has no messages", "Leave it out.")
        elif self.continue_final_message is not None or self.add_generation_prompt is not None:
            named = "add_generation_prompt" if self.continue_final_message is None else "continue_final_message"
            refuse(named, "a text has no messages", "Leave it out.")
        return self

    @property
    def special(self) -> bool:
        """Whether the tokens that begin and end a text are added."""
        return bool(self.add_special or self.add_special_tokens)


class DetokenizeRequest(Checked):
    """Body of ``POST /detokenize``."""

    model: Annotated[str, Field(max_length=400)] = ""
    tokens: TokenIds


class FeedbackRequest(Checked):
    """What somebody says of an answer: a thumb, a better answer, a comment; at least one of them."""

    id: Annotated[str, Field(min_length=1, max_length=100)]
    score: Literal["up", "down"] | None = None
    correction: Annotated[str, Field(max_length=200_000)] | None = None
    comment: Annotated[str, Field(max_length=20_000)] | None = None
    user: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackRequest:
        if self.score is None and not self.correction and not self.comment:
            refuse("score", "nothing is said of the answer", "Give a score, a correction or a comment.")
        return self

    def as_entry(self, trace: str, source: str) -> FeedbackRecord:
        """The feedback as the event log keeps it."""
        return {
            "request": trace,
            "score": {"up": 1, "down": -1, None: None}[self.score],
            "correction": self.correction,
            "comment": self.comment,
            "source": source,
            "said_at": time.time(),
        }
