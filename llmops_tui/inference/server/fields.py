"""Request fields without effect or without support: each is honoured or refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Never

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server.field_types import types_of

_LIKE = 0.7
# What other engines call something that goes by another name here.
_ELSEWHERE = {
    "repetition_penalty": "repeat_penalty", "n_predict": "max_tokens", "num_predict": "max_tokens",
    "max_new_tokens": "max_tokens", "max_length": "max_tokens", "stop_sequences": "stop", "guided_grammar": "grammar",
    "stop": "stop_sequences", "json_schema": "response_format", "guided_json": "response_format", "system": "messages",
    "reasoning_budget_tokens": "thinking_budget", "thinking_budget_tokens": "thinking_budget",
    "documents": "chat_template_kwargs", "texts": "documents", "return_text": "return_documents", "top_k": "top_n",
}  # fmt: skip


class FieldRefusedError(InputRefusedError):
    """A field of a request that is wrong, unknown, or cannot be honoured; ``param`` is its path in the body."""

    def __init__(self, param: str, message: str, hint: str = "", code: str = "invalid_request") -> None:
        super().__init__(code, f"{param}: {message}"[:500], hint)
        self.param = param
        self._told = message

    def renamed(self, param: str) -> FieldRefusedError:
        """The same of a field by another name, as the API calls it that the request came by."""
        return FieldRefusedError(param, self._told, self.hint, self.code)


def refuse(param: str, message: str, hint: str = "", code: str = "invalid_request") -> Never:
    """Refuse a field from within a validator; ``param`` is relative to the place of that validator."""
    context = {"param": param, "told": message, "hint": hint, "code": code}
    raise PydanticCustomError("refused", "{told}", context)


@dataclass(frozen=True)
class Unoffered:
    """A field that cannot be honoured here.

    Attributes:
        instead: what to do instead.
        neutral: values that ask for nothing, with which it is as if it were not given; null always is one.
    """

    instead: str
    neutral: tuple[Any, ...] = ()

    def asks(self, value: Any) -> bool:
        """Whether a value asks for something."""
        return not any(type(value) is type(none) and value == none for none in self.neutral)


@dataclass(frozen=True)
class Rules:
    """What an object of a request has beside the fields that are honoured.

    Attributes:
        idle: fields that are taken and have no effect, each with the reason why there is none to have.
        unoffered: fields that are known and cannot be honoured.
        more: whether further fields are passed on, to be judged where more is known.
    """

    idle: Mapping[str, str] = field(default_factory=dict)
    unoffered: Mapping[str, Unoffered] = field(default_factory=dict)
    more: bool = False

    def sift(self, given: JsonObject, known: Collection[str], at: str = "") -> JsonObject:
        """The fields that are honoured; null is as good as not given.

        Raises:
            PydanticCustomError: one is unknown, or asks for what cannot be had.
        """
        kept = {}
        for name, value in given.items():
            if value is None or name in self.idle:
                continue
            if name in known or (self.more and name not in self.unoffered):
                kept[name] = value
            elif name not in self.unoffered:
                hint = _meant(name, [*known, *self.idle])
                refuse(f"{at}{name[:60]}", "there is no such field here", hint, "unknown_parameter")
            elif (rule := self.unoffered[name]).asks(value):
                told = "this value is not offered here" if rule.neutral else "this is not offered here"
                refuse(f"{at}{name}", told, rule.instead, "unsupported_parameter")
        return kept


def _meant(name: str, known: list[str]) -> str:
    near = [_ELSEWHERE[name]] if _ELSEWHERE.get(name) in known else difflib.get_close_matches(name, known, 1, _LIKE)
    return f"Did you mean {near[0]}?" if near else "Leave it out; docs/serving.md says what is honoured."


class Checked(BaseModel):
    """An object of a request, of which nothing is ignored: its fields are honoured, the others judged by ``rules``."""

    model_config = ConfigDict(extra="forbid")
    rules: ClassVar[Rules] = Rules()

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = types_of(cls)
        kept = cls.rules.sift(given, known)
        for name, value in kept.items():
            if name in known and (wrong := known[name].misfit(value)) is not None:
                refuse(f"{name}{wrong[0]}", wrong[1], "Give a value of the field's own type.")
        return kept


# Fields of OpenAI's requests without an effect on an answer of this server.
CALLER = {
    "user": "who asks, for a provider's watch over abuse; nobody watches here",
    "safety_identifier": "as user",
}
CACHE = dict.fromkeys(
    ("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
    "which requests begin alike, for a provider's cache; here that is found out from their tokens",
)
_SPEED = {"prediction": "a guess at the answer, which could make it faster and never another one"}
_TOLD_ANYWAY = dict.fromkeys(
    ("with_pieces", "return_token_strs"), "asks for the text of each token, which is told anyway"
)
# A stream's token counts come in its last event; these ask for more.
STREAM_OPTIONS = Rules(
    unoffered={
        "include_obfuscation": Unoffered("Events are not padded; leave it out.", (False,)),
        "continuous_usage_stats": Unoffered("Token counts come at a stream's end; ask for include_usage.", (False,)),
    }
)
PROVIDERS = {
    "store": Unoffered("Nothing can be fetched later here; each request is a trace of the workspace.", (False,)),
    "service_tier": Unoffered("There is one queue for all.", ("auto", "default")),
    "moderation": Unoffered("Texts are not judged here; leave it out."),
}
LENGTH = {"verbosity": Unoffered("Say in the instructions how long the answer is to be.", ("medium",))}
CHAT = Rules(
    idle=CALLER | CACHE | _SPEED,
    unoffered=PROVIDERS | LENGTH | {
        "audio": Unoffered("Answers are text."),
        "modalities": Unoffered('Answers are text: give ["text"] or leave it out.', (["text"],)),
        "functions": Unoffered("Give them as tools.", ([],)),
        "function_call": Unoffered("Give functions as tools, and tool_choice.", ("none", "auto")),
        "web_search_options": Unoffered("Nothing is searched here; put what the model is to know into its messages."),
        "best_of": Unoffered("Ask for n answers, and choose.", (1,)),
    },
)  # fmt: skip
COMPLETION = Rules(
    idle=CALLER | CACHE,
    unoffered=PROVIDERS,
)
EMBEDDING = Rules(idle=CALLER)
TOKENIZE = Rules(idle=_TOLD_ANYWAY)
# What a message may bring along from an answer of an earlier request, or of another provider.
MESSAGE = Rules(
    idle={
        "annotations": "citations beside an answer's text, which are no part of it",
        "logprobs": "figures of an answer's tokens",
        "parsed": "what a client read from the content, which is there as well",
        "provider_specific_fields": "what another provider's answer had beside the text",
        "cache_control": "where a provider's cache ends; here that is found out from the tokens",
    },
    unoffered={
        "audio": Unoffered("Only text is taken."),
        "function_call": Unoffered("Give it as tool_calls."),
        "tools": Unoffered("Tools go beside the messages."),
    },
    more=True,
)
PART = Rules(
    idle=dict(MESSAGE.idle) | {"prompt_cache_breakpoint": "as cache_control"},
)
CALL = Rules(idle={"index": "the place of a call among those of a stream; they are in a list here"})
CALLED = Rules(idle={"parsed_arguments": "what a client read from the arguments, which are there as well"})
TOOL = Rules(
    idle={"cache_control": MESSAGE.idle["cache_control"]},
    unoffered=dict.fromkeys(
        ("name", "description", "parameters", "strict"),
        Unoffered('Put it into function: {"type": "function", "function": {"name": …, "parameters": …}}.'),
    ),
)
