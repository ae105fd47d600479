"""The bodies of ``POST /v1/messages`` and of its count of tokens as one chat completion."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field, model_validator

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server.apis.anthropic_blocks import (
    CACHE_CONTROL,
    CallBlock,
    HiddenThoughtBlock,
    MessageIn,
    SystemText,
    TextBlock,
    as_turns,
    joined,
)
from llmops_tui.inference.server.apis.names import Names, Turn
from llmops_tui.inference.server.connection import invalid
from llmops_tui.inference.server.fields import CALLER, Checked, Rules, Unoffered, refuse
from llmops_tui.inference.server.schemas import ChatRequest
from llmops_tui.inference.server.served_format import ServedFormat
from llmops_tui.inference.server.template_features import thinking_switched
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import Warned

_NOT_HERE = "Nothing is run or searched here: give it as a tool with an input_schema, or leave it out."
_RULES = Rules(
    idle=CACHE_CONTROL | {"user_profile_id": CALLER["user"], "workspace_id": CALLER["user"]},
    unoffered={
        "service_tier": Unoffered("There is one queue for all.", ("auto", "standard_only")),
        "speed": Unoffered("There is one speed.", ("standard",)),
        "container": Unoffered(_NOT_HERE),
        "mcp_servers": Unoffered("Connect them in the client, and give their tools as tools.", ([],)),
        "inference_geo": Unoffered("The model runs where this server does."),
        "diagnostics": Unoffered("usage tells what came from the cache."),
        "fallbacks": Unoffered("There is one model.", ([],)),
        "compaction": Unoffered("Shorten the conversation."),
        "thread": Unoffered("Send the whole conversation each time."),
        "output_format": Unoffered("Give it as output_config.format."),
    },
)  # fmt: skip
_TOOL = Rules(
    idle=CACHE_CONTROL
    | {
        "eager_input_streaming": "how soon pieces of a call are sent, which changes nothing of it",
        "strict": "whether arguments are held to the schema, as they always are",
    },
    unoffered={
        "input_examples": Unoffered("Put them into the description.", ([],)),
        "defer_loading": Unoffered("All tools are shown to the model.", (False,)),
        "allowed_callers": Unoffered("Calls come from the model alone.", (["direct"],)),
    },
)  # fmt: skip
_NAMES = Names(
    fields={
        "max_tokens": "max_tokens",
        "stop": "stop_sequences",
        "response_format": "output_config.format",
        "reasoning_effort": "output_config.effort",
        "chat_template_kwargs": "thinking",
        "thinking_budget": "thinking.budget_tokens",
    },
    turn={".role": ".role", ".content": ".content", ".tool_call_id": ".tool_use_id"},
    tool={".parameters": ".input_schema"},
    turns="messages",
)


class _Thinking(Checked):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    # The text is told as it is thought; ``summarized`` means that it is told at all.
    display: Literal["summarized", "omitted"] = "summarized"

    @model_validator(mode="after")
    def _fits(self) -> _Thinking:
        if (self.budget_tokens is not None) != (self.type == "enabled"):
            refuse("budget_tokens", "goes with the type enabled, and the type with it")
        return self


class _Format(Checked):
    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class _Output(Checked):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None


class _Edit(Checked):
    type: str
    keep: Any = None

    @model_validator(mode="after")
    def _changes_nothing(self) -> _Edit:
        if not self.type.startswith("clear_thinking_") or self.keep != "all":
            hint = 'Shorten the conversation in the client; clear_thinking with {"keep": "all"} is taken.'
            refuse("type", "conversations are not edited here", hint, "unsupported_parameter")
        return self


class _Context(Checked):
    edits: list[_Edit] = Field(default_factory=list)


class _Tool(Checked):
    rules: ClassVar[Rules] = _TOOL

    type: Literal["custom"] = "custom"
    name: str
    description: str | None = None
    input_schema: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _of_the_client(cls, given: Any) -> Any:
        kind = given.get("type") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind != "custom":
            name = re.sub(r"_\d{8}$", "", kind)[:40]
            refuse("type", f"the tool {name!r} of Anthropic's is not offered here", _NOT_HERE, "unsupported_parameter")
        return given

    def as_tool(self) -> JsonObject:
        """The tool as chat completions take it."""
        told = {"name": self.name, "description": self.description, "parameters": self.input_schema}
        return {"type": "function", "function": {name: value for name, value in told.items() if value is not None}}


class _Choice(Checked):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False

    @model_validator(mode="after")
    def _fits(self) -> _Choice:
        if (self.name is not None) != (self.type == "tool"):
            refuse("name", "goes with the type tool, and the type with it")
        if self.type == "none" and self.disable_parallel_tool_use:
            refuse("disable_parallel_tool_use", "has no meaning where no tool is called")
        return self

    @property
    def word(self) -> str | JsonObject:
        """The same as chat completions have it."""
        if self.type == "tool":
            return {"type": "function", "function": {"name": self.name}}
        return {"auto": "auto", "any": "required", "none": "none"}[self.type]


class _Metadata(Checked):
    user_id: str | None = None


@dataclass(frozen=True)
class Chat:
    """A request as a chat completion, what this API calls its fields, and what could not be done as asked."""

    request: ChatRequest
    called: Callable[[str], str]
    warnings: list[Warned] = field(default_factory=list)


class CountRequest(Checked):
    """Body of ``POST /v1/messages/count_tokens``: what a prompt is made of."""

    rules: ClassVar[Rules] = _RULES

    model: Annotated[str, Field(max_length=400)] = ""
    messages: Annotated[list[MessageIn], Field(min_length=1, max_length=10_000)]
    system: SystemText = Field(default_factory=list)
    tools: Annotated[list[_Tool], Field(max_length=128)] = Field(default_factory=list)
    tool_choice: _Choice | None = None
    thinking: _Thinking | None = None
    output_config: _Output = _Output()
    context_management: _Context = _Context()

    @model_validator(mode="after")
    def _says_something(self) -> CountRequest:
        for n, message in enumerate(self.messages):
            if message.role == "assistant" and (message.content or n == len(self.messages) - 1):
                # An answer may have been empty, and so may be the beginning of one.
                continue
            if not message.content:
                refuse(f"messages[{n}].content", "is empty", "Say something, or leave the message out.")
            for at, block in enumerate(message.content):
                if isinstance(block, TextBlock) and not block.text:
                    refuse(f"messages[{n}].content[{at}].text", "is empty", "Say something, or leave the text out.")
        return self

    @model_validator(mode="after")
    def _ends_with_no_call(self) -> CountRequest:
        last = self.messages[-1]
        if last.role == "assistant" and any(isinstance(block, CallBlock) for block in last.content):
            told = "ends with calls that nobody answered"
            refuse(f"messages[{len(self.messages) - 1}]", told, "Send a tool_result for each.")
        return self

    def as_chat(self, template: ServedFormat) -> Chat:
        """The same as a chat completion, for a model with this chat template.

        Raises:
            FieldRefusedError: a field is wrong, by its name here.
        """
        turns = [Turn("system", {"role": "system", "content": joined(self.system)})] if self.system else []
        turns += as_turns(self.messages)
        called = _NAMES.called(turns, range(len(self.tools)))
        warnings = [
            Warned(param=f"messages[{n}].content[{at}]", message="was left out: only its provider can read it")
            for n, message in enumerate(self.messages)
            for at, block in enumerate(message.content)
            if isinstance(block, HiddenThoughtBlock)
        ]
        effort, untaken = self._effort(template)
        variables, unheard = self._variables(template)
        choice = self.tool_choice
        form = self.output_config.format
        body: JsonObject = {
            "model": self.model,
            "messages": [turn.message for turn in turns],
            "tools": [tool.as_tool() for tool in self.tools],
            "tool_choice": choice.word if choice is not None else None,
            "parallel_tool_calls": choice is None or not choice.disable_parallel_tool_use,
            "reasoning_effort": effort,
            "chat_template_kwargs": variables,
            "thinking_budget": self.thinking.budget_tokens if self.thinking is not None else None,
            "response_format": {"type": "json_schema", "json_schema": {"schema": form.schema_}} if form else None,
        }
        try:
            request = ChatRequest.model_validate(body | self.sampled)
        except pydantic.ValidationError as error:
            refused = invalid(error)
            raise refused.renamed(called(refused.param)) from error
        return Chat(request, called, warnings + untaken + unheard)

    @property
    def sampled(self) -> JsonObject:
        """How the answer is sampled, as chat completions have it."""
        return {}

    def _effort(self, template: ServedFormat) -> tuple[str | None, list[Warned]]:
        effort = self.output_config.effort
        if effort is None or template.mentions("reasoning_effort"):
            return effort, []
        told = "the model's chat template knows no levels of thinking"
        return None, [Warned(param="output_config.effort", message=told)]

    def _variables(self, template: ServedFormat) -> tuple[Variables, list[Warned]]:
        if self.thinking is None:
            return {}, []
        thinks, wanted = template.answers.thinking is not None, self.thinking.type != "disabled"
        variables = thinking_switched(template, on=wanted)
        told = []
        if wanted and thinks and self.messages[-1].role == "assistant":
            message = "what the assistant's last message begins is gone on with, without thinking"
            told.append(Warned(param="thinking", message=message))
        if wanted and not thinks:
            told.append(Warned(param="thinking", message="this model does not think"))
        elif not wanted and thinks and variables is None:
            told.append(Warned(param="thinking", message="this model's thinking cannot be turned off"))
        return variables or {}, told


class MessagesRequest(CountRequest):
    """Body of ``POST /v1/messages``."""

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: _Metadata | None = None

    @property
    def sampled(self) -> JsonObject:
        """How the answer is sampled, as chat completions have it."""
        return {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "stop": self.stop_sequences,
            "metadata": self.metadata.model_dump(exclude_none=True) if self.metadata is not None else None,
        }
