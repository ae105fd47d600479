"""The bodies of Ollama's API: each as a chat completion or a text completion, and nothing in them ignored."""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.server.fields import Checked, FieldRefusedError, Rules, Unoffered, refuse

_UNLIMITED = 1_000_000
_LOADED = "how a model is loaded; it is loaded already, as the flags of llmops serve say"
_NO_IMAGES = "Only text is taken."
_ONE_RESULT = "Send one result for each call, behind the assistant's message that has the call."
_OFF = "It is switched off here: leave it out."
OPTIONS = Rules(
    idle=dict.fromkeys(
        ("num_batch", "num_gpu", "main_gpu", "num_thread", "low_vram", "f16_kv", "use_mmap", "use_mlock", "numa"), _LOADED
    ) | dict.fromkeys(("vocab_only", "logits_all", "embedding_only"), _LOADED) | {
        "num_keep": "what is kept when a context is shifted, which is never done here",
        "mirostat_tau": "has a meaning with mirostat alone",
        "mirostat_eta": "has a meaning with mirostat alone",
    },
    unoffered={
        "mirostat": Unoffered(_OFF, (0,)),
        "tfs_z": Unoffered(_OFF, (1, 1.0)),
        "typical_p": Unoffered(_OFF, (1, 1.0)),
        "repeat_last_n": Unoffered("Penalties look back over 64 tokens.", (64,)),
        "penalize_newline": Unoffered("Penalties are for all tokens.", (True,)),
    },
)  # fmt: skip
_CUT = {"shift": Unoffered("An answer ends where the context does.", (False,))}
_PICTURES = dict.fromkeys(("width", "height", "steps"), Unoffered("No images are made here."))
CHAT = Rules(unoffered=_CUT)
GENERATE = Rules(
    unoffered=_CUT | _PICTURES | {
        "template": Unoffered("The model's own chat template is used; send raw text, or messages to /api/chat.", ("",)),
        "context": Unoffered("Nothing is kept between requests: send messages to /api/chat.", ([],)),
        "images": Unoffered(_NO_IMAGES, ([],)),
        # Where there are neither turns nor other texts, there is nothing to choose from.
        "truncate": Unoffered("A prompt that is too long is refused; shorten it.", (False,)),
    },
)  # fmt: skip
EMBED = Rules(
    unoffered={"truncate": Unoffered("Texts are embedded whole, and what is too long is refused.", (False,))},
)
MESSAGE = Rules(unoffered={"images": Unoffered(_NO_IMAGES, ([],))})
SHOW = Rules(unoffered={"verbose": Unoffered("Whole vocabularies are not told.", (False,))})

Name = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(lambda name: name.removesuffix(":latest"))]
"""A model's name as it is registered; Ollama's clients may write its tag behind it."""


_DURATION = re.compile(r"[+-]?(?:(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|\d+(?:\.\d+)?)")
_DURATION_LENGTH = 60


def _duration(given: Any) -> Any:
    written = isinstance(given, str) and len(given) <= _DURATION_LENGTH and _DURATION.fullmatch(given)
    if not written and (isinstance(given, bool) or not isinstance(given, int | float)):
        refuse("", "is no duration", 'Give seconds as a number, or a text such as "5m".')
    return given


KeepAlive = Annotated[
    float | str | None,
    Field(description="No effect: how long a model stays loaded. A request that says nothing unloads it with 0."),
    BeforeValidator(_duration, json_schema_input_type=float | str | None),
]


class Options(Checked):
    """How to sample; the defaults are Ollama's."""

    rules: ClassVar[Rules] = OPTIONS

    num_predict: Annotated[int, Field(ge=-2, le=_UNLIMITED)] = -1
    num_ctx: Annotated[int, Field(ge=1)] | None = None
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: list[str] | str | None = None

    @model_validator(mode="after")
    def _some(self) -> Options:
        if self.num_predict == 0:
            refuse("num_predict", "asks for no answer", "Give -1 for an answer without a limit.")
        return self

    def as_sampling(self) -> JsonObject:
        """The same as fields of a completion."""
        given = self.model_dump(exclude={"num_predict", "num_ctx"}, exclude_none=True)
        return given | {"max_tokens": _UNLIMITED if self.num_predict < 0 else self.num_predict}


def _form(value: Any) -> Any:
    return None if value == "" else value


Think = Annotated[bool, Strict()] | Literal["low", "medium", "high", "max"]
Form = Annotated[Literal["json"] | Schema | None, BeforeValidator(_form)]


class _Generating(Checked):
    """What all requests have that generate."""

    model: Name
    stream: bool = True
    options: Options = Options()
    format: Form = None
    think: Think | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    keep_alive: KeepAlive = None

    @property
    def unloads(self) -> bool:
        """Whether it is the form that clients send to have a model unloaded: nothing is said, and it is kept for no time."""
        kept = self.keep_alive
        return self.silent and (kept == 0 or (isinstance(kept, str) and not re.search("[1-9]", kept)))

    @property
    def silent(self) -> bool:
        """Whether it says nothing that could be answered."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _belongs(self) -> _Generating:
        if self.top_logprobs and not self.logprobs:
            refuse("top_logprobs", "has no meaning without logprobs", "Set logprobs to true.")
        return self

    def common(self) -> JsonObject:
        """The fields of a completion that they have in common."""
        form: JsonObject | None = {"type": "json_object"} if self.format == "json" else None
        if isinstance(self.format, dict):
            form = {"type": "json_schema", "json_schema": {"schema": self.format}}
        return {"model": self.model, "response_format": form, **self.options.as_sampling()}


class _Called(Checked):
    rules: ClassVar[Rules] = Rules(idle={"index": "the place of a call among those of an answer"})

    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: JsonObject = Field(default_factory=dict)
    description: None = None


class _Call(Checked):
    id: Annotated[str, Field(max_length=200)] | None = None
    type: Literal["function"] = "function"
    function: _Called


class Turn(Checked):
    """One message of a conversation."""

    rules: ClassVar[Rules] = MESSAGE

    role: Annotated[str, Field(min_length=1, max_length=40)]
    content: str | None = None
    thinking: str | None = None
    tool_calls: Annotated[list[_Call], Field(max_length=128)] | None = None
    tool_name: Annotated[str, Field(max_length=128)] | None = None
    tool_call_id: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Turn:
        if self.tool_name is not None and self.role != "tool":
            refuse("tool_name", "only a message with the role tool answers a call")
        return self


class OllamaChat(_Generating):
    """Body of ``POST /api/chat``."""

    rules: ClassVar[Rules] = CHAT

    messages: Annotated[list[Turn], Field(max_length=10_000)] = Field(default_factory=list)
    tools: Annotated[list[JsonObject], Field(max_length=128)] | None = None
    truncate: bool = False

    @property
    def silent(self) -> bool:
        """Whether it has no messages."""
        return not self.messages

    def turns(self) -> list[JsonObject]:
        """The messages as OpenAI has them: calls get ids, and results the id of the first call of theirs that waits."""
        made: list[JsonObject] = []
        waiting: dict[str | None, deque[str]] = defaultdict(deque)
        count = 0
        for n, turn in enumerate(self.messages):
            told: JsonObject = {"role": turn.role, "content": turn.content}
            if turn.thinking is not None:
                told["reasoning_content"] = turn.thinking
            if turn.tool_calls:
                told["tool_calls"] = []
                for call in turn.tool_calls:
                    # Nine letters and digits: a template may take no other.
                    name, count = call.id or f"call{count:05d}", count + 1
                    waiting[call.function.name].append(name)
                    waiting[None].append(name)
                    function = {"name": call.function.name, "arguments": json.dumps(call.function.arguments)}
                    told["tool_calls"].append({"id": name, "type": "function", "function": function})
            elif turn.content is None:
                told["content"] = ""
            if turn.role == "tool":
                answered = turn.tool_call_id or _first(waiting, turn.tool_name)
                if turn.tool_name and not answered:
                    why = f"no call of {turn.tool_name[:100]!r} waits for a result"
                    raise FieldRefusedError(f"messages[{n}].tool_name", why, _ONE_RESULT)
                told |= {"tool_call_id": answered} if answered else {}
                told |= {"name": turn.tool_name} if turn.tool_name else {}
            made.append(told)
        return made

    def as_chat(self) -> JsonObject:
        """The same as the body of a chat completion."""
        return self.common() | {
            "messages": self.turns(),
            "tools": self.tools or None,
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs,
            "truncate": "oldest" if self.truncate else "",
        }


def _first(waiting: dict[str | None, deque[str]], name: str | None) -> str | None:
    """The id of the first call of a tool that nobody answered yet; it is answered now."""
    if not waiting[name]:
        return None
    found = waiting[name].popleft()
    for others in waiting.values():
        if found in others:
            others.remove(found)
    return found


class OllamaGenerate(_Generating):
    """Body of ``POST /api/generate``."""

    rules: ClassVar[Rules] = GENERATE

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    raw: bool = False

    @model_validator(mode="after")
    def _fits(self) -> OllamaGenerate:
        if self.plain and self.system:
            what = "raw text" if self.raw else "a gap"
            refuse("system", f"{what} has no system message", "Leave it out, or put it into the prompt.")
        if self.plain and self.think:
            refuse("think", "a text that is no conversation has no thinking of its own", "Leave out raw and suffix.")
        return self

    @property
    def silent(self) -> bool:
        """Whether it has neither a prompt nor a gap."""
        return not self.prompt and not self.suffix

    @property
    def plain(self) -> bool:
        """Whether it is a text that is gone on with or filled in, and no question."""
        return self.raw or bool(self.suffix)

    def as_chat(self) -> JsonObject:
        """The same as the body of a chat completion."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return self.common() | {
            "messages": [*system, {"role": "user", "content": self.prompt}],
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs,
        }

    def as_text(self) -> JsonObject:
        """The same as the body of a text completion."""
        return self.common() | {"prompt": self.prompt, "logprobs": (self.top_logprobs or 0) if self.logprobs else None}


class OllamaEmbed(Checked):
    """Body of ``POST /api/embed``."""

    rules: ClassVar[Rules] = EMBED

    model: Name
    input: Annotated[
        list[str],
        Field(min_length=1, max_length=2048),
        BeforeValidator(
            lambda given: [given] if isinstance(given, str) else given, json_schema_input_type=str | list[str]
        ),
    ]
    dimensions: Annotated[int, Field(ge=1)] | None = None
    options: Options = Options()
    keep_alive: KeepAlive = None


class OllamaEmbeddings(Checked):
    """Body of ``POST /api/embeddings``, the older form for one text."""

    rules: ClassVar[Rules] = EMBED

    model: Name
    prompt: str
    options: Options = Options()
    keep_alive: KeepAlive = None


class OllamaShow(Checked):
    """Body of ``POST /api/show``."""

    rules: ClassVar[Rules] = SHOW

    model: Name

    @model_validator(mode="before")
    @classmethod
    def _older(cls, given: Any) -> Any:
        # Its name before it was called model.
        if isinstance(given, dict) and "name" in given and "model" not in given:
            return {("model" if key == "name" else key): value for key, value in given.items()}
        return given
