"""What was found of a person: gathered by place, with samples in which nobody can be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from llmops_tui.datasets.privacy.report import half_hidden
from llmops_tui.maintenance.erasure_records import FoundRecord
from llmops_tui.privacy.person import Person
from llmops_tui.privacy.replacement import mark, replace_in_text

_SAMPLES = 3
_AROUND = 24


@dataclass
class Findings:
    """Things that name a person, by place and kind; in the order in which they were found."""

    person: Person
    _by_place: dict[tuple[str, str], FoundRecord] = field(default_factory=dict)

    def take(self, place: str, what: str, texts: Iterable[str], becomes: str, *, things: int = 1) -> int:
        """Note a thing where any of its texts names the person; returns how often they do."""
        mentions, samples = 0, list[str]()
        for text in texts:
            hits = list(self.person.find(text))
            mentions += len(hits)
            if hits and not samples:
                samples.append(self._sample(text, hits[0].start, hits[0].end))
        if mentions:
            self.add(place, what, becomes, things=things, mentions=mentions, samples=samples)
        return mentions

    def add(self, place: str, what: str, becomes: str, *, things: int, mentions: int, samples: Iterable[str]) -> None:
        """Add to what was found in a place."""
        known = self._by_place.setdefault(
            (place, what),
            {"place": place, "what": what, "things": 0, "mentions": 0, "becomes": becomes, "samples": []},
        )
        known["things"] += things
        known["mentions"] += mentions
        known["samples"] += list(samples)[: _SAMPLES - len(known["samples"])]

    def _sample(self, text: str, start: int, end: int) -> str:
        """What stands around a mention, without what is personal in it."""
        sides = (text[max(0, start - _AROUND) : start], text[end : end + _AROUND])
        before, after = (" ".join(replace_in_text(self.person.redact(side)[0], mark)[0].split()) for side in sides)
        return " ".join(part for part in (before, half_hidden(text[start:end]), after) if part)

    def records(self) -> list[FoundRecord]:
        """All that was found."""
        return list(self._by_place.values())
