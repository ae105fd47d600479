"""Rules that say of calls of tools beforehand whether they are made. What no rule says is asked, or not made."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import pydantic

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject

ANY_TOOL = "*"
_WILD = re.compile(r"[*?\[]")
_Word = Annotated[str, pydantic.Field(max_length=4000)]


class ToolRule(pydantic.BaseModel):
    """What is done with calls of a tool, of all of a server by ``*``.

    Attributes:
        allow: whether they are made; else they are denied.
        when: patterns of arguments by their names, as of a shell: the rule is for calls of which each fits.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    tool: _Word
    allow: bool
    when: Annotated[dict[_Word, _Word], pydantic.Field(max_length=20)] = {}

    def __hash__(self) -> int:
        """By what it says."""
        return hash((self.tool, self.allow, *self.when.items()))

    @property
    def told(self) -> str:
        """In words."""
        when = ", ".join(f"{name}={pattern}" for name, pattern in self.when.items())
        return f"{'allow' if self.allow else 'deny'} {self.tool}" + (f" when {when}" if when else "")

    def fits(self, tool: str, arguments: JsonObject) -> bool:
        """Whether the rule is for this call."""
        if self.tool not in {ANY_TOOL, tool}:
            return False
        return all(
            name in arguments and self._fits_one(pattern, arguments[name]) for name, pattern in self.when.items()
        )

    def _fits_one(self, pattern: str, value: object) -> bool:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        # "/notes/*" is to allow no "/notes/../secret".
        if self.allow and _WILD.search(pattern) and ".." in re.split(r"[/\\]", text):
            return False
        return fnmatchcase(text, pattern)


def ruling(rules: Sequence[ToolRule], tool: str, arguments: JsonObject) -> ToolRule | None:
    """The rule that decides a call: one that denies it before one that allows it; none where no rule is for it."""
    fitting = [rule for rule in rules if rule.fits(tool, arguments)]
    return next((rule for rule in fitting if not rule.allow), fitting[0] if fitting else None)


def read_conditions(given: Sequence[str]) -> dict[str, str]:
    """Patterns of arguments from ``NAME=PATTERN``.

    Raises:
        InputRefusedError: ``bad_option``.
    """
    found = {}
    for one in given:
        name, equals, pattern = one.partition("=")
        if not equals or not name:
            raise InputRefusedError(
                "bad_option", f"--when {one!r} is not of the form NAME=PATTERN", "Such as path=/notes/*."
            )
        if name in found:
            raise InputRefusedError("bad_option", f"--when names {name} twice", "Make a rule for each pattern.")
        found[name] = pattern
    return found
