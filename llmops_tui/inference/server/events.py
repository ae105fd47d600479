"""Stream events and complete responses for chat and text completions."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from llmops_tui.errors import LlmopsError
from llmops_tui.inference import wire
from llmops_tui.inference.engine_wire import FILTERED, Generated, ScoredEvent, TextEvent
from llmops_tui.inference.server import answers
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.conversation import Delta
from llmops_tui.inference.server.generation import warnings_of
from llmops_tui.inference.server.telling import Telling

_END = b"data: [DONE]\n\n"


class Teller(Telling):
    """Tells the choices of one request in OpenAI's form; ``kind`` is ``chat`` or ``text``.

    ``usage`` says whether a stream ends with the token counts.
    """

    media_type: ClassVar[str] = "text/event-stream"

    def __init__(
        self, kind: str, request_id: str, model: str, choices_a_prompt: int = 1, *, usage: bool = False
    ) -> None:
        self._kind = kind
        self._usage = usage
        self._choices_a_prompt = choices_a_prompt
        self._id = request_id
        self._model = model
        self._begun: set[int] = set()
        # Most events differ in their text alone; what is around it is written once.
        frame = answers.envelope(kind, request_id, model, [], chunk=True)
        self._before = json.dumps(frame)[:-3]

    def closed(self, choices: list[Choice]) -> bytes:
        """The token counts, where they are wanted, and the end."""
        if not self._usage:
            return _END
        event = answers.envelope(self._kind, self._id, self._model, [], chunk=True)
        event["usage"] = self._counted(choices)
        return f"data: {json.dumps(event)}\n\n".encode() + _END

    def failed(self, error: LlmopsError) -> bytes:
        """The last event of a stream that broke off."""
        failure = answers.error_body(error.code, error.message, error.hint, "server_error")
        return f"data: {json.dumps(failure)}\n\n".encode()

    def whole(self, choices: list[Choice]) -> wire.Completion:
        """The answer to a request that does not stream."""
        told = [self._chat_choice(c) if self._kind == "chat" else self._text_choice(c) for c in choices]
        answer = answers.envelope(self._kind, self._id, self._model, told, chunk=False)
        warned: wire.Completion = {"warnings": found} if (found := warnings_of(choices)) else {}
        return {**answer, "usage": self._counted(choices), "timings": choices[0].result, **warned}

    def _counted(self, choices: list[Choice]) -> wire.Usage:
        usage = answers.usage([choice.result for choice in choices], self._choices_a_prompt)
        if self._kind == "chat":
            usage["completion_tokens_details"] = {"reasoning_tokens": sum(c.reasoning_tokens for c in choices)}
        return usage

    def _event(self, choice: Choice, body: wire.Choice, finish: str | None = None, **more: Any) -> bytes:
        parts = {"index": choice.index, **body, "finish_reason": finish}
        tail = f", {json.dumps(more)[1:-1]}" if more else ""
        return f"data: {self._before}[{json.dumps(parts)}]{tail}}}\n\n".encode()

    def _scored(self, choice: Choice, message: ScoredEvent) -> list[bytes]:
        if "score_from" not in choice.call:
            return []
        tokens = message["tokens"]
        text = choice.echoing.decode(b"".join(bytes(t[1]) for t in tokens), final=message["last"])
        logprobs = answers.text_logprobs(tokens, len(choice.echo))
        choice.echo += text
        self._begun.add(choice.index)
        return [self._event(choice, {"text": text, "logprobs": logprobs})]

    def _text(self, choice: Choice, message: TextEvent) -> list[bytes]:
        text, tokens = message["text"], message.get("tokens")
        first = choice.index not in self._begun
        self._begun.add(choice.index)
        if self._kind == "text":
            told = (choice.echo if first else "") + text
            offset = len(choice.echo) + choice.told
            choice.told += len(text)
            logprobs = answers.text_logprobs(tokens, offset) if tokens else None
            return [self._event(choice, {"text": told, "logprobs": logprobs})]
        assert choice.reader is not None
        delta = choice.reader.feed(text)
        body = self._delta(choice, delta, first=first)
        if not (body or tokens):
            return []
        piece: wire.Choice = {"delta": body}
        if tokens:
            piece["logprobs"] = answers.chat_logprobs(tokens)
        return [self._event(choice, piece)]

    def _delta(self, choice: Choice, delta: Delta, *, first: bool) -> wire.ChatMessage:
        body: wire.ChatMessage = {"role": "assistant", "content": ""} if first else {}
        if delta.content:
            body["content"] = delta.content
        if delta.reasoning:
            body["reasoning_content"] = delta.reasoning
        if delta.tool_calls:
            body["tool_calls"] = delta.tool_calls
            choice.calls += delta.tool_calls
        return body

    def _end(self, choice: Choice, result: Generated) -> list[bytes]:
        if self._kind == "text":
            rest = choice.echo if choice.index not in self._begun else ""
            said: wire.Choice = {"text": rest, "logprobs": None}
            return [self._event(choice, said, reason_of(choice, result), timings=result, **_warned(choice))]
        assert choice.reader is not None
        body = self._delta(choice, choice.reader.finish(cut=was_cut(result)), first=choice.index not in self._begun)
        out = [self._event(choice, {"delta": body})] if body else []
        # What the delta has of calls is part of the reason.
        end = self._event(choice, {"delta": {}}, reason_of(choice, result), timings=result, **_warned(choice))
        return [*out, end]

    def _chat_choice(self, choice: Choice) -> wire.Choice:
        answer = choice.answer
        calls = choice.calls = answer.tool_calls
        message: wire.ChatMessage = {"role": "assistant", "content": answer.content or (None if calls else "")}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        if calls:
            message["tool_calls"] = [_unnumbered(call) for call in calls]
        logprobs = answers.chat_logprobs(choice.tokens) if choice.call["logprobs"] is not None else None
        reason = reason_of(choice, choice.result)
        return {"index": choice.index, "message": message, "logprobs": logprobs, "finish_reason": reason}

    def _text_choice(self, choice: Choice) -> wire.Choice:
        echo = choice.echo
        if choice.given and "score_from" in choice.call:
            echo = b"".join(bytes(t[1]) for t in choice.given).decode("utf-8", "replace")
        logprobs = None
        if choice.call["logprobs"] is not None:
            logprobs = answers.text_logprobs(choice.given + choice.tokens, 0 if choice.given else len(echo))
        return {
            "index": choice.index,
            "text": echo + "".join(choice.record.text),
            "logprobs": logprobs,
            "finish_reason": reason_of(choice, choice.result),
        }


def _warned(choice: Choice) -> wire.Completion:
    return {"warnings": choice.warnings} if choice.warnings else {}


def _unnumbered(call: wire.ToolCall) -> wire.ToolCall:
    """A call as a whole answer has it; in a stream its number says which one a piece belongs to."""
    return {"id": call["id"], "type": call["type"], "function": call["function"]}


def reason_of(choice: Choice, result: Generated) -> str:
    """Why an answer ended that was read to its end: ``stop``, ``length`` or ``tool_calls``."""
    reason = str(result["finish_reason"])
    if choice.reader is not None and choice.reader.broken_off and reason == "stop":
        # A stop text within a call cuts the answer off as a limit does.
        return "length"
    return "tool_calls" if choice.calls and reason == "stop" else reason


def was_cut(result: Generated) -> bool:
    """Whether a limit or a guard cut the answer off."""
    return result["finish_reason"] in {"length", FILTERED}
