"""An answer that streams past its guards: what they may refuse is held back until it is decided.

What a blocking guard refuses is never shown, not even in part; what comes before it is. A guard that needs the whole answer
holds all of it back, and so does one that redacts within JSON that is not whole yet. What the client began is looked at
together with what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmops_tui.inference.guardrails.canonical import MOST_ENCODED, CanonicalText
from llmops_tui.inference.guardrails.checks import Found, Prepared, acting
from llmops_tui.inference.guardrails.detectors import Place, Places, Scan
from llmops_tui.inference.guardrails.growing_json import GrowingJson
from llmops_tui.inference.guardrails.guard_file import Guard
from llmops_tui.inference.guardrails.patterns import LONGEST
from llmops_tui.inference.guardrails.redaction import redacted

MOST_BEFORE = MOST_ENCODED + LONGEST
"""So many characters of a text that an answer goes on with are looked at together with it."""


@dataclass
class _Watched:
    """A guard that acts, with how far it has looked."""

    guard: Guard
    places: Places
    scan: Scan = field(default_factory=Scan)


@dataclass
class HeldBack:
    """One answer on its way. ``blocked`` is the guard that refused it; ``told`` all that was let through.

    ``given`` is what the client wrote right before it, of which nothing is told: the beginning of the answer itself where
    ``begins`` is set, else a text that the answer goes on with.
    """

    prepared: Prepared
    given: str = ""
    begins: bool = False
    text: CanonicalText = field(default_factory=CanonicalText)
    told: str = ""
    released: int = 0
    blocked: Guard | None = None
    found: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find who acts while it comes."""
        acts = [one for one in self.prepared.guards.of("output") if one.mode == "on" and one.action != "flag"]
        self.holds = bool(acts)
        self._watched = [
            _Watched(one, found, Scan(given=len(self.given)))
            for one in acts
            if (found := self.prepared.places_of(one)) is not None
        ]
        # What is about the whole of it, asked again when it fails, or is told to wait.
        self._waits = any(
            self.prepared.places_of(one) is None or one.hold == "answer" or one.action == "retry" for one in acts
        )
        self._redacts = any(one.action == "redact" for one in acts)
        self._taken: list[Place] = []
        self._json = GrowingJson()
        self.text.add(self.given)

    def feed(self, more: str) -> str:
        """What may be told now that this has come."""
        if self.blocked is not None:
            return ""
        if not self.holds:
            self.text.raw += more
            self.told += more
            return more
        self.text.add(more)
        return "" if self._waits else self._release(self._decided(), whole=False)

    def _decided(self) -> int:
        bound = min((one.places.boundary(self.text) for one in self._watched), default=len(self.text.raw))
        # A guard may say that so much is enough, or that more is.
        wanted = [one.guard.hold for one in self._watched if isinstance(one.guard.hold, int)]
        return min([bound, *(max(0, len(self.text.raw) - hold) for hold in wanted)])

    def _release(self, bound: int, *, whole: bool) -> str:
        places = []
        for one in self._watched:
            for place in one.places.scan(self.text, one.scan, whole=whole):
                if one.guard.action == "redact":
                    places.append(place)
                elif self.blocked is None or place.start < bound:
                    self.blocked = one.guard
                    bound = min(bound, place.start)
        self._taken += places
        end = min([bound, *(place.start for place in self._taken if place.start < bound < place.end)])
        if self._redacts and not whole:
            self._json.grow(self.text.raw)
            end = self._json.cut(end)
        if end <= max(self.released, len(self.given)):
            return ""
        said = self._taken_out(end)
        self.released = end
        self._taken = [one for one in self._taken if one.end > end]
        self.told += said
        return said

    def _taken_out(self, end: int) -> str:
        """What is told up to a place, from where it was told before."""
        begin, given = self.released, len(self.given)
        if begin < given:
            # JSON that the client began is read from its beginning; a number that goes whole may begin there, too.
            said = self._redacted(0, given, end)
            if said.startswith(self.given):
                return said[given:]
            begin = given
        return self._redacted(begin, begin, end)

    def _redacted(self, begin: int, fresh: int, end: int) -> str:
        inside = [
            Place(max(fresh, one.start) - begin, min(one.end, end) - begin, one.mark)
            for one in self._taken
            if one.start < end and one.end > fresh
        ]
        return redacted(self.text.raw[begin:end], inside)

    @property
    def said(self) -> list[Found]:
        """What guards said of the answer; of one that was left before its end, which of them refused it."""
        return self.found or ([Found(self.blocked, "found", 0.0)] if self.blocked is not None else [])

    async def finish(self) -> str:
        """What is told at the end, after all guards have looked at the whole; the verdicts are in ``found``.

        Where one refuses it, it is what stands before the first place that it refuses, or nothing more.
        """
        self.text.end()
        if self.blocked is None:
            self.found = await self.prepared.check(
                self.text.raw, "output", given=len(self.given), begin=0 if self.begins else len(self.given)
            )
        else:
            self.found = [Found(self.blocked, "found", 0.0)]
        if not self.holds or self.blocked is not None:
            return ""
        refused = acting(self.found, "block", "retry")
        if refused is None:
            return self._release(len(self.text.raw), whole=True)
        self.blocked = refused.guard
        if self._waits:
            return ""
        # What a guard of no fixed reach finds now may stand before what was told already.
        first = min((place.start for one in self.found if one.acts for place in one.places), default=self.released)
        return self._release(first, whole=True)
