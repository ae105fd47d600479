"""A conversation as lines: a head for each turn, its text wrapped below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmops_tui.prompts.chats.tree import USER, Chat, Turn
from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.line_list import Line
from screens.widgets.text_wrap import wrap_line

if TYPE_CHECKING:
    from llmops_tui.inference.wire import ChatMessage
    from llmops_tui.prompts.runs import RunProgress
    from llmops_tui.prompts.tool_rounds import CallStep

_INDENT = 2
_SHOWN_CALL = 300
_UNMADE = {"failed", "denied", "refused"}


@dataclass(frozen=True)
class Live:
    """An answer that is on its way: what came so far, and what is being done.

    ``said`` was said beside the ``calls`` of tools, which are in the order in which they were made.
    """

    model: str
    text: str = ""
    thinking: str = ""
    doing: str = ""
    said: tuple[str, ...] = ()
    calls: Mapping[str, CallStep] = field(default_factory=dict)

    def after(self, step: RunProgress) -> Live:
        """The answer with what a step brought."""
        if step.stage == "text":
            return replace(self, text=self.text + step.text, doing="")
        if step.stage == "thinking":
            return replace(self, thinking=self.thinking + step.text, doing="thinking …")
        if step.stage == "loading":
            return replace(self, doing="reading …")
        if step.call is not None:
            return replace(self, calls={**self.calls, f"{step.run_id} {step.call.id}": step.call})
        if step.stage == "round":
            # What was said beside the calls stands in their round.
            said = (*self.said, self.text) if self.text else self.said
            return replace(self, text="", thinking="", said=said)
        return self


def turn_lines(turn: Turn, number: int, ways: list[Turn], width: int, *, unfolded: bool, utf8: bool) -> list[Line]:
    """The lines of a turn; ``ways`` are those in which it was said, itself among them."""
    who = "you" if turn.role == USER else safe_line(turn.model or "you, in the model's place", 60)
    head: Line = [(f"{number} ", "muted"), (who, "accent" if turn.role == USER else "good")]
    if len(ways) > 1:
        arrows = "‹{}/{}›" if utf8 else "<{}/{}>"
        head.append(("  " + arrows.format(ways.index(turn) + 1, len(ways)), "warn"))
    if turn.ended not in {"", "stop"}:
        told = {"length": "cut at its longest", "stopped": "cancelled", "error": "failed here"}
        head.append((f"  {told.get(turn.ended, safe_line(turn.ended, 30))}", "bad"))
    lines = [head]
    lines += _thought(turn.thinking, width, unfolded=unfolded, utf8=utf8)
    for message in turn.rounds:
        lines += _wrapped(_round_text(message), width, "muted")
    return [*lines, *_wrapped(safe_text(turn.text), width, "plain"), []]


class DrawnTurns:
    """The turns of a branch with their lines, as they were drawn last: an answer comes in many pieces below many turns."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int, int, int], tuple[Turn, list[Line]]] = {}
        self._kept_for = (0, False)

    def of(self, chat: Chat, width: int, *, unfolded: bool, utf8: bool) -> list[tuple[Turn, list[Line]]]:
        """Each turn of the branch that is shown, with its lines."""
        answers = chat.answers()
        before = self._kept if self._kept_for == (width, unfolded) else {}
        self._kept, self._kept_for = {}, (width, unfolded)
        found = []
        for number, turn in enumerate(chat.branch(), 1):
            ways = answers[turn.parent]
            key = (turn.id, number, ways.index(turn), len(ways))
            kept = before.get(key)
            if kept is not None and kept[0] == turn:
                made = kept[1]
            else:
                made = turn_lines(turn, number, ways, width, unfolded=unfolded, utf8=utf8)
            self._kept[key] = turn, made
            found.append((turn, made))
        return found


def live_lines(live: Live, number: int, width: int, *, unfolded: bool, utf8: bool) -> list[Line]:
    """The lines of an answer that is on its way."""
    head: Line = [(f"{number} ", "muted"), (safe_line(live.model, 60), "good"), (f"  {live.doing}", "muted")]
    lines = [head]
    for text in live.said:
        lines += _wrapped(safe_text(text), width, "muted")
    for call in live.calls.values():
        told = f"{call.function} {call.arguments}  {call.state}" + (f" → {call.text}" if call.text else "")
        lines += _wrapped(safe_line(told, _SHOWN_CALL), width, "bad" if call.state in _UNMADE else "muted")
    lines += _thought(live.thinking, width, unfolded=unfolded or not live.text, utf8=utf8)
    return [*lines, *_wrapped(safe_text(live.text), width, "plain")]


def system_lines(chat: Chat, width: int) -> list[Line]:
    """The system text, above all turns."""
    if not chat.system.strip():
        return []
    return [[("system", "muted")], *_wrapped(safe_text(chat.system), width, "muted"), []]


def _thought(text: str, width: int, *, unfolded: bool, utf8: bool) -> list[Line]:
    if not text:
        return []
    sign = ("▾" if unfolded else "▸") if utf8 else ("v" if unfolded else ">")
    told: Line = [(" " * _INDENT + f"{sign} thinking, {len(text.split()):,} words", "muted")]
    if not unfolded:
        return [[*told, ("  t unfolds", "muted")]]
    return [told, *_wrapped(safe_text(text), width, "muted")]


def _wrapped(text: str, width: int, style: str) -> list[Line]:
    room = max(8, width - _INDENT)
    return [[(" " * _INDENT + part.rstrip(), style)] for line in text.split("\n") for part in wrap_line(line, room)]


def _round_text(message: ChatMessage) -> str:
    calls = message.get("tool_calls") or []
    if calls:
        told = [f"called {call['function']['name']} {call['function']['arguments']}" for call in calls]
        return safe_line("; ".join(told), _SHOWN_CALL)
    return safe_line(f"→ {message.get('content')}", _SHOWN_CALL)
