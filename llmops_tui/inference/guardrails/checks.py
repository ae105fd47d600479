"""A text looked at by the guards of one side, the cheap ones first: what each says of it, and in which time."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.guardrails.canonical import CanonicalText
from llmops_tui.inference.guardrails.detectors import (
    LengthCheck,
    PatternPlaces,
    PersonalPlaces,
    Place,
    Places,
    Scan,
    SchemaCheck,
    WholeVerdict,
)
from llmops_tui.inference.guardrails.guard_file import (
    TIERS,
    Guard,
    GuardSet,
    Head,
    JsonSchema,
    Judge,
    Length,
    Patterns,
    Personal,
    Side,
    Words,
)
from llmops_tui.inference.guardrails.head import HeadModel
from llmops_tui.inference.guardrails.windows import windows
from llmops_tui.workspace.events import GuardVerdict

if TYPE_CHECKING:
    from llmops_tui.inference.guardrails.head import Floats

HeadOf = Callable[[str], HeadModel]
"""The head of a name; raises LlmopsError where there is none."""
AskJudge = Callable[[Judge, str], Awaitable[bool]]
"""Whether a judge says so of a text; raises LlmopsError where it cannot be asked."""
Embed: TypeAlias = "Callable[[str, Sequence[str]], Awaitable[Sequence[Floats]]]"
"""The embeddings of texts by a model; raises LlmopsError where it cannot be asked."""
Verdict = Literal["pass", "found", "error"]
# What does not wait for others may be done at once; a longer text is looked at in a thread.
_SHORT = 4000
_MOST_KNOWN = 2000


@dataclass(frozen=True)
class Found:
    """What one guard says of a text."""

    guard: Guard
    verdict: Verdict
    milliseconds: float
    why: str = ""
    score: float | None = None
    places: tuple[Place, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether the guard does what it is there for: it found something, or fails closed, and is switched on."""
        failed = self.verdict == "error" and self.guard.fails == "closed"
        return self.guard.mode == "on" and (self.verdict == "found" or failed)

    def told(self, guards: str, side: Side) -> GuardVerdict:
        """For the trace."""
        told: GuardVerdict = {
            "set": guards,
            "guard": self.guard.name,
            "side": side,
            "tier": TIERS[self.guard.kind],
            "verdict": self.verdict,
            "action": self.guard.action,
            "mode": self.guard.mode,
            "ms": round(self.milliseconds, 3),
        }
        if self.score is not None:
            told["score"] = round(self.score, 4)
        if self.why:
            told["why"] = self.why
        if self.places:
            told["places"] = len(self.places)
        return told


@dataclass
class Prepared:
    """A guard set that is ready to look at texts; ``ref`` names its version."""

    ref: str
    guards: GuardSet
    head_of: HeadOf
    ask_judge: AskJudge
    embed: Embed
    _heads: dict[str, HeadModel] = field(default_factory=dict)
    _places: dict[str, Places] = field(default_factory=dict)
    # What was found in texts of conversations, by their hashes.
    _known: dict[bytes, list[Found]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Compile what finds places."""
        for guard in self.guards.guards:
            if isinstance(guard, Patterns | Words):
                self._places[guard.name] = PatternPlaces.of(guard)
            elif isinstance(guard, Personal):
                self._places[guard.name] = PersonalPlaces(guard)

    def places_of(self, guard: Guard) -> Places | None:
        """What finds a guard's places; none where it is about the whole of a text."""
        return self._places.get(guard.name)

    async def check(self, text: str, side: Side, *, every: bool = False, given: int = 0, begin: int = 0) -> list[Found]:
        """What the guards of a side say of a whole text. Behind one that blocks none is asked, unless ``every`` is.

        Places are found that reach beyond the first ``given`` characters; guards of a whole look at what is from ``begin`` on.
        """
        found: list[Found] = []
        for guard in self.guards.of(side):
            if self.places_of(guard) is None:
                one = await self._one(guard, text[begin:])
            else:
                one = await self._one(guard, text, given)
            found.append(one)
            if one.acts and guard.action in {"block", "retry"} and not every:
                break
        if side == "input":
            self._keep(text, found)
        return found

    async def checked_again(self, text: str) -> list[Found]:
        """What the guards that act on the input do about a text that was said before; the same is not looked at twice."""
        known = {one.guard.name: one for one in self._known.get(_key(text), ())}
        found: list[Found] = []
        for guard in self.guards.of("input"):
            if guard.mode != "on" or guard.action == "flag":
                continue
            found.append(known.get(guard.name) or await self._one(guard, text))
            if found[-1].acts and guard.action == "block":
                break
        self._keep(text, found)
        return [one for one in found if one.acts]

    def _keep(self, text: str, found: Sequence[Found]) -> None:
        """Remember what was found in what may come again; the oldest is forgotten."""
        self._known[_key(text)] = [one for one in found if one.verdict != "error" and one.guard.mode == "on"]
        while len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]

    async def _one(self, guard: Guard, text: str, given: int = 0) -> Found:
        begun = time.perf_counter()
        try:
            if isinstance(guard, Judge):
                said = await self.ask_judge(guard, text)
                return Found(guard, "found" if said else "pass", _since(begun))
            if isinstance(guard, Head):
                return await self._scored(guard, text, begun)
            if len(text) > _SHORT:
                return await asyncio.to_thread(self._at_once, guard, text, given)
            return self._at_once(guard, text, given)
        except LlmopsError as error:
            return Found(guard, "error", _since(begun), error.message[:200])

    async def _scored(self, guard: Head, text: str, begun: float) -> Found:
        head = await asyncio.to_thread(self._head, guard.head)
        parts = windows(text, guard.windows)
        vectors = await self.embed(head.embedder, parts) if head.embedder and parts else None
        score = await asyncio.to_thread(head.score, parts, vectors)
        if not math.isfinite(score):
            raise LlmopsError("bad_score", f"the head {guard.head!r} has no score for it", "Train it again.")
        meant = score >= (head.threshold if guard.threshold is None else guard.threshold)
        return Found(guard, "found" if meant else "pass", _since(begun), score=score)

    def _head(self, name: str) -> HeadModel:
        if name not in self._heads:
            self._heads[name] = self.head_of(name)
        return self._heads[name]

    def _at_once(self, guard: Guard, text: str, given: int) -> Found:
        begun = time.perf_counter()
        if (finder := self.places_of(guard)) is not None:
            places = dict.fromkeys(finder.scan(CanonicalText.of(text), Scan(given=given), whole=True))
            return Found(guard, "found" if places else "pass", _since(begun), places=tuple(places))
        said = _whole(guard, text)
        return Found(guard, "found" if said.why else "pass", _since(begun), said.why, said.score)


def _whole(guard: Guard, text: str) -> WholeVerdict:
    if isinstance(guard, Length):
        return LengthCheck(guard).check(text)
    assert isinstance(guard, JsonSchema)
    return SchemaCheck(guard).check(text)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def acting(found: Sequence[Found], *actions: str) -> Found | None:
    """The first that acts, by one of these actions."""
    return next((one for one in found if one.acts and one.guard.action in actions), None)


def _since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000
