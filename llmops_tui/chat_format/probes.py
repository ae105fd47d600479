"""Conversations of words that stand nowhere else, rendered to see what a template writes around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llmops_tui.chat_format import own_variables
from llmops_tui.chat_format.json_names import Arguments, Turn
from llmops_tui.errors import InputRefusedError

# Plain words: a template may trim, look for marks in, or split what it is given.
SYSTEM, USER, ANSWER, THOUGHT, RESULT = "sysworda", "userword", "ansrword", "thnkword", "rsltword"
FUNCTIONS = ("fnalpha", "fnbravo")
# Some templates of Mistral's take ids of nine characters alone.
IDS = ("idalpha01", "idbravo02")
TEXTS: Arguments = {"keyalpha": "valalpha", "keybravo": "valbravo"}
NUMBER: Arguments = {"keyalpha": 47110815, "keybravo": "valbravo"}
SECOND: Arguments = {"keyalpha": "valcharl", "keybravo": "valdelta"}
# The longest templates of the field write 10,000 characters around tools.
_LONGEST = 100_000
THOUGHT_FIELDS = ("reasoning_content", "thinking", "reasoning")


class Renderer(Protocol):
    """What renders templates, each set of values for itself, in a process of its own."""

    def render_each(
        self, source: str, contexts: Sequence[Mapping[str, object]], kind: Any = "chat"
    ) -> list[str | InputRefusedError]:
        """The text of each set, or why it was refused."""


def system() -> Turn:
    """A system's turn."""
    return {"role": "system", "content": SYSTEM}


def user(n: int = 1) -> Turn:
    """The n-th question."""
    return {"role": "user", "content": f"{USER}{n}"}


def answer(n: int = 1, *, thought: str = "", calls: Sequence[Turn] = (), content: str | None = None) -> Turn:
    """The n-th answer; ``thought`` is the name of the field that thinking goes into."""
    turn: Turn = {"role": "assistant", "content": f"{ANSWER}{n}" if content is None else content}
    if thought:
        turn[thought] = f"{THOUGHT}{n}"
    if calls:
        turn["tool_calls"] = list(calls)
    return turn


def call(n: int, arguments: Any) -> Turn:
    """A call of the n-th function."""
    return {"id": IDS[n], "type": "function", "function": {"name": FUNCTIONS[n], "arguments": arguments}}


def result(n: int) -> Turn:
    """The result of the n-th call."""
    return {"role": "tool", "content": f"{RESULT}{n}", "tool_call_id": IDS[n], "name": FUNCTIONS[n]}


def tools(arguments: Arguments) -> list[Turn]:
    """The tools of the probes' calls."""
    kinds = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}
    properties = {
        key: {"type": kinds.get(type(value), "string"), "description": "about"} for key, value in arguments.items()
    }
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": "does it",
                "parameters": {"type": "object", "properties": properties, "required": list(properties)},
            },
        }
        for name in FUNCTIONS
    ]


def in_parts(turn: Turn) -> Turn:
    """A turn whose content is a list with its text, where it is a text."""
    content = turn.get("content")
    return turn | {"content": [{"type": "text", "text": content}]} if isinstance(content, str) else turn


def _short(text: str | InputRefusedError) -> str | InputRefusedError:
    """A text that can be looked at in no time; templates are foreign, and write as much as they like."""
    if isinstance(text, str) and len(text) > _LONGEST:
        return InputRefusedError(
            "template_failed",
            f"the template cannot be rendered: it writes {len(text):,} characters around a few words",
            "Choose another template.",
        )
    return text


class Probe:
    """Renders conversations with one template."""

    def __init__(self, renderer: Renderer, template: str, bos: str, eos: str, variables: Mapping[str, Any]) -> None:
        self.template = template
        self.bos = bos
        self._renderer = renderer
        self._base = {"bos_token": bos, "eos_token": eos} | dict(variables)
        self.no_tools: list[Turn] | None = None
        self.own: tuple[str, ...] = ()
        """Variables of the template's own."""
        self.parts = False
        """Whether contents are given as lists of parts."""
        self.nothing: str | None = ""
        """What the content of a turn is that only calls."""

    def many(self, asked: Sequence[tuple[list[Turn], Mapping[str, Any]]]) -> list[str | InputRefusedError]:
        """Conversations with further variables; ``prompt`` among these asks for what the model goes on from."""
        contexts = []
        for messages, variables in asked:
            turns = [in_parts(turn) for turn in messages] if self.parts else messages
            given = {"messages": turns, "tools": self.no_tools} | self._base | dict(variables)
            given["add_generation_prompt"] = given.pop("prompt", False)
            contexts.append(own_variables.values(self.own, given["tools"]) | given)
        return [_short(text) for text in self._renderer.render_each(self.template, contexts, "chat")]

    def one(self, messages: list[Turn], **variables: Any) -> str | InputRefusedError:
        """One conversation."""
        return self.many([(messages, variables)])[0]

    def calling(self, calls: Sequence[Turn], thought: str = "") -> Turn:
        """A turn that only calls."""
        return answer(calls=calls, thought=thought) | {"content": self.nothing}

    def text(self, messages: list[Turn], **variables: Any) -> str:
        """One conversation that the template renders, or nothing."""
        found = self.one(messages, **variables)
        return found if isinstance(found, str) else ""


def behind(text: str, word: str) -> str:
    """What stands behind the last place of a word; nothing where it is not."""
    return text.rpartition(word)[2] if word in text else ""


def between(text: str, first: str, second: str) -> str | None:
    """What stands between the last place of a word and the next place of another, or None."""
    start = text.rfind(first)
    end = text.find(second, start + len(first)) if start >= 0 else -1
    return text[start + len(first) : end] if end >= 0 else None
