"""A case of several turns: the model is asked, its calls are answered by mock tools, and the user goes on."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from llmops_tui.evaluation.metrics.base import Answer
from llmops_tui.evaluation.runner.model_calls import kept_answer, read_answer
from llmops_tui.evaluation.runner.rendering import CHAT
from llmops_tui.evaluation.scripted.mock_tools import World
from llmops_tui.evaluation.scripted.script import ModelUser, Script
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.asking.asker import Asker, Request
from llmops_tui.inference.wire import ChatMessage, Reply

# Given the conversation and the tools that a script offers: the reply, and the answer that it is read as.
Ask = Callable[[Sequence[ChatMessage], Sequence[JsonObject]], Awaitable[tuple[Reply, Answer]]]
# Given a model and the messages of whoever plays: what it says.
Play = Callable[[str, Sequence[ChatMessage]], Awaitable[str]]
# Given the conversation and such tools: the request, its path, and its body by which its answer is kept.
MakeRequest = Callable[[list[ChatMessage], Sequence[JsonObject]], tuple[Request, str, Mapping[str, object]]]

TOO_MANY = "steps"
_PLAYER = """You play the user in a conversation with an assistant. What you want:
{goal}

Write the user's next message and nothing else. When you have what you want, or cannot get it, write {stop} and nothing else."""


async def converse(messages: Sequence[ChatMessage], script: Script, steps: int, ask: Ask, play: Play) -> Answer:
    """The answer to a case: the last text, all calls, the state at the end, and what all requests took together.

    After ``steps`` requests it ends, with the finish reason ``steps``.
    """
    talk = list(messages)
    world = World(script)
    offered = [tool.offered() for tool in script.tools]
    answers: list[Answer] = []
    calls: list[JsonObject] = []
    waiting = list(script.user) if isinstance(script.user, list) else []
    turns = 0
    for _ in range(steps):
        reply, answer = await ask(talk, offered)
        answers.append(answer)
        made = _calls_of(reply)
        asked = tuple(talk)
        if made:
            talk.append(cast("ChatMessage", {"role": "assistant", "content": answer.text, "tool_calls": made}))
            for call in made:
                function = call["function"]
                result, given = world.call(function["name"], function["arguments"])
                calls.append({"name": function["name"], "arguments": given, "turn": turns})
                text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
                talk.append(cast("ChatMessage", {"role": "tool", "tool_call_id": call["id"], "content": text}))
            continue
        talk.append({"role": "assistant", "content": answer.text})
        turns += 1
        said = await _next(script, waiting, talk, turns, play)
        if said is None:
            return _together(answers, asked, calls, world.state, answer.finish_reason)
        talk.append({"role": "user", "content": said})
    return _together(answers, asked, calls, world.state, TOO_MANY)


async def _next(script: Script, waiting: list[str], talk: Sequence[ChatMessage], turns: int, play: Play) -> str | None:
    """What the user says next; none where the conversation is over."""
    user = script.user
    if not isinstance(user, ModelUser):
        return waiting.pop(0) if waiting else None
    if turns > user.turns:
        return None
    # Whoever plays the user sees the conversation from the other side, and no tools.
    seen: list[ChatMessage] = [{"role": "system", "content": _PLAYER.format(goal=user.goal, stop=user.stop)}]
    for message in talk:
        text = str(message.get("content") or "")
        if message.get("role") in {"user", "assistant"} and text:
            seen.append({"role": "assistant" if message.get("role") == "user" else "user", "content": text})
    said = (await play(user.model, seen)).strip()
    return None if not said or user.stop in said else said


class Turns:
    """The requests of a conversation, each asked once: its answers are kept like all others."""

    def __init__(self, asker: Asker, model: str, request: MakeRequest) -> None:
        self._asker, self._model, self._request = asker, model, request

    async def ask(self, talk: Sequence[ChatMessage], tools: Sequence[JsonObject]) -> tuple[Reply, Answer]:
        """What the model says next."""
        request, path, sampled = self._request(list(talk), tools)
        key = self._asker.key(self._asker.identity(self._model), path, sampled)
        known = self._asker.cache.find([key]).get(key)
        if known is not None:
            return known.reply, kept_answer(known)
        reply, trace = await self._asker.answer(self._model, request, sampled)
        return reply, read_answer(reply, trace=trace)

    async def play(self, model: str, seen: Sequence[ChatMessage]) -> str:
        """What a model says in the part of the user."""
        reply = await self._asker.reply(
            model, CHAT, {"messages": seen, "temperature": 0.0, "max_tokens": 400, "seed": 1}
        )
        return str((reply["choices"][0].get("message") or {}).get("content") or "")


def _calls_of(reply: Reply) -> list[Any]:
    """The calls in a reply, each with an id, a name and a text of arguments, whatever a server sent."""
    message = reply["choices"][0].get("message") or {}
    found = []
    for number, call in enumerate(message.get("tool_calls") or ()):
        function: JsonObject = dict(call.get("function") or {})
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments if arguments is not None else {})
        named = {"name": str(function.get("name") or ""), "arguments": text}
        found.append({"id": str(call.get("id") or f"call_{number}"), "type": "function", "function": named})
    return found


def _together(
    answers: Sequence[Answer], asked: tuple[ChatMessage, ...], calls: list[JsonObject], state: JsonObject, reason: str
) -> Answer:
    """The last answer, with what all of them took."""
    last = answers[-1]
    return replace(
        last,
        finish_reason=reason,
        prompt_tokens=_sum([a.prompt_tokens for a in answers]),
        completion_tokens=_sum([a.completion_tokens for a in answers]),
        reasoning_tokens=_sum([a.reasoning_tokens for a in answers]),
        ttft_ms=answers[0].ttft_ms,
        total_ms=sum(a.total_ms or 0.0 for a in answers if not a.cached) or None,
        tokens_per_s=last.tokens_per_s if len(answers) == 1 else None,
        thinking="\n\n".join(a.thinking for a in answers if a.thinking),
        cached=all(a.cached for a in answers),
        kept_at=min((a.kept_at for a in answers if a.kept_at is not None), default=None),
        asked=asked,
        calls=tuple(calls),
        state=state,
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
