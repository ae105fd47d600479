"""What a conversation needs of a chat template: roles, message fields, variables; refused if it lacks them."""

from __future__ import annotations

import json
from collections.abc import Sequence

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
            a call that nobody made.
    """
    turns = []
    calls: set[str | None] = set()
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
        # A call without an id may be the one.
        if message.tool_call_id is not None and not calls & {message.tool_call_id, None}:
            raise FieldRefusedError(
                f"messages[{n}].tool_call_id",
                f"no message before has a call {message.tool_call_id[:60]!r}",
                "Send the assistant's message with its tool_calls as well.",
            )
        calls |= {call.id for call in message.tool_calls or ()}
        if turn["role"] == "developer" and not chat.quotes("developer"):
            turn["role"] = "system"
        turns.append(turn)
    return turns


def variables_of(chat: ServedFormat, given: Variables, effort: str | None) -> Variables:
    """Further variables of the template: those that are given, and what makes it think as much as wanted.

    Raises:
        FieldRefusedError: one is unknown to the template, or the server's to set; or the model thinks, and its template
            has no such level.
    """
    for name, value in given.items():
        at = f"chat_template_kwargs.{name[:60]}"
        if name in _OURS:
            raise FieldRefusedError(at, "this variable is set from the request", "Leave it out.")
        # A variable that is not there is false to a template.
        if value and not chat.mentions(name):
            raise FieldRefusedError(at, "the model's chat template has no such variable", "Leave it out.")
    if effort is None or chat.mentions("reasoning_effort"):
        return given if effort is None else {"reasoning_effort": effort} | given
    if effort == "none" and chat.mentions("enable_thinking"):
        return {"enable_thinking": False} | given
    # A model that does not think makes no effort, and the medium one is what it makes by itself.
    if chat.answers.thinking is not None and effort != "medium":
        raise FieldRefusedError(
            "reasoning_effort",
            f"this model thinks, and its chat template knows no {effort!r}",
            "Leave it out.",
            "unsupported_parameter",
        )
    return given


def thinking_switched(chat: ServedFormat, *, on: bool) -> Variables | None:
    """The variable with which a template has its model think or not; none where it has no such variable."""
    wanted = {"true", '"enabled"'} if on else {"false", '"disabled"', '"none"'}
    for switch in chat.answers.switches:
        for value, _ in switch.prompts:
            if value in wanted:
                return {switch.variable: json.loads(value)}
    return {"enable_thinking": on} if chat.mentions("enable_thinking") else None
