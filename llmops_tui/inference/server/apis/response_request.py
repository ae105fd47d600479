"""The body of ``POST /v1/responses`` as one chat completion."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server.apis.names import Names, Turn
from llmops_tui.inference.server.apis.response_items import AnyItem, Item, as_turns
from llmops_tui.inference.server.apis.response_teller import Echoed
from llmops_tui.inference.server.connection import invalid
from llmops_tui.inference.server.fields import (
    CACHE,
    CALLER,
    LENGTH,
    PROVIDERS,
    Checked,
    Rules,
    Unoffered,
    refuse,
)
from llmops_tui.inference.server.messages import NAMED, Chosen
from llmops_tui.inference.server.schemas import ChatRequest, Effort, StreamOptions

_RULES = Rules(
    idle=CALLER | CACHE | {
        "max_tool_calls": "how often a provider's own tools may be called; there are none here",
        "client_metadata": "what a client's maker counts its sessions by",
    },
    unoffered={name: rule for name, rule in PROVIDERS.items() if name != "store"} | {
        "conversation": Unoffered("Go on from previous_response_id, or send the whole conversation each time."),
        "context_management": Unoffered('Give truncation "auto", or shorten the conversation.', ([],)),
        "prompt": Unoffered("No prompts are kept here; send the text as instructions and input."),
        "background": Unoffered("Wait for the answer, or stream it.", (False,)),
        # What was thought is told as plain text, so there is nothing to be had encrypted.
        "include": Unoffered("Nothing can be had beside the answer.", ([], ["reasoning.encrypted_content"])),
        "top_logprobs": Unoffered("Log-probabilities are told by /v1/chat/completions.", (0,)),
    },
)  # fmt: skip
_NAMES = Names(
    fields={
        "max_tokens": "max_output_tokens",
        "response_format": "text.format",
        "reasoning_effort": "reasoning.effort",
        "truncate": "truncation",
    },
    turn={".role": ".role", ".content": ".content", ".tool_call_id": ".call_id"},
    tool={},
    turns="input",
)
# "auto" asks for as much as there is to be had, and that is the reasoning itself.
_REASONING = Rules(
    unoffered=dict.fromkeys(
        ("summary", "generate_summary"), Unoffered("Reasoning is told as it is, not summarized.", ("auto",))
    )
)
_TOOL = Rules(
    idle={"cache_control": "where a provider's cache ends; here that is found out from the tokens"},
    unoffered={
        "defer_loading": Unoffered("All tools are shown to the model.", (False,)),
        "allowed_callers": Unoffered("Calls come from the model alone.", (["direct"],)),
    },
)
# Tools that a provider runs, or that take no JSON, and what to do instead.
_SEARCH = 'Nothing is searched here: turn the tool off in the client (in Codex: web_search = "disabled").'
_AS_FUNCTION = "Give it as a function whose parameters are its input."
_OTHER_TOOLS = {
    "web_search": _SEARCH, "web_search_preview": _SEARCH, "file_search": _SEARCH,
    "local_shell": f"Nothing is run here. {_AS_FUNCTION}", "shell": f"Nothing is run here. {_AS_FUNCTION}",
    "custom": _AS_FUNCTION, "apply_patch": _AS_FUNCTION,
    "namespace": "Give its functions as tools, or turn them off in the client (in Codex: enabled = false below [agents]).",
    "mcp": "Nothing is connected to here: connect the MCP server in the client, and give its tools as functions.",
}  # fmt: skip


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
    rules: ClassVar[Rules] = Rules(unoffered=LENGTH)

    format: _Format = _Format()


class _Reasoning(Checked):
    rules: ClassVar[Rules] = _REASONING

    effort: Effort | None = None


class _Function(Checked):
    rules: ClassVar[Rules] = _TOOL

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    output_schema: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_function(cls, given: Any) -> Any:
        kind = given.get("type") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind != "function":
            hint = _OTHER_TOOLS.get(re.sub(r"_\d{4}_\d\d_\d\d$", "", kind), "Leave it out; functions are taken.")
            refuse("type", f"a tool of type {kind[:40]!r} is not offered here", hint, "unsupported_parameter")
        return given

    def as_tool(self) -> JsonObject:
        """The tool as chat completions take it."""
        function = self.model_dump(exclude={"type"}, exclude_none=True)
        if (returned := function.pop("output_schema", None)) is not None:
            function["return"] = returned
        return {"type": "function", "function": function}


def _named(value: Any, at: str = "") -> str:
    if not isinstance(value, dict) or value.get("type") != "function" or not isinstance(value.get("name"), str):
        hint = 'Or {"type": "allowed_tools", "mode": …, "tools": […]}.' if not at else ""
        refuse(
            at,
            'must be none, auto, required or {"type": "function", "name": …}' if not at else "names no function",
            hint,
        )
    Rules().sift(value, {"type", "name"}, f"{at}." if at else "")
    return str(value["name"])


def _choice(value: Any) -> Chosen:
    if isinstance(value, str):
        if value not in {"none", "auto", "required"}:
            refuse("", f"{value[:40]!r} is none of none, auto, required", 'Or {"type": "function", "name": …}.')
        return Chosen(value)
    if not isinstance(value, dict) or value.get("type") != "allowed_tools":
        return Chosen(NAMED + _named(value))
    Rules().sift(value, {"type", "mode", "tools"})
    if value.get("mode") not in {"auto", "required"}:
        refuse("mode", "is neither auto nor required")
    tools = value.get("tools")
    if not isinstance(tools, list) or not tools:
        refuse("tools", "must be a list of the tools that may be called")
    return Chosen(value["mode"], tuple(_named(tool, f"tools[{n}]") for n, tool in enumerate(tools)))


def _as_items(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


class ResponsesRequest(Checked):
    """Body of ``POST /v1/responses``."""

    rules: ClassVar[Rules] = _RULES

    model: Annotated[str, Field(max_length=400)] = ""
    input: Annotated[
        list[AnyItem],
        Field(max_length=10_000),
        BeforeValidator(_as_items, json_schema_input_type=str | list[AnyItem]),
    ] = Field(default_factory=list)
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
    tools: Annotated[list[_Function], Field(max_length=128)] = Field(default_factory=list)
    tool_choice: Annotated[Chosen, PlainValidator(_choice, json_schema_input_type=str | dict[str, Any])] = Chosen(
        "auto"
    )
    parallel_tool_calls: bool = True
    previous_response_id: Annotated[str, Field(max_length=200)] = ""
    store: bool = True

    @model_validator(mode="after")
    def _fits(self) -> ResponsesRequest:
        names = [tool.name for tool in self.tools]
        for n, name in enumerate(self.tool_choice.among or ()):
            if name not in names:
                hint = f"There are: {', '.join(names)[:300]}." if names else "Give tools."
                refuse(
                    f"tool_choice.tools[{n}].name",
                    f"names no tool of the request: {name[:100]!r}",
                    hint,
                    "tool_unknown",
                )
        return self

    @property
    def _callable(self) -> list[int]:
        """The places of the tools that may be called; no others are shown to the model."""
        among = self.tool_choice.among
        return [n for n, tool in enumerate(self.tools) if among is None or tool.name in among]

    def as_chat(self, before: Sequence[Item], given: Sequence[Item]) -> tuple[ChatRequest, Callable[[str], str]]:
        """The same as a chat completion, and what this API calls its fields.

        ``before`` are the items of the conversation so far, ``given`` those of the input, without references.

        Raises:
            FieldRefusedError: a field is wrong, by its name here.
        """
        items = [("previous_response_id", item) for item in before]
        items += [(f"input[{n}]", item) for n, item in enumerate(given)]
        turns = [Turn("instructions", {"role": "system", "content": self.instructions})] if self.instructions else []
        turns += as_turns(items)
        called = _NAMES.called(turns, self._callable)
        form: JsonObject = {"type": self.text.format.type}
        if self.text.format.schema_ is not None:
            form["json_schema"] = {"schema": self.text.format.schema_}
        body = {
            "model": self.model,
            "messages": [turn.message for turn in turns],
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_output_tokens,
            "response_format": form,
            "metadata": self.metadata,
            "reasoning_effort": self.reasoning.effort,
            "truncate": "oldest" if self.truncation == "auto" else "",
            "tools": [self.tools[n].as_tool() for n in self._callable],
            "tool_choice": self._wanted,
            "parallel_tool_calls": self.parallel_tool_calls,
        }
        try:
            return ChatRequest.model_validate(body), called
        except pydantic.ValidationError as error:
            refused = invalid(error)
            raise refused.renamed(called(refused.param)) from error

    @property
    def _wanted(self) -> str | JsonObject:
        if self.tool_choice.word.startswith(NAMED):
            return {"type": "function", "function": {"name": self.tool_choice.word.removeprefix(NAMED)}}
        return self.tool_choice.word

    def echoed(self) -> Echoed:
        """What an answer repeats of its request."""
        choice: str | JsonObject = self.tool_choice.word
        if self.tool_choice.among is not None:
            tools = [{"type": "function", "name": name} for name in self.tool_choice.among]
            choice = {"type": "allowed_tools", "mode": self.tool_choice.word, "tools": tools}
        elif isinstance(choice, str) and choice.startswith(NAMED):
            choice = {"type": "function", "name": choice.removeprefix(NAMED)}
        return {
            "instructions": self.instructions,
            "metadata": self.metadata or {},
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_output_tokens": self.max_output_tokens,
            "truncation": self.truncation,
            "previous_response_id": self.previous_response_id or None,
            "store": self.store,
            "parallel_tool_calls": self.parallel_tool_calls,
            "tool_choice": choice,
            "tools": [tool.model_dump(exclude={"output_schema"}) for tool in self.tools],
            "reasoning": {"effort": self.reasoning.effort, "summary": None},
            "text": {"format": self.text.format.model_dump(by_alias=True, exclude_none=True)},
        }
