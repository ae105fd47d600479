"""What a served version holds beside its texts, in the words of the API it is asked by; what a request says itself counts."""

from __future__ import annotations

from typing import Any

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import AnswerSettings
from llmops_tui.inference.asked_prompt import fields_of
from llmops_tui.inference.prompt_versions import PromptVersion
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server.fields import FieldRefusedError

CHAT, RESPONSES, MESSAGES, OLLAMA = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat"
_OPTIONS = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
)
# Where a parameter stands in a request, by address: the way to its field.
_PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    CHAT: {name: (name,) for name in SamplingParameters.model_fields},
    RESPONSES: {"temperature": ("temperature",), "top_p": ("top_p",), "max_tokens": ("max_output_tokens",)},
    MESSAGES: {
        "temperature": ("temperature",),
        "top_p": ("top_p",),
        "top_k": ("top_k",),
        "stop": ("stop_sequences",),
        "max_tokens": ("max_tokens",),
    },
    OLLAMA: {
        **{name: ("options", name) for name in _OPTIONS},
        "max_tokens": ("options", "num_predict"),
        "enable_thinking": ("think",),
    },
}


def with_held(path: str, version: PromptVersion, given: JsonObject) -> JsonObject:
    """A request with what its prompt's version holds, where it says nothing itself; null says nothing.

    Raises:
        FieldRefusedError: the version holds a parameter that requests of this address have no field for; it is named.
    """
    settings = version.settings
    if settings is None:
        return given
    held = settings.parameters.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if path == CHAT and given.get("max_completion_tokens") is not None:
        held.pop("max_tokens", None)
    variables = given.get("chat_template_kwargs")
    if path == CHAT and isinstance(variables, dict) and "enable_thinking" in variables:
        held.pop("enable_thinking", None)
    places = _PLACES[path]
    if unknown := [name for name in held if name not in places]:
        told = f"{version.ref} holds {', '.join(unknown)}, which requests of {path} have no field for"
        raise FieldRefusedError("model", told, f"Ask it at {CHAT}.")
    found = dict(given)
    for name, value in held.items():
        _put(found, places[name], value)
    for way, value in _forms(path, settings):
        # A grammar of its own is a form of the answer, too.
        if way != ("response_format",) or given.get("grammar") is None:
            _put(found, way, value)
    return found


def _forms(path: str, settings: AnswerSettings) -> list[tuple[tuple[str, ...], object]]:
    """The schema and the tools, each with its place."""
    if path == CHAT:
        return [((name,), value) for name, value in fields_of(settings).items()]
    found: list[tuple[tuple[str, ...], object]] = []
    if (schema := settings.answer_schema) is not None:
        whole = {"type": "json_schema", "schema": schema}
        found.append({
            RESPONSES: (("text", "format"), {**whole, "name": "answer"}),
            MESSAGES: (("output_config", "format"), whole),
            OLLAMA: (("format",), schema),
        }[path])  # fmt: skip
    if settings.tools:
        found.append((("tools",), [_tool(path, tool.as_request()) for tool in settings.tools]))
    return found


def _tool(path: str, tool: JsonObject) -> JsonObject:
    function: JsonObject = tool["function"]
    if path == RESPONSES:
        return {"type": "function", **function}
    if path == MESSAGES:
        return {
            "name": function["name"],
            "description": function["description"],
            "input_schema": function["parameters"],
        }
    return tool


def _put(body: JsonObject, way: tuple[str, ...], value: object) -> None:
    """Put a value where the request says nothing; what is no object on the way is left for the server to refuse."""
    first, *rest = way
    inner: Any = body.get(first)
    if not rest:
        body[first] = value if inner is None else inner
    elif inner is None or isinstance(inner, dict):
        own = {name: said for name, said in (inner or {}).items() if name != rest[0] or said is not None}
        body[first] = {rest[0]: value, **own}
