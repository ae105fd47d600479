"""Answers in the form of the responses API, while they come and whole."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, ClassVar, NotRequired, TypedDict, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.engine_wire import FILTERED, Generated
from llmops_tui.inference.server.answers import count
from llmops_tui.inference.server.apis.block_teller import BlockTeller
from llmops_tui.inference.server.apis.blocks import Block, Step
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.events import reason_of
from llmops_tui.inference.server.generation import Messages
from llmops_tui.inference.wire import Warned

_INCOMPLETE = {"length": "max_output_tokens", FILTERED: FILTERED}


class Echoed(TypedDict):
    """What an answer repeats of its request."""

    instructions: str | None
    metadata: JsonObject
    temperature: float | None
    top_p: float | None
    max_output_tokens: int | None
    truncation: str
    previous_response_id: str | None
    store: bool
    parallel_tool_calls: bool
    tool_choice: str | JsonObject
    tools: list[JsonObject]
    reasoning: dict[str, str | None]
    text: dict[str, JsonObject]


class OutputPart(TypedDict):
    """A text of an answer: ``output_text`` or ``reasoning_text``."""

    type: str
    text: str
    annotations: NotRequired[list[JsonObject]]
    logprobs: NotRequired[list[JsonObject]]


class OutputItem(TypedDict):
    """A part of an answer: a ``message``, a ``function_call``, or ``reasoning``."""

    id: str
    type: str
    status: str
    role: NotRequired[str]
    content: NotRequired[list[OutputPart]]
    summary: NotRequired[list[OutputPart]]
    encrypted_content: NotRequired[None]
    call_id: NotRequired[str]
    name: NotRequired[str]
    arguments: NotRequired[str]


class ResponseUsage(TypedDict):
    """Tokens of a request and its answer."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens_details: dict[str, int]


class Response(Echoed):
    """A whole answer, or what there is of it."""

    id: str
    object: str
    created_at: int
    status: str
    background: bool
    model: str
    output: list[OutputItem]
    usage: ResponseUsage | None
    error: dict[str, str] | None
    incomplete_details: dict[str, str] | None
    warnings: NotRequired[list[Warned]]


Keep = Callable[[Response], None]
_PREFIX = {"content": "msg", "reasoning": "rs", "call": "fc"}
_TEXT = {"content": "output_text", "reasoning": "reasoning_text", "call": "function_call_arguments"}


class ResponseTeller(BlockTeller[Response]):
    """Tells one choice in the form of the responses endpoint."""

    says_something: ClassVar[bool] = True

    def __init__(self, response_id: str, model: str, echoed: Echoed, keep: Keep) -> None:
        """``echoed`` is what the answer repeats of its request; ``keep`` is given it when it is whole."""
        self._id = response_id
        self._model = model
        self._echoed = echoed
        self._keep = keep
        self._created = int(time.time())
        self._sequence = 0
        super().__init__()

    def opened(self, _messages: Messages) -> bytes:
        """The events before the first text."""
        begun = self._response("in_progress")
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def failed(self, error: LlmopsError) -> bytes:
        """The last event of a stream that broke off."""
        failure = {"code": error.code, "message": error.told}
        return self._event("response.failed", response={**self._response("failed"), "error": failure})

    def _last(self, _choice: Choice, done: Response) -> list[bytes]:
        return [self._event(f"response.{done['status']}", response=done)]

    def _step(self, step: Step, block: Block, grown: str) -> list[bytes]:
        """The events of what happened to a block; they are numbered in their order."""
        if step == "grown":
            return [
                self._event(f"response.{_TEXT[block.kind]}.delta", **self._place(block), delta=grown, **_more(block))
            ]
        if step == "begun":
            item = self._item(block, "in_progress", empty=True)
            begun = [self._event("response.output_item.added", output_index=block.index, item=item)]
            if block.kind != "call":
                part = _part(block, empty=True)
                begun.append(self._event("response.content_part.added", **self._place(block), part=part))
            return begun
        item = self._item(block, "completed")
        whole: JsonObject = (
            {"text": block.text} if block.kind != "call" else {"arguments": block.text, "name": item["name"]}
        )
        ended = [self._event(f"response.{_TEXT[block.kind]}.done", **self._place(block), **whole, **_more(block))]
        if block.kind != "call":
            ended.append(self._event("response.content_part.done", **self._place(block), part=_part(block)))
        return [*ended, self._event("response.output_item.done", output_index=block.index, item=item)]

    def _place(self, block: Block) -> JsonObject:
        place: JsonObject = {"item_id": self._name(block), "output_index": block.index}
        return place if block.kind == "call" else place | {"content_index": 0}

    def _name(self, block: Block) -> str:
        return f"{_PREFIX[block.kind]}_{self._id.partition('_')[2]}_{block.index}"

    def _item(self, block: Block, status: str, *, empty: bool = False) -> OutputItem:
        name = self._name(block)
        if block.call is not None:
            function = block.call["function"]
            arguments = "" if empty else block.text
            return {
                "id": name, "type": "function_call", "status": status, "call_id": block.call["id"],
                "name": function["name"], "arguments": arguments,
            }  # fmt: skip
        content = [] if empty else [_part(block)]
        if block.kind == "reasoning":
            return {"id": name, "type": "reasoning", "status": status, "summary": [], "content": content}
        return {"id": name, "type": "message", "status": status, "role": "assistant", "content": content}

    def _done(self, choice: Choice, result: Generated) -> Response:
        reason = _INCOMPLETE.get(reason_of(choice, result))
        status = "completed" if reason is None else "incomplete"
        done = self._response(status)
        if reason is not None:
            done["incomplete_details"] = {"reason": reason}
            # Of an answer that was held back whole, there is nothing.
            for last in done["output"][-1:]:
                last["status"] = status if last["type"] != "function_call" else last["status"]
        prompt, made = count(result["prompt_tokens"]), count(result["completion_tokens"])
        done["usage"] = {
            "input_tokens": prompt,
            "output_tokens": made,
            "total_tokens": prompt + made,
            "input_tokens_details": {"cached_tokens": count(result["reused_tokens"]), "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": choice.reasoning_tokens},
        }
        if choice.warnings:
            done["warnings"] = choice.warnings
        self._keep(done)
        return done

    def _response(self, status: str) -> Response:
        over = status not in {"in_progress", "failed"}
        whole = {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "model": self._model,
            "output": [self._item(block, "completed") for block in self._blocks.all] if over else [],
            "usage": None,
            "error": None,
            "incomplete_details": None,
            **self._echoed,
        }
        return cast("Response", whole)

    def _event(self, kind: str, /, **body: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._sequence, **body}
        self._sequence += 1
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _part(block: Block, *, empty: bool = False) -> OutputPart:
    text = "" if empty else block.text
    if block.kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _more(block: Block) -> JsonObject:
    return {"logprobs": []} if block.kind == "content" else {}
