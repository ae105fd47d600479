"""Answers in the form of Ollama's API: lines of JSON while they come, or one object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

from llmops_tui.errors import LlmopsError, sentences
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.engine_wire import FILTERED, Generated, TextEvent, TokenRecord
from llmops_tui.inference.server.answers import chat_logprobs, count
from llmops_tui.inference.server.apis.ollama_request import OllamaChat, OllamaGenerate
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.conversation import Delta
from llmops_tui.inference.server.events import was_cut
from llmops_tui.inference.server.telling import Telling
from llmops_tui.inference.wire import ToolCall

_MILLION = 1_000_000


class OllamaTeller(Telling):
    """Tells one choice in lines: one for each piece of the answer, and one with the figures at the end.

    As a ``chat`` its text is a message, else the response to a prompt.
    """

    media_type: ClassVar[str] = "application/x-ndjson"

    def __init__(self, model: str, *, chat: bool) -> None:
        self._model = model
        self._chat = chat

    def _text(self, choice: Choice, message: TextEvent) -> list[bytes]:
        delta = choice.reader.feed(message["text"]) if choice.reader is not None else None
        told = self._said(delta, message["text"] if delta is None else "", message.get("tokens"))
        return [_written(self._line(told, done=False))] if told else []

    def _end(self, choice: Choice, result: Generated) -> list[bytes]:
        told = self._rest(choice, result)
        out = [_written(self._line(told, done=False))] if told else []
        last = self._said(None, "", None) or self._empty()
        return [*out, _written(self._line(last, done=True) | _figures(result) | _warned(choice))]

    def failed(self, error: LlmopsError) -> bytes:
        """The last line of a stream that broke off."""
        return json.dumps({"error": sentences(error.message, error.hint)}).encode() + b"\n"

    def whole(self, choices: list[Choice]) -> Mapping[str, object]:
        """The answer to a request that does not stream."""
        (choice,) = choices
        text, tokens = "".join(choice.record.text), choice.tokens if choice.call["logprobs"] is not None else None
        told = self._said(None if choice.reader is None else choice.answer, text, tokens) or self._empty()
        return self._line(told, done=True) | _figures(choice.result) | _warned(choice)

    def _rest(self, choice: Choice, result: Generated) -> JsonObject | None:
        if choice.reader is None:
            return None
        return self._said(choice.reader.finish(cut=was_cut(result)), "", None)

    def _said(self, delta: Delta | None, text: str, tokens: list[TokenRecord] | None) -> JsonObject | None:
        """What a piece of an answer says; none where that is nothing."""
        content = text if delta is None else delta.content
        told: JsonObject = {"role": "assistant", "content": content} if self._chat else {"response": content}
        if delta is not None and delta.reasoning:
            told["thinking"] = delta.reasoning
        if delta is not None and delta.tool_calls:
            told["tool_calls"] = [_call(call) for call in delta.tool_calls]
        probabilities = {"logprobs": chat_logprobs(tokens)["content"]} if tokens else {}
        if not content and len(told) == len(self._empty_message()) and not probabilities:
            return None
        return ({"message": told} if self._chat else told) | probabilities

    def _empty_message(self) -> JsonObject:
        return {"role": "assistant", "content": ""} if self._chat else {"response": ""}

    def _empty(self) -> JsonObject:
        return {"message": self._empty_message()} if self._chat else self._empty_message()

    def _line(self, told: JsonObject, *, done: bool) -> JsonObject:
        return {"model": self._model, "created_at": now(), **told, "done": done}


def silence(body: OllamaChat | OllamaGenerate, reason: str) -> JsonObject:
    """The answer to a request that says nothing: the model was loaded or unloaded for it, as ``reason`` says."""
    empty: JsonObject = {"message": {"role": "assistant", "content": ""}}
    if isinstance(body, OllamaGenerate):
        empty = {"response": ""}
    return {"model": body.model, "created_at": now(), **empty, "done": True, "done_reason": reason}


def now() -> str:
    """The time as Ollama tells it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _written(line: JsonObject) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _call(call: ToolCall) -> JsonObject:
    """A call with its arguments as an object."""
    function = call["function"]
    given = json.loads(function["arguments"])
    arguments = given if isinstance(given, dict) else {"arguments": given}
    return {"id": call["id"], "function": {"index": call["index"], "name": function["name"], "arguments": arguments}}


def _warned(choice: Choice) -> JsonObject:
    return {"warnings": choice.warnings} if choice.warnings else {}


def _figures(result: Generated) -> JsonObject:
    """Why an answer ended, and its figures; times in nanoseconds."""
    first, total = result.get("ttft_ms") or 0.0, result.get("total_ms") or 0.0
    return {
        "done_reason": FILTERED if result["finish_reason"] == FILTERED else "length" if was_cut(result) else "stop",
        "total_duration": round(total * _MILLION),
        "load_duration": 0,
        "prompt_eval_count": count(result["prompt_tokens"]),
        "prompt_eval_duration": round(first * _MILLION),
        "eval_count": count(result["completion_tokens"]),
        "eval_duration": round((total - first) * _MILLION),
    }
