"""Checks of conversations: empty, misordered and unanswered turns; system prompts; refusals and phrases."""

from __future__ import annotations

import re
from collections import Counter

from llmops_tui.counts import agree, counted
from llmops_tui.datasets.checks.base import CONVERSATIONS, Check, CheckOptions, Finding
from llmops_tui.datasets.checks.refusals import refusal
from llmops_tui.datasets.records import ROLES, Column, Message, Row, answer_text, content_text, conversation


class BrokenTurns(Check):
    """Turns that say nothing."""

    id = "broken-turn"
    title = "Empty or broken turns"
    why = "A turn without text, or without a role, teaches the model to answer nothing, or breaks the template."
    fix = "remove these rows"
    kinds = CONVERSATIONS

    def inspect(self, number: int, row: Row) -> None:
        """Find the first such turn."""
        turns = conversation(self.kind, row)
        if not turns:
            self.hit(number, "there are no turns")
        for index, turn in enumerate(turns, 1):
            if not isinstance(turn.get("role"), str):
                self.hit(number, f"turn {index} has no role")
            elif turn["role"] not in ROLES:
                self.hit(number, f"turn {index} has the role {turn['role']!r}, which templates do not know")
            elif not content_text(turn.get("content")).strip() and not turn.get("tool_calls") and not _has_parts(turn):
                self.hit(number, f"turn {index}, by {turn['role']}, is empty")


def _has_parts(turn: Message) -> bool:
    return isinstance(turn.get("content"), list) and bool(turn["content"])


class RoleOrder(Check):
    """Turns in an order that templates do not expect."""

    id = "role-order"
    title = "Roles out of order"
    why = "Templates expect an optional system turn, then user and assistant in turn, and results behind tool calls."
    fix = "remove these rows"
    kinds = CONVERSATIONS

    def inspect(self, number: int, row: Row) -> None:
        """Compare each turn with the one before."""
        turns = conversation(self.kind, row)
        before = ""
        for index, turn in enumerate(turns, 1):
            role = str(turn.get("role"))
            if role in {"system", "developer"} and index > 1:
                self.hit(number, f"turn {index} is a system turn, but not the first turn")
            elif role == "assistant" and before in {"", "system", "developer"}:
                self.hit(number, "the first turn is by the assistant")
            elif role == before and role in {"user", "assistant"}:
                self.hit(number, f"turns {index - 1} and {index} are both by {role}")
            elif role == "tool" and before not in {"tool", "assistant"}:
                self.hit(number, f"turn {index} is the result of a tool that was not called")
            before = role


class Unanswered(Check):
    """Conversations that end with a question."""

    id = "unanswered"
    title = "Last turn unanswered"
    why = "The model cannot learn from a last question without an answer, and it costs tokens."
    fix = "remove what follows the last answer, and rows without an answer"
    kinds = frozenset({"messages"})

    def inspect(self, number: int, row: Row) -> None:
        """Look at the last turn."""
        turns = conversation(self.kind, row)
        if turns and turns[-1].get("role") != "assistant":
            self.hit(number, f"the last turn is by {turns[-1].get('role')}")

    def repair(self, row: Row) -> Row | None:
        """Cut behind the last answer."""
        turns = list(row["messages"])
        while turns and turns[-1].get("role") != "assistant":
            turns.pop()
        return row | {"messages": turns} if turns else None


class SystemPrompts(Check):
    """How many system prompts there are."""

    id = "system-prompts"
    title = "System prompts that differ"
    why = "One prompt for all rows binds the model to it; a few rare ones among many are often mistakes."
    kinds = CONVERSATIONS

    def __init__(self, kind: str, columns: tuple[Column, ...], parameters: CheckOptions) -> None:
        super().__init__(kind, columns, parameters)
        self._seen: dict[str, list[int]] = {}

    def inspect(self, number: int, row: Row) -> None:
        """Count it."""
        turns = conversation(self.kind, row)
        first = turns[0] if turns and turns[0].get("role") in {"system", "developer"} else None
        self._seen.setdefault(content_text(first.get("content")) if first else "", []).append(number)

    def finish(self) -> Finding:
        """Rows with a prompt that fewer than one in a hundred rows have, where another prompt has most."""
        counts = Counter({text: len(rows) for text, rows in self._seen.items()})
        total = counts.total()
        if len(counts) > 1:
            common, most = counts.most_common(1)[0]
            self.finding.note = f"{len(counts)} different; the most common has {most:,} of {total:,} rows"
            if most > total / 2:
                rare = {
                    n: f"a prompt that {counted(count, 'row')} {agree(count, 'has', 'have')}"
                    if text
                    else "no system prompt"
                    for text, count in counts.items()
                    if text != common and count < total / 100
                    for n in self._seen[text]
                }
                self.hit_many(rare)
        return self.finding


_PHRASES = re.compile(
    r"(?i)\bas an ai (?:language )?model\b|\bas a large language model\b|\bmy (?:knowledge|training data) (?:cutoff|cut-off)\b|"
    r"\bi hope this (?:helps|email finds you well)\b|\bdelve into\b|\bit(?:'|’)s important to note that\b|"
    r"\bknowledge cutoff\b|\bopenai\b.{0,40}\btrained\b|\bregenerate response\b"
)


class Refusals(Check):
    """Answers that refuse."""

    id = "refusal"
    title = "Answers that refuse"
    why = "A few unwanted refusals teach a model to refuse."
    fix = "remove these rows"
    kinds = CONVERSATIONS

    def inspect(self, number: int, row: Row) -> None:
        """Look at what the answer says first."""
        words = refusal(answer_text(self.kind, row))
        if words:
            self.hit(number, f"the answer says {words!r}")


class Phrases(Check):
    """Phrases that other models leave."""

    id = "boilerplate"
    title = "Phrases of other models"
    why = "Such phrases come from another model that wrote the answer; the model learns them."
    fix = "remove these rows"
    kinds = CONVERSATIONS

    def inspect(self, number: int, row: Row) -> None:
        """Search the answer."""
        match = _PHRASES.search(answer_text(self.kind, row))
        if match:
            self.hit(number, f"it contains {match.group()[:60]!r}")
