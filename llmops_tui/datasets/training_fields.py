"""What a row says of its own training: its conversation, its tools, its template's variables, and the turns left out.

Each field that programs of the field know is followed, or named with the reason why not: a row that says that a turn is
not to be learned, and is learned all the same, teaches what nobody wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.datasets.formats.base import kind_name
from llmops_tui.datasets.records import Message, Row, conversation_parts, system_beside
from llmops_tui.inference.template_renderer import Variables

SWITCHES = ("weight", "loss_weight", "train", "training", "loss")
"""Fields of a turn, and of a row, that switch learning off: of OpenAI, axolotl, ms-swift and others."""
# Columns beside a conversation that it is rendered with.
ROW_FIELDS = ("system", "tools", "chat_template_kwargs", "mask_history", "train", "loss_weight", "weight")
# Options of how a conversation is rendered, which are of all of it.
_RENDERING = ("chat_template_kwargs", "enable_thinking", "reasoning_effort", "mask_history")
# What is no text: parts of a turn are of such a type, as image_url, and columns are called so.
_MEDIA = ("image", "video", "audio", "file")
_MEDIA_COLUMNS = frozenset(name + many for name in _MEDIA[:3] for many in ("", "s"))
UNSEEN = "is not seen in training: the model would learn an answer to something else"
# Variables that are set from the row.
OURS = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})


@dataclass(frozen=True)
class Conversation:
    """The conversation of a row, as it is rendered.

    Attributes:
        messages: its turns, with the column ``system`` as the first where it has none.
        answers: the turns that would be learned from, by their place in ``messages``.
        learned: those of them that are, after what the row switches off.
        tools: the tools it may use.
        variables: further variables of the template.
        problems: what of the row could not be followed.
        added: turns before the row's own: one where the column ``system`` was put there.
    """

    messages: list[Message]
    answers: frozenset[int]
    learned: frozenset[int]
    tools: list[Any] | None
    variables: Variables
    problems: tuple[str, ...]
    added: int = 0

    def number(self, turn: int) -> str:
        """What a turn is called: by its number in the row, from 1."""
        return "the column system" if turn < self.added else f"turn {turn + 1 - self.added}"


def conversation_of(kind: str, row: Row) -> Conversation:
    """The conversation of a row of a kind that has one; of a preference pair that with the chosen answer."""
    question, answer = conversation_parts(kind, row)
    messages = question + answer
    first = 0 if kind == "messages" else len(question)
    problems: list[str] = []
    answers = {n for n in range(first, len(messages)) if messages[n].get("role") == "assistant"}
    learned = _learned(row, messages, answers, problems)
    _tell_system(row, messages, problems)
    _tell_options(row, messages, problems)
    problems += [f"its {kind} {UNSEEN}" for kind in _media(row, messages)]
    system = system_beside(row, messages)
    added = len(system)
    return Conversation(
        system + messages,
        frozenset(n + added for n in answers),
        frozenset(n + added for n in learned),
        _tools(row, messages, problems),
        _variables(row, problems),
        tuple(problems),
        added,
    )


def unused_beside_text(row: Row) -> list[str]:
    """What a row of plain text says that nothing is rendered with."""
    names = [name for name in ROW_FIELDS if row.get(name) not in (None, "", [], {}, True, 1)]
    return [f"{name} is not used: the prompt is a plain text, and no chat template is applied" for name in names]


def _switch(value: Any) -> bool | None:
    """Whether something is learned, by the value of a switch; none where it is neither on nor off."""
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower(), value)
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def _learned(row: Row, messages: list[Message], answers: set[int], problems: list[str]) -> set[int]:
    """The answers that are learned from after what the row and its turns switch off."""
    switched = [(n, _turn_switch(n, message, problems)) for n, message in enumerate(messages)]
    learned = answers - {n for n, on in switched if not on}
    if (value := row.get("mask_history")) is not None:
        masked = _switch(value)
        if masked is None:
            problems.append(f"mask_history is {str(value)[:40]!r}, neither true nor false, and is not followed")
        elif masked:
            learned &= {max(answers, default=-1)}
    for name in ("train", "loss_weight", "weight"):
        on = _switch(row.get(name, True))
        if on is None:
            problems.append(f"{name} of the row is {str(row[name])[:40]!r}, neither 0 nor 1, and is not followed")
        elif not on:
            learned = set()
    return learned


def _turn_switch(n: int, message: Message, problems: list[str]) -> bool:
    """Whether a turn is to be learned from, where it is the assistant's."""
    learned = True
    for name in SWITCHES:
        value = message.get(name)
        if value is None:
            continue
        on = _switch(value)
        if on is None:
            problems.append(f"turn {n + 1}: {name} is {str(value)[:40]!r}, neither 0 nor 1, and is not followed")
        elif on and message.get("role") != "assistant" and name != "weight":
            problems.append(f"turn {n + 1}: {name} is not followed: only turns of the assistant are learned")
        learned = learned and on is not False
    if message.get("train_detail") or message.get("training_detail"):
        problems.append(f"turn {n + 1}: train_detail is not followed: a turn is learned whole or not at all")
    return learned


def _tell_system(row: Row, messages: list[Message], problems: list[str]) -> None:
    system = row.get("system")
    own = next((m for m in messages if m.get("role") in {"system", "developer"}), None)
    if system is not None and not isinstance(system, str):
        problems.append(f"the column system is {kind_name(system)}, not a text, and is left out")
    elif system and own is not None and own.get("content") != system:
        problems.append("the column system is left out: the conversation has a system turn of its own")


def _tell_options(row: Row, messages: list[Message], problems: list[str]) -> None:
    """Name what a turn says of rendering: a template renders all turns of a conversation alike."""
    # What the row says, too, holds for its turns.
    problems += [
        f"turn {n + 1}: {name} is not followed: it holds for a whole row, beside its messages"
        for n, message in enumerate(messages)
        for name in _RENDERING
        if name in message and message[name] != row.get(name)
    ]


def _media(row: Row, messages: list[Message]) -> list[str]:
    """What a conversation has beside its texts: image, video, audio or file, each once."""
    parts = [part for message in messages for part in _list(message.get("content")) if isinstance(part, dict)]
    named = [str(part.get("type") or "") for part in parts]
    named += [name for holder in (row, *messages) for name, value in holder.items() if value and name in _MEDIA_COLUMNS]
    return [kind for kind in _MEDIA if any(kind in name for name in named)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _tools(row: Row, messages: list[Message], problems: list[str]) -> list[Any] | None:
    if row.get("functions"):
        problems.append("functions is not read: give the functions as tools")
    problems += [
        f"turn {n + 1}: function_call is not read: give it as tool_calls"
        for n, message in enumerate(messages)
        if message.get("function_call")
    ]
    tools = row.get("tools")
    if tools is None or tools in ("", []):
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        problems.append(f"tools is {kind_name(tools)}, not a list of objects, and is left out")
        return None
    return tools


def _variables(row: Row, problems: list[str]) -> Variables:
    given = row.get("chat_template_kwargs")
    if given is None:
        return {}
    if not isinstance(given, dict):
        problems.append(f"chat_template_kwargs is {kind_name(given)}, not an object, and is left out")
        return {}
    problems += [f"chat_template_kwargs.{name} is left out: it is set from the row" for name in given if name in OURS]
    return {name: value for name, value in given.items() if name not in OURS}


def spelled_marks(messages: Sequence[Message], marks: frozenset[str]) -> list[tuple[int, str]]:
    """The turns whose text spells a mark of the template, which a tokenizer reads as the mark itself, with the mark."""
    found = []
    for n, message in enumerate(messages):
        content = message.get("content")
        parts = content if isinstance(content, list) else [content]
        texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
        found += [(n, mark) for mark in sorted(marks) if any(isinstance(text, str) and mark in text for text in texts)]
    return found
