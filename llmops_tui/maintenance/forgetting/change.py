"""What an erasure does to texts: marks for identifiers, tombstones for the hashes of what is gone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from llmops_tui.maintenance.erasure_records import How
from llmops_tui.privacy.person import Person


@dataclass
class Change:
    """What is done to all that names a person.

    Attributes:
        how: whether rows and traces go whole, or only what identifies.
        stones: the tombstone of each hash of content that is gone.
    """

    person: Person
    how: How
    stones: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """A text without the person, with tombstones for hashes of what is gone."""
        fresh, _ = self.person.redact(text)
        if self.stones and (pattern := self._hashes()).search(fresh):
            fresh = pattern.sub(lambda match: self.stones[match.group()], fresh)
        return fresh

    def _hashes(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.stones)))

    def json_text(self, text: str) -> str:
        """The same of a text that is JSON, which is JSON afterwards: a number that is changed becomes a text."""
        fresh = self.text(text)
        if fresh == text or is_json(fresh) or not is_json(text):
            return fresh
        return json.dumps(self.value(json.loads(text)), ensure_ascii=text.isascii(), separators=(",", ":"))

    def value(self, value: Any) -> Any:
        """The same of a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            made: dict[str, Any] = {}
            for name, item in value.items():
                key = fresh = self.text(name)
                number = 1
                while key in made:
                    number += 1
                    key = f"{fresh} {number}"
                made[key] = self.value(item)
            return made
        if isinstance(value, int | float) and not isinstance(value, bool):
            said = repr(value)
            return self.text(said) if self.person.named_in(said) else value
        return value


def is_json(text: str) -> bool:
    """Whether a text is one JSON value."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
