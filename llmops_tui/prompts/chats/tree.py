"""A chat as a tree of turns: what was said in another way stands beside the first, and nothing is lost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict, cast

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.workspace.ids import new_id, resolve_prefix

if TYPE_CHECKING:
    from llmops_tui.foreign_text import JsonObject

USER, ASSISTANT = "user", "assistant"
MOST_TURNS = 5_000


class TurnRecord(TypedDict):
    """A turn, as :class:`Turn`; ``at`` in seconds since 1970."""

    id: str
    parent: str
    role: str
    text: str
    thinking: str
    rounds: list[ChatMessage]
    model: str
    run: str
    ended: str
    at: float


class ChatRecord(TypedDict):
    """A chat, as :class:`Chat`; those of before have no id."""

    id: str
    system: str
    model: str
    parameters: dict[str, object]
    head: str
    turns: list[TurnRecord]
    changed_at: float


@dataclass(frozen=True)
class Turn:
    """Something that was said.

    Attributes:
        parent: the turn it answers, empty at the beginning.
        role: ``user`` or ``assistant``.
        rounds: the calls of tools that came before an answer, and their results, as they were sent.
        model: who said it; empty of what a person wrote.
        run: the run an answer is of, whose trace has its figures.
        ended: why an answer ended: ``stop``, ``length``, ``stopped`` by a person, ``error``.
    """

    id: str
    parent: str
    role: str
    text: str
    thinking: str = ""
    rounds: tuple[ChatMessage, ...] = ()
    model: str = ""
    run: str = ""
    ended: str = ""
    at: float = 0.0

    def as_dict(self) -> TurnRecord:
        """The turn as JSON."""
        return {
            "id": self.id,
            "parent": self.parent,
            "role": self.role,
            "text": self.text,
            "thinking": self.thinking,
            "rounds": list(self.rounds),
            "model": self.model,
            "run": self.run,
            "ended": self.ended,
            "at": self.at,
        }

    def as_messages(self) -> list[ChatMessage]:
        """What of it a model is sent: the rounds of calls, then the text with what was thought before it."""
        said: ChatMessage = {"role": self.role, "content": self.text}
        if self.thinking:
            said["reasoning_content"] = self.thinking
        return [*self.rounds, said]


def new_turn(parent: str, role: str, text: str) -> Turn:
    """A turn that was just said."""
    return Turn(new_id("turn"), parent, role, text, at=time.time())


@dataclass(frozen=True)
class Chat:
    """A conversation.

    Attributes:
        head: the turn that is shown last; those it stands on are the branch that is shown.
        turns: all that was ever said, in the order of saying.
        id: what it is known by, whatever it is called; empty of one that was begun before chats had one, until it gets
            another name.
    """

    name: str
    system: str = ""
    model: str = ""
    parameters: SamplingParameters = field(default_factory=SamplingParameters)
    head: str = ""
    turns: tuple[Turn, ...] = ()
    changed_at: float = 0.0
    id: str = ""

    def as_dict(self) -> ChatRecord:
        """The chat as JSON."""
        return {
            "id": self.id,
            "system": self.system,
            "model": self.model,
            "parameters": self.parameters.model_dump(mode="json", exclude_defaults=True),
            "head": self.head,
            "turns": [turn.as_dict() for turn in self.turns],
            "changed_at": self.changed_at,
        }

    # ── reading ──

    def turn(self, given: str) -> Turn:
        """A turn by its id, the beginning of one, or its number in the branch that is shown, from 1.

        Raises:
            NotFoundError: there is none. InputRefusedError: several begin so.
        """
        branch = self.branch()
        if given.isdecimal() and 1 <= int(given) <= len(branch):
            return branch[int(given) - 1]
        if given.isdecimal() or not self.turns:
            raise NotFoundError("turn", given, f"{self.name} shows {len(branch)} turns.")
        known = {turn.id: turn for turn in self.turns}
        return known[resolve_prefix("turn", given, known)]

    def branch(self, head: str | None = None) -> list[Turn]:
        """The turns from the beginning to a turn, or to the one that is shown last."""
        known = {turn.id: turn for turn in self.turns}
        found: list[Turn] = []
        at = self.head if head is None else head
        while at in known and len(found) <= len(known):
            found.append(known[at])
            at = known[at].parent
        return found[::-1]

    def beside(self, turn: Turn) -> list[Turn]:
        """The ways in which this was said, itself among them, in the order of saying."""
        return [one for one in self.turns if one.parent == turn.parent]

    def answers(self) -> dict[str, list[Turn]]:
        """All turns by what they answer, in the order of saying: of each the ways in which it was said."""
        found: dict[str, list[Turn]] = {}
        for turn in self.turns:
            found.setdefault(turn.parent, []).append(turn)
        return found

    def below(self, turn: Turn) -> list[Turn]:
        """What was said on it, itself first."""
        found, ids = [turn], {turn.id}
        for one in self.turns:  # a turn stands behind the one that it answers
            if one.parent in ids:
                found.append(one)
                ids.add(one.id)
        return found

    def branches(self) -> int:
        """How many ends the conversation has."""
        parents = {turn.parent for turn in self.turns}
        return sum(turn.id not in parents for turn in self.turns)

    def as_messages(self, head: str | None = None) -> list[ChatMessage]:
        """The system text and a branch, as a model is sent them."""
        first: list[ChatMessage] = [{"role": "system", "content": self.system}] if self.system.strip() else []
        return first + [message for turn in self.branch(head) for message in turn.as_messages()]

    # ── going on ──

    def with_turn(self, turn: Turn) -> Chat:
        """The chat with one more turn, which is shown.

        Raises:
            InputRefusedError: ``bad_turn``: it answers nothing that is there; ``chat_full``.
        """
        if turn.parent and turn.parent not in {one.id for one in self.turns}:
            raise InputRefusedError("bad_turn", f"there is no turn {turn.parent} to answer", "Say it elsewhere.")
        self.check_room()
        return replace(self, turns=(*self.turns, turn), head=turn.id)

    def check_room(self) -> None:
        """Refuse where no further turn fits.

        Raises:
            InputRefusedError: ``chat_full``.
        """
        if len(self.turns) >= MOST_TURNS:
            raise InputRefusedError(
                "chat_full",
                f"{self.name} has {len(self.turns):,} turns, and no room for another",
                "Begin another chat, or remove branches of this one.",
            )

    def shown_at(self, turn: Turn) -> Chat:
        """The chat at the newest end of what was said on a turn."""
        return replace(self, head=self.below(turn)[-1].id)

    def at_other(self, turn: Turn, step: int) -> Chat:
        """The chat with the next (``step`` 1) or the previous (-1) way of saying this turn, round and round."""
        ways = self.beside(turn)
        return self.shown_at(ways[(ways.index(turn) + step) % len(ways)])

    def without(self, turn: Turn) -> Chat:
        """The chat without a turn and all that was said on it; another way of saying it is shown, else what it answers."""
        gone = {one.id for one in self.below(turn)}
        kept = replace(self, turns=tuple(one for one in self.turns if one.id not in gone))
        if self.head not in gone:
            return kept
        others = [one for one in kept.turns if one.parent == turn.parent]
        return kept.shown_at(others[-1]) if others else replace(kept, head=turn.parent)


def chat_of(name: str, body: JsonObject) -> Chat:
    """A chat from what was kept.

    Raises:
        LlmopsError: ``chat_unreadable``: a turn has no form that this version knows. Nothing is left out, since what is left
            out would be lost when the chat is written again.
    """
    try:
        turns = tuple(_turn(one) for one in body["turns"])
        chat = Chat(
            name,
            str(body["system"]),
            str(body["model"]),
            SamplingParameters.model_validate(body["parameters"]),
            str(body["head"]),
            turns,
            float(body["changed_at"]),
            str(body.get("id", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(name, f"{type(error).__name__}: {error}") from error
    known = {""}
    for turn in turns:
        if turn.parent not in known or turn.id in known:
            raise _unreadable(name, f"turn {turn.id} stands nowhere, or twice")
        known.add(turn.id)
    if chat.head not in known:
        raise _unreadable(name, f"the turn {chat.head} that is shown is not there")
    return chat


def _turn(body: Any) -> Turn:
    if (
        not isinstance(body, dict)
        or set(body) != set(TurnRecord.__annotations__)
        or body["role"] not in {USER, ASSISTANT}
    ):
        raise ValueError(f"a turn is {str(body)[:200]}")
    texts = {name: body[name] for name in ("id", "parent", "role", "text", "thinking", "model", "run", "ended")}
    if not all(isinstance(text, str) for text in texts.values()) or not body["id"]:
        raise ValueError("a field of a turn that is a text has another kind")
    rounds = tuple(cast("ChatMessage", dict(one)) for one in body["rounds"])
    return Turn(**texts, rounds=rounds, at=float(body["at"]))


def _unreadable(name: str, why: str) -> LlmopsError:
    return LlmopsError(
        "chat_unreadable",
        f"the chat {name} cannot be read: {why}",
        "A newer version may have written it. Nothing of it is changed.",
    )
