"""Conversations to prompts and answers back: the model's chat template, its tool calls, its marked reasoning."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from llmops_tui import chat_format
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.constraints import Form, ToolRecord
from llmops_tui.inference.engine_wire import EngineInfo
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.tool_call_parser import parse_calls
from llmops_tui.inference.template_renderer import TemplateRenderer, Variables
from llmops_tui.inference.wire import ChatMessage, ToolCall

# A model without a template of its own still has to be talked to; this is the plainest form.
_PLAIN_TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
_REASONING = (("<think>", "</think>"), ("<|START_THINKING|>", "<|END_THINKING|>"), ("[THINK]", "[/THINK]"))
_TOOL_MARKS = (("<tool_call>", "</tool_call>"), ("[TOOL_CALLS]", ""), ("<|python_tag|>", ""))


@dataclass(frozen=True)
class ChatFormat:
    """What a model's template says of its conversations.

    Attributes:
        reasoning: the marks around what the model thinks, where the template has them.
        tool_marks: the marks around a tool call, where the template knows tools.
    """

    template: str
    reasoning: tuple[str, str] | None
    tool_marks: tuple[str, str] | None

    @classmethod
    def of(cls, template: str | None) -> ChatFormat:
        """Read a template's marks off its source."""
        source = template or _PLAIN_TEMPLATE
        reasoning = next((marks for marks in _REASONING if marks[1] in source), None)
        knows_tools = re.search(r"\btools\b", source) is not None
        tool_marks = next((marks for marks in _TOOL_MARKS if marks[0] in source), ("", "")) if knows_tools else None
        return cls(source, reasoning, tool_marks)

    def mentions(self, word: str) -> bool:
        """Whether the template's source has a word, such as the name of a variable or of a message's field."""
        return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", self.template) is not None

    def quotes(self, word: str) -> bool:
        """Whether the template's source has a word as a text of its own, such as a role that it compares with."""
        return f"'{word}'" in self.template or f'"{word}"' in self.template

    @property
    def visible(self) -> list[str]:
        """The marks, which may be control tokens and would otherwise be no part of an answer's text."""
        return [mark for marks in (self.reasoning, self.tool_marks) for mark in (marks or ()) if mark]


class ChatTemplate:
    """Renders conversations with a model's template; ``facts`` are the engine's, its special tokens among them."""

    def __init__(self, template: str | None, facts: Callable[[], Awaitable[EngineInfo]]) -> None:
        self.format = ChatFormat.of(template)
        self._facts = facts
        self._renderer = TemplateRenderer()
        self._read: chat_format.ChatFormat | None = None
        self._looked = False
        self._reading = threading.Lock()

    async def render(
        self,
        turns: Sequence[ChatMessage],
        tools: Sequence[ToolRecord] | None = None,
        extra: Variables | None = None,
    ) -> str:
        """The prompt of a conversation, once the model is loaded; ``extra`` are further variables of the template.

        Raises:
            InputRefusedError: ``template_failed``.
            LlmopsError: the model could not be loaded.
        """
        info = await self._facts()
        context: Variables = (extra or {}) | {
            "tools": tools,
            "add_generation_prompt": True,
            "bos_token": info["bos"],
            "eos_token": info["eos"],
        }
        return await asyncio.to_thread(self._rendered, turns, context)

    def _rendered(self, turns: Sequence[ChatMessage], context: Variables) -> str:
        given: Sequence[Mapping[str, object]] = turns
        with self._reading:
            if not self._looked:
                self._looked = True
                # A template that no format is read off gets what clients send, and says itself what it cannot render.
                with contextlib.suppress(InputRefusedError):
                    self._read = chat_format.read_format(
                        self.format.template, self._renderer, bos=context["bos_token"], eos=context["eos_token"]
                    )
        if self._read is not None:
            given = chat_format.as_wanted(self._read, turns)
            if self._read.needs_tools and context["tools"] is None:
                context["tools"] = []
        return self._renderer.render(self.format.template, context | {"messages": given}, "chat")

    def close(self) -> None:
        """End the template process."""
        self._renderer.close()


def tool_constraint(chat: ChatFormat, tools: list[ToolRecord], demanded: str | None, *, several: bool) -> Form | None:
    """What holds the answer to calls of these tools: at once where a call is required, else from its mark on.

    ``demanded`` is the tool that has to be called, empty for any of them; ``several`` says whether there may be more
    than one call.

    Raises:
        FieldRefusedError: ``tools_unknown``: the template knows no tools.
    """
    if chat.tool_marks is None:
        raise FieldRefusedError(
            "tools",
            "the chat template of this model knows no tools",
            "Use a model that was trained to call them.",
            "tools_unknown",
        )
    begin, end = chat.tool_marks
    return {
        "type": "tools",
        "functions": [t["function"] for t in tools if demanded in {None, "", t["function"]["name"]}],
        "begin": begin,
        "end": end,
        "arguments": "parameters" if begin in {"", "<|python_tag|>"} else "arguments",
        "required": demanded is not None,
        "several": several,
    }


@dataclass
class Delta:
    """What a piece of text turned out to be."""

    content: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


class AnswerReader:
    """Splits a streamed answer into content, reasoning and tool calls, the same however it is cut.

    Text is passed on at once unless it may be the beginning of a mark; a tool call is passed on when it is whole. What
    looks like a call and cannot be read as one stays content, but for one that breaks off after whole ones. Where there
    may be no ``several`` calls, the first counts: models whose calls have no mark cannot be limited to one. ``required``
    says that the answer has to call a tool.
    """

    def __init__(
        self, chat: ChatFormat, *, prompt: str, tools: bool, several: bool = True, required: bool = False
    ) -> None:
        self._chat = chat
        self._several = several
        self._required = required
        self._marks = chat.tool_marks if tools else None
        self._buffer = ""
        self._calls = 0
        opened = chat.reasoning is not None and prompt.rstrip().endswith(chat.reasoning[0])
        self._state = "reasoning" if opened else "content"
        # Without a mark of its own, an answer that is one JSON object is a call.
        self._bare = self._marks is not None and not self._marks[0]
        # Line breaks behind what a mark closed belong to the mark, also where they come later.
        self._behind_mark = False
        self.broken_off = False
        """Whether the answer, which is over, ended within a call, or without the one it had to make."""

    def feed(self, text: str) -> Delta:
        """Take text in; returns what is certain now."""
        self._buffer += text
        delta = Delta()
        while self._advance(delta):
            pass
        return delta

    def finish(self) -> Delta:
        """The answer ended; returns what was held back."""
        delta = self.feed("")
        rest, self._buffer = self._buffer, ""
        if self._state == "reasoning":
            delta.reasoning += rest
        elif self._state == "tool" or (self._bare and rest.lstrip().startswith(("{", "["))):
            self._take_calls(rest, delta, end="")
            self.broken_off = self._state == "tool" and not parse_calls(rest)
        else:
            delta.content += rest
        self.broken_off |= self._required and not self._calls
        return delta

    def _advance(self, delta: Delta) -> bool:
        if self._state == "tool":
            end = self._marks[1] if self._marks else ""
            at = self._buffer.find(end) if end else -1
            if at < 0:
                return False
            self._take_calls(self._buffer[:at], delta, end=end)
            self._buffer = self._buffer[at + len(end) :]
            self._state, self._behind_mark = "content", True
            return True
        if self._state == "reasoning":
            assert self._chat.reasoning is not None
            return self._pass("reasoning", [(self._chat.reasoning[1], "content")], delta)
        if self._bare and (not self._buffer.strip() or self._buffer.lstrip().startswith(("{", "["))):
            return False
        self._bare = False
        if self._behind_mark:
            self._buffer = self._buffer.lstrip("\n")
            if not self._buffer:
                return False
            self._behind_mark = False
        marks = [(self._chat.reasoning[0], "reasoning")] if self._chat.reasoning else []
        if self._marks and self._marks[0]:
            marks.append((self._marks[0], "tool"))
        return self._pass("content", marks, delta)

    def _pass(self, kind: str, marks: list[tuple[str, str]], delta: Delta) -> bool:
        """Pass on what stands before the first mark; true where a mark was found."""
        hits = [(at, mark, state) for mark, state in marks if (at := self._buffer.find(mark)) >= 0]
        if hits:
            at, mark, state = min(hits)
            before, self._buffer = self._buffer[:at], self._buffer[at + len(mark) :]
            self._state, self._behind_mark = state, state == "content"
        else:
            held = max((_overlap(self._buffer, mark) for mark, _ in marks), default=0)
            cut = len(self._buffer) - held
            before, self._buffer = self._buffer[:cut], self._buffer[cut:]
        if kind == "reasoning":
            delta.reasoning += before
        else:
            delta.content += before
        return bool(hits)

    def _take_calls(self, text: str, delta: Delta, *, end: str) -> None:
        """Take calls over, or, where there are none in it, the text as it stood between its marks."""
        calls = parse_calls(text)
        if not calls and not end and self._state == "tool" and self._calls:
            return
        if not calls:
            begin = self._marks[0] if self._marks and self._state == "tool" else ""
            delta.content += begin + text + end
            return
        for name, arguments in calls if self._several else calls[: 1 - self._calls]:
            delta.tool_calls.append(
                {
                    "index": self._calls,
                    "id": f"call_{secrets.token_hex(12)}",
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                }
            )
            self._calls += 1


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of ``text`` that begins ``mark``."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0)
