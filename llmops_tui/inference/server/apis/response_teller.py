"""Answers in the form of the responses API, while they come and whole."""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar, TypedDict, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.engine_wire import Generated
from llmops_tui.inference.server.answers import count
from llmops_tui.inference.server.apis.base import EVENTS
from llmops_tui.inference.server.events import was_cut
from llmops_tui.inference.server.generation import Choice, Messages


class Echoed(TypedDict):
    """What an answer repeats of its request."""

    instructions: str | None
    metadata: JsonObject
    temperature: float | None
    top_p: float | None
    max_output_tokens: int | None
    truncation: str


class Place(TypedDict):
    """Where a piece of an answer belongs."""

    item_id: str
    output_index: int
    content_index: int


class OutputPart(TypedDict):
    """A part of an answer's message."""

    type: str
    text: str
    annotations: list[JsonObject]


class OutputItem(TypedDict):
    """The message that is the answer."""

    id: str
    type: str
    role: str
    status: str
    content: list[OutputPart]


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
    model: str
    output: list[OutputItem]
    usage: ResponseUsage | None
    error: None
    incomplete_details: dict[str, str] | None
    store: bool
    parallel_tool_calls: bool
    tool_choice: str
    tools: list[JsonObject]


def _status(result: Generated) -> str:
    return "incomplete" if was_cut(result) else "completed"


class ResponseTeller:
    """Tells one choice in the form of the responses endpoint."""

    media_type: ClassVar[str] = EVENTS

    def __init__(self, response_id: str, model: str, echoed: Echoed) -> None:
        """``echoed`` is what the answer repeats of its request."""
        self._id = response_id
        self._model = model
        self._echoed = echoed
        self._item = response_id.replace("resp_", "msg_")
        self._sequence = 0
        self._text = ""

    def opened(self) -> bytes:
        """The events before the first text."""
        part = {"type": "output_text", "text": "", "annotations": []}
        item = {"id": self._item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        begun = self._response("in_progress", [], None)
        return b"".join(
            [
                self._event("response.created", response=begun),
                self._event("response.output_item.added", output_index=0, item=item),
                self._event("response.content_part.added", **self._place(), part=part),
            ]
        )

    def stream(self, choice: Choice, messages: Messages) -> bytes:
        """The events of some of the engine's messages."""
        assert choice.reader is not None
        out = []
        for message in messages:
            if message["event"] == "done":
                piece = choice.reader.finish(cut=was_cut(cast("Generated", message["result"]))).content
            else:
                piece = choice.reader.feed(message["text"] if message["event"] == "text" else "").content
            if piece:
                self._text += piece
                out.append(self._event("response.output_text.delta", **self._place(), delta=piece, logprobs=[]))
            if message["event"] == "done":
                result = cast("Generated", message["result"])
                done = self._response(_status(result), [self._message()], result)
                part = self._message()["content"][0]
                out += [
                    self._event("response.output_text.done", **self._place(), text=self._text, logprobs=[]),
                    self._event("response.content_part.done", **self._place(), part=part),
                    self._event("response.output_item.done", output_index=0, item=self._message()),
                    self._event(f"response.{done['status']}", response=done),
                ]
        return b"".join(out)

    def closed(self, _choices: list[Choice], /) -> bytes:
        """Nothing: the choice's own last event ends the stream."""
        return b""

    def whole(self, choices: list[Choice]) -> Response:
        """The answer to a request that does not stream."""
        (choice,) = choices
        assert choice.reader is not None
        self._text = choice.reader.feed("".join(choice.record.text)).content
        self._text += choice.reader.finish(cut=was_cut(choice.result)).content
        return self._response(_status(choice.result), [self._message()], choice.result)

    def failed(self, error: LlmopsError) -> bytes:
        """The last event of a stream that broke off."""
        return self._event("error", code=error.code, message=error.message, param=None)

    def _place(self) -> Place:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    def _message(self) -> OutputItem:
        part: OutputPart = {"type": "output_text", "text": self._text, "annotations": []}
        return {"id": self._item, "type": "message", "role": "assistant", "status": "completed", "content": [part]}

    def _response(self, status: str, output: list[OutputItem], result: Generated | None) -> Response:
        usage: ResponseUsage | None = None
        if result is not None:
            prompt, made = count(result["prompt_tokens"]), count(result["completion_tokens"])
            usage = {
                "input_tokens": prompt,
                "output_tokens": made,
                "total_tokens": prompt + made,
                "input_tokens_details": {"cached_tokens": count(result["reused_tokens"])},
                "output_tokens_details": {"reasoning_tokens": 0},
            }
        incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self._id,
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "model": self._model,
            "output": output,
            "usage": usage,
            "error": None,
            "incomplete_details": incomplete,
            "store": False,
            "parallel_tool_calls": False,
            "tool_choice": "none",
            "tools": [],
            **self._echoed,
        }

    def _event(self, name: str, **body: Any) -> bytes:
        data = {"type": name, "sequence_number": self._sequence, **body}
        self._sequence += 1
        return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
