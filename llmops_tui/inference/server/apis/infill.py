"""llama-server's ``/infill``, as editors ask for it: the text around a gap, other files, and an answer in llama-server's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.engine_wire import FILTERED, FileRecord, Generated, TextEvent
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.server.answers import count, error_body
from llmops_tui.inference.server.apis.base import EVENTS, AskedText, Complete
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.connection import read_body, translated
from llmops_tui.inference.server.fields import Checked, Rules, Unoffered, refuse
from llmops_tui.inference.server.gaps import Gap
from llmops_tui.inference.server.schemas import CompletionRequest
from llmops_tui.inference.server.telling import Telling

_MAX_FILES = 1000
# What a client may ask of llama-server and is told that it cannot have here: an answer without it is one all the same.
_TOLD = {
    "samplers": "samplers are applied in a fixed order, and there is none for infill",
    "n_indent": "an answer does not end at a line that is indented less",
    "t_max_prompt_ms": "a prompt is evaluated as a whole",
    "t_max_predict_ms": "an answer ends by its length, not by the clock",
}
_OFF = "It is switched off here: leave it out."
RULES = Rules(
    idle={
        "id_slot": "which slot of the cache is taken; here that is found out from the tokens",
        "n_cache_reuse": "how cached pieces are shifted together; here whole beginnings are reused",
        "timings_per_token": "figures come with the last event of a stream",
    },
    unoffered={
        "mirostat": Unoffered(_OFF, (0,)),
        "typical_p": Unoffered(_OFF, (1, 1.0)),
        "dynatemp_range": Unoffered(_OFF, (0, 0.0)),
        "xtc_probability": Unoffered(_OFF, (0, 0.0)),
        "dry_multiplier": Unoffered(_OFF, (0, 0.0)),
        "top_n_sigma": Unoffered(_OFF, (-1, -1.0)),
        "repeat_last_n": Unoffered("Penalties look back over 64 tokens.", (64,)),
        "n_keep": Unoffered("A context is not shifted; give truncate for prompts that are too long.", (0,)),
        "n_probs": Unoffered("Log-probabilities are told by /v1/completions.", (0,)),
        "return_progress": Unoffered("How far a prompt is evaluated is not told.", (False,)),
        "return_tokens": Unoffered("Tokens are told by /tokenize.", (False,)),
        "lora": Unoffered("Name an adapter as adapter.", ([],)),
    },
)
_STOP_TYPES = {"length": "limit", FILTERED: FILTERED}


class _File(Checked):
    """A piece of a file that the model sees before the gap."""

    text: Annotated[str, Field(max_length=4_000_000)]
    filename: Annotated[str, Field(max_length=1000)] = "tmp"


class InfillRequest(Checked):
    """Body of ``POST /infill``: the sampling's defaults are llama-server's."""

    rules: ClassVar[Rules] = RULES

    model: Annotated[str, Field(max_length=400)] = ""
    adapter: Annotated[str, Field(max_length=200)] = ""
    input_prefix: str
    input_suffix: str
    input_extra: Annotated[list[_File], Field(max_length=_MAX_FILES)] | None = None
    # The text of the gap's line before the gap; to the model it is the end of the prefix.
    prompt: str = ""
    stream: bool = False
    n_predict: Annotated[int, Field(ge=-1, le=1_000_000)] = -1
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    stop: list[str] | str | None = None
    grammar: str | None = None
    json_schema: Schema | None = None
    truncate: Literal["", "left"] = ""
    cache_prompt: bool = True
    ignore_eos: bool = False
    metadata: JsonObject | None = None
    response_fields: Annotated[list[str], Field(max_length=100)] | None = None
    samplers: list[str] | str | None = None
    n_indent: int | None = None
    t_max_prompt_ms: float | None = None
    t_max_predict_ms: float | None = None

    @model_validator(mode="after")
    def _one_form(self) -> InfillRequest:
        if self.grammar and self.json_schema is not None:
            refuse("grammar", "an answer is constrained by a grammar or a json_schema, not both", "Leave one out.")
        return self

    def as_text(self) -> CompletionRequest:
        """The same as a text completion, whose prompt is what stands before the gap."""
        same = (
            "model", "adapter", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "frequency_penalty",
            "presence_penalty", "logit_bias", "seed", "stop", "grammar", "truncate", "cache_prompt", "ignore_eos", "metadata",
        )  # fmt: skip
        given: JsonObject = {name: getattr(self, name) for name in same}
        schema = self.json_schema
        form = None if schema is None else {"type": "json_schema", "json_schema": {"schema": schema}}
        length = 1_000_000 if self.n_predict < 0 else self.n_predict
        before = self.input_prefix + self.prompt
        return translated(
            CompletionRequest, given | {"prompt": before, "max_tokens": length, "response_format": form}, _called
        )

    def gap(self) -> Gap:
        """What stands behind the gap, and the other files."""
        files: list[FileRecord] = [{"filename": file.filename, "text": file.text} for file in self.input_extra or ()]
        return Gap(self.input_suffix, files)

    def not_honoured(self) -> dict[str, str]:
        """What was asked for and is not had, each with why."""
        return {name: why for name, why in _TOLD.items() if getattr(self, name)}


class _Timings(TypedDict):
    cache_n: int
    prompt_n: int
    prompt_ms: float
    predicted_n: int
    predicted_ms: float
    predicted_per_second: float | None


class InfillTeller(Telling):
    """Tells one choice as llama-server does."""

    media_type: ClassVar[str] = EVENTS

    def __init__(self, model: str, body: InfillRequest) -> None:
        self._model = model
        self._body = body

    def _text(self, _choice: Choice, message: TextEvent) -> list[bytes]:
        return [_event({"index": 0, "content": message["text"], "tokens": [], "stop": False, "id_slot": -1})]

    def _end(self, choice: Choice, result: Generated) -> list[bytes]:
        return [_event(self._figures(choice, result, ""))]

    def failed(self, error: LlmopsError) -> bytes:
        """The last event of a stream that broke off."""
        return _event(error_body(error.code, error.message, error.hint, "server_error"))

    def whole(self, choices: list[Choice]) -> Mapping[str, object]:
        """The answer to a request that does not stream."""
        (choice,) = choices
        return self._figures(choice, choice.result, "".join(choice.record.text))

    def _figures(self, choice: Choice, result: Generated, content: str) -> JsonObject:
        given, reused, made = (count(result[n]) for n in ("prompt_tokens", "reused_tokens", "completion_tokens"))
        first, total = result.get("ttft_ms") or 0.0, result.get("total_ms") or 0.0
        text = "".join(choice.record.text)
        timings: _Timings = {
            "cache_n": reused,
            "prompt_n": given - reused,
            "prompt_ms": first,
            "predicted_n": made,
            "predicted_ms": total - first,
            "predicted_per_second": result.get("tokens_per_s"),
        }
        told: JsonObject = {
            "index": 0,
            "content": content,
            "tokens": [],
            "id_slot": -1,
            "stop": True,
            "model": self._model,
            "tokens_predicted": made,
            "tokens_evaluated": given,
            "generation_settings": choice.call["parameters"],
            "prompt": self._body.input_prefix + self._body.prompt,
            "has_new_line": "\n" in text,
            "truncated": bool(result.get("truncated_tokens")),
            "stop_type": _STOP_TYPES.get(result["finish_reason"], "eos"),
            "stopping_word": "",
            "tokens_cached": given + made,
            "timings": timings,
        }
        if self._body.response_fields:
            told = {path: found for path in self._body.response_fields if (found := _at(told, path)) is not None}
        missing = self._body.not_honoured()
        warned = {"warnings": choice.warnings} if choice.warnings else {}
        return told | ({"not_honoured": missing} if missing else {}) | warned


class InfillApi:
    """The endpoint; ``complete`` answers what is a text completion."""

    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    async def fill(self, request: Request) -> Response:
        """``POST /infill``."""
        body = await read_body(request, InfillRequest)

        def teller(_choices: list[Choice], model: str) -> InfillTeller:
            return InfillTeller(model, body)

        return await self._complete(request, AskedText(body.as_text(), body.stream, teller, _called, body.gap()))


def _called(param: str) -> str:
    """What a field of a text completion is called here."""
    names = {"prompt": "input_prefix", "max_tokens": "n_predict", "response_format.json_schema.schema": "json_schema"}
    for theirs, ours in names.items():
        if param == theirs or param.startswith((f"{theirs}.", f"{theirs}[")):
            return ours + param.removeprefix(theirs)
    return "input_suffix" if param == "suffix" else param


def _at(told: Mapping[str, object], path: str) -> Any:
    """A value by its path, names between slashes; none where there is none."""
    found: Any = told
    for name in path.split("/"):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def _event(body: Mapping[str, object]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
