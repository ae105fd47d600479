"""What each kind of guard finds in a text: places, or something of the whole."""

from __future__ import annotations

import json
import re
import string
from dataclasses import dataclass, field
from typing import Protocol

from llmops_tui.inference.guardrails.canonical import (
    MOST_ENCODED,
    UNSEEN,
    CanonicalText,
    ShownText,
    canonical,
    decoded,
    encoded_runs,
)
from llmops_tui.inference.guardrails.disguises import Undone, decided, is_disguised, undone_near
from llmops_tui.inference.guardrails.guard_file import JsonSchema, Length, Patterns, Personal, Words
from llmops_tui.inference.guardrails.patterns import BoundedPattern, bounded_pattern
from llmops_tui.privacy.detection import find_personal
from llmops_tui.privacy.replacement import mark

# A text that streams is looked at for personal data each time it has so many more characters.
_STEP = 200
# What may be read as something else than is written.
_DISGUISE = re.compile(r"[^\t\n\r -~]|\\u")
# What a run that may be encoded goes on with.
_RUN = string.ascii_letters + string.digits + "+/_=-" + UNSEEN


@dataclass(frozen=True)
class Place:
    """Something found: where it stands in the text, and what stands for it where it is taken out."""

    start: int
    end: int
    mark: str


@dataclass
class Scan:
    """How far a growing text was looked through: in it, in its form, for encoded runs, and with its disguises undone.

    ``long`` is an encoded run that is decided.

    ``given`` characters at its beginning were said by the client: only what reaches beyond them is found.
    """

    raw: int = 0
    form: int = 0
    runs: int = 0
    undone: int = 0
    long: int = -1
    given: int = 0


class Places(Protocol):
    """A guard that finds places."""

    def boundary(self, text: CanonicalText) -> int:
        """Up to where a text that goes on is decided: what begins before is known whole."""

    def scan(self, text: CanonicalText, scan: Scan, *, whole: bool) -> list[Place]:
        """What begins where it is decided and was not found before; all of it where the text is whole."""


class PatternPlaces:
    """Patterns in the text and in its form, and in what is encoded in it."""

    def __init__(self, raw: list[BoundedPattern], form: list[BoundedPattern], name: str) -> None:
        self._raw = raw
        self._form = form
        self._reach_raw = max((one.reach for one in raw), default=0)
        self._reach_form = max((one.reach for one in form), default=0)
        self._mark = mark(re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "REMOVED", "")

    @classmethod
    def of(cls, guard: Patterns | Words) -> PatternPlaces:
        """Those of a guard."""
        if isinstance(guard, Patterns):
            found = [bounded_pattern(one) for one in guard.patterns]
            return cls(found, found, guard.name)
        phrases = sorted({" ".join(canonical(one).split()) for one in guard.words}, key=len, reverse=True)
        said = "|".join(r"\s{1,8}".join(map(re.escape, one.split())) for one in phrases)
        longest = max(len(one) + 8 * one.count(" ") for one in phrases)
        return cls([], [BoundedPattern(re.compile(rf"(?<!\w)(?:{said})(?!\w)"), longest + 1)], guard.name)

    def boundary(self, text: CanonicalText) -> int:
        """The smallest of what the patterns reach over, and of a run at the end that may be encoded."""
        bound = len(text.raw) - self._reach_raw
        if self._reach_form:
            place = len(text.form) - self._reach_form
            bound = min(bound, text.formed, text.at[place] if place >= 0 else 0, decided(text, self._reach_form))
        tail = text.raw[-MOST_ENCODED - 1 :]
        run = len(tail) - len(tail.rstrip(_RUN))
        if run <= MOST_ENCODED:
            bound = min(bound, len(text.raw) - run)
        return max(0, bound)

    def scan(self, text: CanonicalText, scan: Scan, *, whole: bool) -> list[Place]:
        """As :class:`Places`."""
        bound = len(text.raw) if whole else self.boundary(text)
        form_bound = len(text.form) if whole else text.form_place(bound)
        found = [Place(*span, self._mark) for span in _matches(self._raw, text.raw, scan.raw, bound, scan.given)]
        spans = _matches(self._form, text.form, scan.form, form_bound, text.form_place(scan.given))
        found += [Place(*text.raw_span(*span), self._mark) for span in spans]
        found += self._undone(text, scan, bound)
        found += self._encoded(text.raw, scan, bound, whole=whole)
        scan.raw, scan.form = max(scan.raw, bound), max(scan.form, form_bound)
        return found

    def _undone(self, text: CanonicalText, scan: Scan, bound: int) -> list[Place]:
        """What the patterns of the form find where disguises are undone, and begins before the boundary."""
        found = []
        if self._form and (view := undone_near(text, scan.undone, self._reach_form)) is not None:
            for span in _matches(self._form, view.form, 0, len(view.form)):
                place, after = view.raw_span(*span)
                if scan.undone <= place < bound and after > scan.given:
                    found.append(Place(place, after, self._mark))
        scan.undone = max(scan.undone, bound)
        return found

    def _encoded(self, raw: str, scan: Scan, bound: int, *, whole: bool) -> list[Place]:
        found = []
        for start, end in encoded_runs(raw, scan.runs):
            if start >= bound:
                break
            goes_on = end == len(raw) and not whole
            if start != scan.long:
                inner = decoded(raw[start:end])
                if end > scan.given and inner and self._says(inner):
                    found.append(Place(start, min(end, start + MOST_ENCODED), self._mark))
            # One that is longer than is decoded may go on, and is decided once.
            scan.long = start if goes_on else -1
            scan.runs = start if goes_on else end
        if scan.long < 0:
            # No run that begins before goes on behind it.
            scan.runs = max(scan.runs, bound)
        return found

    def _says(self, inner: str) -> bool:
        form = canonical(inner)
        return any(one.compiled.search(inner) for one in self._raw) or any(
            one.compiled.search(form) for one in self._form
        )


def _matches(
    patterns: list[BoundedPattern], text: str, start: int, bound: int, given: int = 0
) -> list[tuple[int, int]]:
    found = []
    for pattern in patterns:
        place = start
        while (match := pattern.compiled.search(text, place)) is not None and match.start() < bound:
            if match.end() <= given:
                # Another one that begins within it may reach beyond.
                place = match.start() + 1
                continue
            found.append(match.span())
            place = match.end()
    return found


class PersonalPlaces:
    """Personal data and secrets, as written, as read, and in what is encoded in a text.

    What tells them may stand far off, so a text is decided when it is whole.
    """

    def __init__(self, guard: Personal) -> None:
        self._kinds = guard.find
        self._hold = guard.hold if isinstance(guard.hold, int) else None

    def boundary(self, text: CanonicalText) -> int:
        """Nothing, unless the guard says how much is held back: then up to a blank before that."""
        if self._hold is None:
            return 0
        # In steps: to look at all of it again for each token would take long.
        end = max(0, len(text.raw) - self._hold) // _STEP * _STEP
        return max(0, text.raw.rfind(" ", 0, end))

    def scan(self, text: CanonicalText, scan: Scan, *, whole: bool) -> list[Place]:
        """As :class:`Places`."""
        bound = len(text.raw) if whole else self.boundary(text)
        if bound <= scan.raw:
            return []
        # What tells a name or a number stands mostly before it.
        begin = max(0, scan.raw - 1000)
        found = [Place(begin + start, begin + end, said) for start, end, said in self._places(text.raw[begin:])]
        kept = [one for one in found if scan.raw <= one.start < bound and one.end > scan.given]
        scan.raw = bound
        return kept

    def _places(self, text: str) -> list[tuple[int, int, str]]:
        found = [(one.start, one.end, mark(one.kind, "")) for one in find_personal(text, self._kinds)]
        if _DISGUISE.search(text) is not None and (shown := ShownText.of(text)).text != text:
            spans = find_personal(shown.text, self._kinds)
            found += [(*shown.raw_span(one.start, one.end), mark(one.kind, "")) for one in spans]
        if is_disguised(text):
            view = Undone.shown(text)
            spans = find_personal(view.form, self._kinds)
            found += [(*view.raw_span(one.start, one.end), mark(one.kind, "")) for one in spans]
        for start, end in encoded_runs(text):
            inner = decoded(text[start:end])
            if inner and (spans := find_personal(inner, self._kinds)):
                found.append((start, end, mark(spans[0].kind, "")))
        return list(dict.fromkeys(found))


@dataclass
class WholeVerdict:
    """What is wrong with a whole text, in words; empty where nothing is."""

    why: str = ""
    score: float | None = None


@dataclass(frozen=True)
class LengthCheck:
    """How many characters a text may have."""

    guard: Length

    def check(self, text: str) -> WholeVerdict:
        """What is wrong with a text."""
        if len(text) < self.guard.least:
            return WholeVerdict(f"{len(text):,} characters, at least {self.guard.least:,}")
        if self.guard.most is not None and len(text) > self.guard.most:
            return WholeVerdict(f"{len(text):,} characters, at most {self.guard.most:,}")
        return WholeVerdict()


@dataclass
class SchemaCheck:
    """Whether an answer is JSON as a schema has it."""

    guard: JsonSchema
    _validator: object = field(default=None, init=False)

    def check(self, text: str) -> WholeVerdict:
        """What is wrong with a text."""
        from llmops_tui.inference.schema_validation import validator_of

        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return WholeVerdict("it is no JSON")
        problem = next(iter(validator_of(self.guard.json_schema).iter_errors(value)), None)
        return WholeVerdict(
            "" if problem is None else f"{problem.json_path} is not as the schema says ({problem.validator})"[:200]
        )
