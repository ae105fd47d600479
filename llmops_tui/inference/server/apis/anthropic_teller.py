"""Answers in the form of Anthropic's messages, while they come and whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, ClassVar, NotRequired, TypedDict

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.engine_wire import FILTERED, Generated
from llmops_tui.inference.server.answers import count, error_body
from llmops_tui.inference.server.apis.block_teller import BlockTeller
from llmops_tui.inference.server.apis.blocks import Block, Step
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.error_shapes import as_anthropic
from llmops_tui.inference.server.events import reason_of, was_cut
from llmops_tui.inference.server.generation import Messages
from llmops_tui.inference.wire import Warned


class _Usage(TypedDict):
    """Tokens; those of the prompt that came from the cache are not among ``input_tokens``."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: NotRequired[dict[str, int]]


class MessageOut(TypedDict):
    """An answer, or what there is of it."""

    id: str
    type: str
    role: str
    model: str
    content: list[JsonObject]
    stop_reason: str | None
    stop_sequence: str | None
    usage: _Usage
    warnings: NotRequired[list[Warned]]


class MessageTeller(BlockTeller[MessageOut]):
    """Tells one choice as a message of Anthropic's API.

    ``warnings`` are what is known before the answer not to be done as asked. Without ``shows_thinking``, thinking has a
    block without its text.
    """

    says_something: ClassVar[bool] = False

    def __init__(self, message_id: str, model: str, warnings: Sequence[Warned], *, shows_thinking: bool) -> None:
        self._id = message_id
        self._model = model
        self._warnings = list(warnings)
        self._shows_thinking = shows_thinking
        super().__init__()

    def opened(self, messages: Messages) -> bytes:
        """The message without anything in it, and the tokens of the prompt."""
        known: Any = next((m for m in messages if m["event"] == "text"), None) or _result_in(messages)
        begun = self._message(_usage(known.get("prompt_tokens"), known.get("reused_tokens"), 0))
        return _event("message_start", message=begun) + _event("ping")

    def failed(self, error: LlmopsError) -> bytes:
        """The last event of a stream that broke off."""
        body = as_anthropic(error_body(error.code, error.message, error.hint), 500)
        return _event("error", **{name: value for name, value in body.items() if name != "type"})

    def _last(self, choice: Choice, done: MessageOut) -> list[bytes]:
        delta = {"stop_reason": done["stop_reason"], "stop_sequence": done["stop_sequence"]}
        found: JsonObject = {"warnings": choice.warnings} if choice.problems else {}
        return [_event("message_delta", delta=delta, usage=done["usage"], **found), _event("message_stop")]

    def _step(self, step: Step, block: Block, grown: str) -> list[bytes]:
        if step == "begun":
            return [_event("content_block_start", index=block.index, content_block=self._content(block, empty=True))]
        if step == "grown":
            if block.kind == "reasoning" and not self._shows_thinking:
                return []
            kind, name = _DELTAS[block.kind]
            return [_event("content_block_delta", index=block.index, delta={"type": kind, name: grown})]
        ended = [_event("content_block_stop", index=block.index)]
        if block.kind == "reasoning":
            signed = {"type": "signature_delta", "signature": _signature(block)}
            ended.insert(0, _event("content_block_delta", index=block.index, delta=signed))
        return ended

    def _content(self, block: Block, *, empty: bool = False) -> JsonObject:
        if block.call is not None:
            given = {} if empty else _arguments(block.text)
            return {"type": "tool_use", "id": block.call["id"], "name": block.call["function"]["name"], "input": given}
        text = "" if empty else block.text
        if block.kind == "reasoning":
            shown = text if self._shows_thinking else ""
            return {"type": "thinking", "thinking": shown, "signature": "" if empty else _signature(block)}
        return {"type": "text", "text": text}

    def _done(self, choice: Choice, result: Generated) -> MessageOut:
        usage = _usage(result["prompt_tokens"], result["reused_tokens"], count(result["completion_tokens"]))
        usage["output_tokens_details"] = {"thinking_tokens": choice.reasoning_tokens}
        message = self._message(usage)
        message["content"] = [self._content(block) for block in self._blocks.all]
        message["stop_reason"], message["stop_sequence"] = _reason(choice, result)
        if choice.warnings:
            message["warnings"] = choice.warnings
        return message

    def _message(self, usage: _Usage) -> MessageOut:
        message: MessageOut = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        if self._warnings:
            message["warnings"] = self._warnings
        return message


_DELTAS = {
    "content": ("text_delta", "text"),
    "reasoning": ("thinking_delta", "thinking"),
    "call": ("input_json_delta", "partial_json"),
}


def _result_in(messages: Messages) -> Any:
    return next((m["result"] for m in messages if m["event"] == "done"), {})


def _usage(prompt: int | None, reused: int | None, made: int) -> _Usage:
    cached = count(reused)
    return {
        "input_tokens": count(prompt) - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": made,
    }


def _reason(choice: Choice, result: Generated) -> tuple[str, str | None]:
    """Why an answer ended, and the stop text that ended it."""
    reason, stopped_by = reason_of(choice, result), result.get("stopped_by")
    if reason == "tool_calls":
        return "tool_use", None
    if reason == FILTERED:
        return "refusal", None
    if stopped_by is not None:
        return "stop_sequence", stopped_by
    if reason != "length":
        return "end_turn", None
    limit = choice.call.get("parameters", {}).get("max_tokens", 0)
    full = was_cut(result) and count(result["completion_tokens"]) < limit
    return ("model_context_window_exceeded" if full else "max_tokens"), None


def _signature(block: Block) -> str:
    """Clients keep only thinking that is signed; here it says no more than which text it belongs to."""
    return hashlib.sha256(block.text.encode(errors="surrogatepass")).hexdigest()


def _arguments(text: str) -> JsonObject:
    """The arguments of a call as an object; what is none stands in one."""
    try:
        given = json.loads(text)
    except ValueError:
        given = text
    return given if isinstance(given, dict) else {"value": given}


def _event(kind: str, /, **body: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **body})}\n\n".encode()
