"""The world of templates: where they are, and what is read back from their own renderings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.chat_format import own_variables
from llmops_tui.chat_format.answers import AnswerReader, parse
from llmops_tui.chat_format.marks import has_mark, is_mark, shared_start, tokens
from llmops_tui.chat_format.record import ChatFormat
from llmops_tui.chat_format.told import Parsed
from llmops_tui.chat_format.turns import as_wanted
from llmops_tui.inference.template_renderer import TemplateRenderer

BOS, EOS = "<BOS>", "<EOS>"

_PROPERTIES = {
    "city": {"type": "string", "description": "which"},
    "days": {"type": "integer", "description": "how many"},
    "hourly": {"type": "boolean", "description": "each hour"},
    "fields": {"type": "array", "items": {"type": "string"}, "description": "which ones"},
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "tells it",
            "parameters": {"type": "object", "properties": _PROPERTIES, "required": ["city"]},
        },
    }
    for name in ("get_weather", "find_place")
]
ARGUMENTS = (
    {"city": 'Žilina "old" town', "days": 3, "hourly": True, "fields": ["rain", "wind"]},
    {"city": "1234", "days": -1},
)
IDS = ("abcdefgh1", "abcdefgh2")


def user(text: str) -> dict[str, Any]:
    """A question."""
    return {"role": "user", "content": text}


def answered(text: str, *, thought: str = "", calls: int = 0) -> dict[str, Any]:
    """An answer, which may have been thought about, or call the first tools."""
    turn: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        turn["reasoning_content"] = thought
    if calls:
        turn["tool_calls"] = [
            {
                "id": IDS[n],
                "type": "function",
                "function": {"name": TOOLS[n]["function"]["name"], "arguments": ARGUMENTS[n]},
            }
            for n in range(calls)
        ]
    return turn


def result(n: int) -> dict[str, Any]:
    """The result of a call."""
    return {
        "role": "tool",
        "content": f"result number {n}",
        "tool_call_id": IDS[n],
        "name": TOOLS[n]["function"]["name"],
    }


class World:
    """Renders with one template."""

    def __init__(
        self, renderer: TemplateRenderer, chat: ChatFormat, variables: Mapping[str, Any] | None = None
    ) -> None:
        self.renderer = renderer
        self.chat = chat
        self._variables = dict(variables or {})

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, tools: bool = False, prompt: bool = False, **variables: Any
    ) -> str:
        """A conversation as the template writes it."""
        none: list[Any] | None = [] if self.chat.needs_tools else None
        context = {
            "messages": as_wanted(self.chat, messages),
            "tools": TOOLS if tools else none,
            "add_generation_prompt": prompt,
            "bos_token": BOS,
            "eos_token": EOS,
        }
        own = own_variables.values(self.chat.own, context["tools"])
        return self.renderer.render(self.chat.template, own | context | self._variables | variables, "chat")

    def answer(
        self, messages: Sequence[Mapping[str, Any]], *, tools: bool = False, **variables: Any
    ) -> tuple[str, str]:
        """The last turn as a model writes it, and what the prompt wrote of it."""
        prompt = self.render(messages[:-1], tools=tools, prompt=True, **variables)
        whole = self.render(messages, tools=tools, **variables)
        opening, thinking = self.chat.opening_of(prompt), self.chat.thinking
        if whole.startswith(prompt):
            answer = self._own(whole[len(prompt) :])
            # Some templates write the mark that begins thinking before an answer without any, and none that ends it.
            open_ = thinking is not None and thinking.marks.after not in opening + answer
            return answer, "" if open_ else opening
        # The turn as it is written later, from its own beginning on.
        begin, shared = self.chat.assistant.before, len(shared_start(prompt, whole))
        said = str(messages[-2]["content"])
        behind = whole.rfind(said) + len(said)
        found = whole.find(begin, behind) if begin else -1
        if found >= 0:
            answer = self._own(whole[found + len(begin) :])
        elif behind > shared:
            answer = self._own(whole[behind:].removeprefix(self.chat.user.after))
        else:
            answer = self._own(whole[shared:])
        if thinking is not None and thinking.marks.after in answer and thinking.marks.before not in answer:
            return answer, opening if opening.strip() == thinking.marks.before else ""
        return answer, ""

    def _own(self, answer: str) -> str:
        """An answer without what some templates write behind it for the next turn."""
        opener = next(iter(tokens(self.chat.user.before)), "")
        at = answer.find(opener) if is_mark(opener) else -1
        while at >= 0 and self.chat.assistant.before and answer.startswith(self.chat.assistant.before, at):
            at = answer.find(opener, at + 1)
        return answer[:at] if at >= 0 else answer

    def read_back(self, messages: Sequence[Mapping[str, Any]], *, tools: bool = False, **variables: Any) -> Parsed:
        """The last turn, read as an answer."""
        answer, opening = self.answer(messages, tools=tools, **variables)
        return parse(answer, self.chat, TOOLS if tools else None, opening=opening)

    def cut(
        self, answer: str, whole: Parsed, *, opening: str = "", tools: Sequence[Mapping[str, Any]] | None = None
    ) -> str:
        """What differs where an answer is cut into two at any place, or after each character; nothing where nothing does."""
        ways = [[answer[:at], answer[at:]] for at in range(1, len(answer))] + [list(answer)]
        for way in ways:
            reader, parsed = AnswerReader(self.chat, tools, opening=opening), Parsed()
            for piece in way:
                parsed.add(reader.push(piece))
                if any(
                    parsed.content.endswith(mark[:3]) for mark in self.chat.ends if len(mark) > 3 and has_mark(mark)
                ):
                    return f"half a mark in {parsed.content[-20:]!r}"
            parsed.add(reader.finish())
            if parsed != whole:
                return f"cut behind {way[0][-20:]!r} it is {str(parsed)[:200]}"
        return ""


@dataclass
class Expected:
    """What an answer has to be read as."""

    content: str = ""
    thinking: str = ""
    calls: int = 0

    def differs(self, parsed: Parsed) -> str:
        """What is wrong; nothing where all is right."""
        if parsed.problems:
            return f"unread: {parsed.problems[0][:60]!r}"
        calls = [(call.name, call.arguments) for call in parsed.calls]
        wanted = [(TOOLS[n]["function"]["name"], ARGUMENTS[n]) for n in range(self.calls)]
        for what, got, want in (
            ("calls", calls, wanted),
            ("content", parsed.content, self.content),
            ("thinking", parsed.thinking, self.thinking),
        ):
            if got != want:
                return f"{what} {str(got)[:150]!r}"
        return ""
