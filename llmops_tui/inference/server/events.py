"""Stream events and complete responses for chat, text completions and responses."""

from __future__ import annotations

import json
import time
from typing import Any, cast

from llmops_tui.inference import wire
from llmops_tui.inference.engine_wire import Generated, ScoredEvent, TokenRecord
from llmops_tui.inference.server import answers
from llmops_tui.inference.server.answers import count
from llmops_tui.inference.server.conversation import Delta
from llmops_tui.inference.server.generation import Choice, Messages
from llmops_tui.inference.server.responses import Echoed, OutputItem, OutputPart, Place, Response, ResponseUsage


class Teller:
    """Tells the choices of one request in OpenAI's form; ``kind`` is ``chat`` or ``text``."""

    def __init__(self, kind: str, request_id: str, model: str, choices_a_prompt: int = 1) -> None:
        self._kind = kind
        self._choices_a_prompt = choices_a_prompt
        self._id = request_id
        self._model = model
        self._begun: set[int] = set()
        # Most events differ in their text alone; what is around it is written once.
        frame = answers.envelope(kind, request_id, model, [], chunk=True)
        self._before = json.dumps(frame)[:-3]

    def stream(self, choice: Choice, messages: Messages) -> bytes:
        """The events of some of the engine's messages; may be none."""
        out: list[str] = []
        for message in messages:
            if message["event"] == "scored" and "score_from" in choice.call:
                self._echo(choice, message, out)
            elif message["event"] == "text":
                self._text(choice, message["text"], message.get("tokens"), out)
            elif message["event"] == "done":
                self._end(choice, cast("Generated", message["result"]), out)
        return "".join(out).encode()

    def usage(self, choices: list[Choice]) -> bytes:
        """The last event of a stream that was asked for token counts."""
        event = answers.envelope(self._kind, self._id, self._model, [], chunk=True)
        event["usage"] = answers.usage([c.result for c in choices], self._choices_a_prompt)
        return f"data: {json.dumps(event)}\n\n".encode()

    def whole(self, choices: list[Choice]) -> wire.Completion:
        """The answer to a request that does not stream."""
        told = [self._chat_choice(c) if self._kind == "chat" else self._text_choice(c) for c in choices]
        answer = answers.envelope(self._kind, self._id, self._model, told, chunk=False)
        results = [c.result for c in choices]
        return {**answer, "usage": answers.usage(results, self._choices_a_prompt), "timings": results[0]}

    def _event(self, choice: Choice, body: wire.Choice, finish: str | None = None, **more: Any) -> str:
        parts = {"index": choice.index, **body, "finish_reason": finish}
        tail = f", {json.dumps(more)[1:-1]}" if more else ""
        return f"data: {self._before}[{json.dumps(parts)}]{tail}}}\n\n"

    def _echo(self, choice: Choice, message: ScoredEvent, out: list[str]) -> None:
        tokens = message["tokens"]
        text = choice.echoing.decode(b"".join(bytes(t[1]) for t in tokens), final=message["last"])
        logprobs = answers.text_logprobs(tokens, len(choice.echo))
        choice.echo += text
        self._begun.add(choice.index)
        out.append(self._event(choice, {"text": text, "logprobs": logprobs}))

    def _text(self, choice: Choice, text: str, tokens: list[TokenRecord] | None, out: list[str]) -> None:
        first = choice.index not in self._begun
        self._begun.add(choice.index)
        if self._kind == "text":
            told = (choice.echo if first else "") + text
            offset = len(choice.echo) + choice.told
            choice.told += len(text)
            logprobs = answers.text_logprobs(tokens, offset) if tokens else None
            out.append(self._event(choice, {"text": told, "logprobs": logprobs}))
            return
        assert choice.reader is not None
        delta = choice.reader.feed(text)
        body = self._delta(choice, delta, first=first)
        if body or tokens:
            piece: wire.Choice = {"delta": body}
            if tokens:
                piece["logprobs"] = answers.chat_logprobs(tokens)
            out.append(self._event(choice, piece))

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

    def _end(self, choice: Choice, result: Generated, out: list[str]) -> None:
        if self._kind == "text":
            rest = choice.echo if choice.index not in self._begun else ""
            out.append(self._event(choice, {"text": rest, "logprobs": None}, _reason(choice, result), timings=result))
            return
        assert choice.reader is not None
        body = self._delta(choice, choice.reader.finish(cut=_cut(result)), first=choice.index not in self._begun)
        if body:
            out.append(self._event(choice, {"delta": body}))
        out.append(self._event(choice, {"delta": {}}, _reason(choice, result), timings=result))

    def _chat_choice(self, choice: Choice) -> wire.Choice:
        assert choice.reader is not None
        read = choice.reader.feed("".join(choice.record.text))
        end = choice.reader.finish(cut=_cut(choice.result))
        calls = read.tool_calls + end.tool_calls
        choice.calls = calls
        content = read.content + end.content
        message: wire.ChatMessage = {"role": "assistant", "content": content or (None if calls else "")}
        if reasoning := read.reasoning + end.reasoning:
            message["reasoning_content"] = reasoning
        if calls:
            message["tool_calls"] = [_unnumbered(call) for call in calls]
        logprobs = answers.chat_logprobs(choice.tokens) if choice.call["logprobs"] is not None else None
        reason = _reason(choice, choice.result)
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
            "finish_reason": _reason(choice, choice.result),
        }


def _unnumbered(call: wire.ToolCall) -> wire.ToolCall:
    """A call as a whole answer has it; in a stream its number says which one a piece belongs to."""
    return {"id": call["id"], "type": call["type"], "function": call["function"]}


def _reason(choice: Choice, result: Generated) -> str:
    reason = str(result["finish_reason"])
    if choice.reader is not None and choice.reader.broken_off and reason == "stop":
        # A stop text within a call cuts the answer off as a limit does.
        return "length"
    return "tool_calls" if choice.calls and reason == "stop" else reason


def _cut(result: Generated) -> bool:
    return result["finish_reason"] == "length"


def _status(result: Generated) -> str:
    return "incomplete" if _cut(result) else "completed"


class ResponseTeller:
    """Tells one choice in the form of the responses endpoint."""

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
                piece = choice.reader.finish(cut=_cut(cast("Generated", message["result"]))).content
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

    def whole(self, choice: Choice) -> Response:
        """The answer to a request that does not stream."""
        assert choice.reader is not None
        self._text = choice.reader.feed("".join(choice.record.text)).content
        self._text += choice.reader.finish(cut=_cut(choice.result)).content
        return self._response(_status(choice.result), [self._message()], choice.result)

    def failed(self, code: str, message: str) -> bytes:
        """The last event of a stream that broke off."""
        return self._event("error", code=code, message=message, param=None)

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
                "output_tokens_details": {"reasoning_tokens": count(result.get("reasoning_tokens"))},
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
