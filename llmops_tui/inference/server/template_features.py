"""What a conversation needs of a chat template: roles, message fields, variables; refused if it lacks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llmops_tui.chat_format import switches
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.messages import Message
from llmops_tui.inference.server.served_format import ServedFormat
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import ChatMessage

ROLES = ("system", "developer", "user", "assistant", "tool")
# A participant's name, as most clients that have several send it, and what was thought in earlier turns, which is no part
# of what follows unless a template wants it.
_PASSED = {"role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content", "reasoning", "thinking"}
# Variables that are the server's to set.
_OURS = {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"}


def turns_of(chat: ServedFormat, messages: Sequence[Message]) -> list[ChatMessage]:
    """The turns as the template gets them.

    A developer is the system's newer name, and goes by the old one where the template does not know the new.

    Raises:
        FieldRefusedError: a role is none, a field of a message is unknown to us and to the template, or a message answers
            a call that nobody made, or that has a result.
    """
    turns = []
    calls = _Calls()
    for n, message in enumerate(messages):
        turn = message.as_turn()
        if turn["role"] not in ROLES and not chat.quotes(turn["role"]):
            raise FieldRefusedError(
                f"messages[{n}].role", f"{turn['role'][:40]!r} is no role", f"Roles are {', '.join(ROLES)}."
            )
        for name in turn:
            if name not in _PASSED and not chat.mentions(name):
                raise FieldRefusedError(
                    f"messages[{n}].{name[:60]}",
                    "no such field is known here, nor in the model's chat template",
                    "Leave it out.",
                    "unknown_parameter",
                )
        if message.tool_call_id is not None:
            calls.answer(message.tool_call_id, f"messages[{n}].tool_call_id")
        calls.add(message)
        if turn["role"] == "developer" and not chat.quotes("developer"):
            turn["role"] = "system"
        turns.append(turn)
    return turns


class _Calls:
    """The calls of a conversation so far. Some servers number those of each turn anew: an id of two has two results."""

    def __init__(self) -> None:
        self._waiting: Counter[str | None] = Counter()
        self._made: set[str | None] = set()

    def add(self, message: Message) -> None:
        ids = [call.id for call in message.tool_calls or ()]
        self._waiting.update(ids)
        self._made.update(ids)

    def answer(self, wanted: str, at: str) -> None:
        # A call without an id may be the one.
        found = wanted if self._waiting[wanted] else None
        if not self._waiting[found]:
            if wanted in self._made:
                raise FieldRefusedError(at, f"the call {wanted[:60]!r} has a result already", "Send one for each call.")
            told = f"no message before has a call {wanted[:60]!r}"
            raise FieldRefusedError(at, told, "Send the assistant's message with its tool_calls as well.")
        self._waiting[found] -= 1


def variables_of(chat: ServedFormat, given: Variables, effort: str | None) -> Variables:
    """Further variables of the template: those that are given, and what makes it think as much as wanted.

    Raises:
        FieldRefusedError: one is unknown to the template, or the server's to set; or the model thinks, and its template
            has no such level.
    """
    named: Variables = {}
    for name, value in given.items():
        at = f"chat_template_kwargs.{name[:60]}"
        if name in _OURS:
            raise FieldRefusedError(at, "this variable is set from the request", "Leave it out.")
        if chat.mentions(name):
            named[name] = value
        elif name in switches.TRUTHS and isinstance(value, bool):
            named |= _turned(chat, value, at)
        elif value:
            raise FieldRefusedError(at, "the model's chat template has no such variable", "Leave it out.")
    # A variable that is not there is false to a template.
    return named if effort is None else _of_effort(chat, effort) | named


def _turned(chat: ServedFormat, on: bool, at: str) -> Variables:
    """What turns thinking on or off, asked for by the name that another family has for it."""
    switch = next((one for one in chat.answers.switches if not one.levels), None)
    if switch is not None:
        return {switch.variable: on}
    if not on and (off := _off(chat)):
        return off
    if on != (chat.answers.thinking is not None):
        told = (
            "this model thinks, and its chat template has no switch for that" if not on else "this model does not think"
        )
        raise FieldRefusedError(at, told, "Leave it out.")
    return {}


def _off(chat: ServedFormat) -> Variables:
    """What turns thinking off; nothing where the template cannot."""
    for switch in chat.answers.switches:
        word = next((word for word in switch.levels if switches.is_off(word)), None)
        if word is not None:
            return {switch.variable: word}
        if not switch.levels:
            return {switch.variable: False}
    return {}


def _of_effort(chat: ServedFormat, effort: str) -> Variables:
    """The template's own setting for an effort as OpenAI names them."""
    found = chat.answers.switches
    levels = next((switch for switch in found if switch.levels and switch.variable.endswith("effort")), None)
    if levels is not None and effort in levels.levels:
        on = next((one.variable for one in found if not one.levels), None)
        return {levels.variable: effort} | ({on: True} if on is not None and not switches.is_off(effort) else {})
    least = effort == "none" or (effort == "minimal" and levels is None)
    if least and (off := _off(chat)):
        return off
    # A model that does not think makes no effort, and the medium one is what it makes by itself.
    if (chat.answers.thinking is None and not found) or effort == "medium":
        return {}
    known = list(levels.levels) if levels is not None else []
    known += ["none"] if _off(chat) and "none" not in known else []
    raise FieldRefusedError(
        "reasoning_effort",
        f"this model thinks, and its chat template knows no {effort!r}",
        f"It knows {', '.join([*known, 'medium' if 'medium' not in known else '']).strip(', ')}."
        if known
        else "Leave it out.",
        "unsupported_parameter",
    )


def thinking_switched(chat: ServedFormat, *, on: bool) -> Variables | None:
    """The variable with which a template has its model think or not; none where it has no such variable."""
    if not on:
        return _off(chat) or None
    for switch in chat.answers.switches:
        word = next((word for word in ("enabled", "on") if word in switch.levels), None)
        if word is not None or not switch.levels:
            return {switch.variable: word or True}
    return None
