"""Blame: which version of a prompt each line of a version comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion

Section = Literal["system", "user", "settings"]
# Matching is quadratic at worst; of longer texts only the beginning and the end that are alike are matched.
_MAX_LINES = 5_000


class BlamedRecord(TypedDict):
    """A line as ``--json`` has it: where it stands, and the version that it has been in since."""

    section: Section
    line: int
    text: str
    version: int
    created_at: float
    note: str


@dataclass(frozen=True)
class BlamedLine:
    """A line of a version, counted from 1 in its section, and the version that brought it."""

    section: Section
    line: int
    text: str
    version: PromptVersion

    def as_dict(self) -> BlamedRecord:
        """For JSON."""
        return {
            "section": self.section,
            "line": self.line,
            "text": self.text,
            "version": self.version.number,
            "created_at": self.version.created_at,
            "note": self.version.note,
        }


def blame(versions: Sequence[PromptVersion], number: int) -> list[BlamedLine]:
    """The lines of a version, system text first and settings last, each with the version that brought it.

    A line is followed along the versions that this one was made of, from parent to parent. It counts as the same where
    Ratcliff and Obershelp's matching (:class:`difflib.SequenceMatcher`) finds it again; whoever changed a part of a line
    brought it whole. A parent that was deleted ends the way: what it had counts as its child's.

    Raises:
        KeyError: there is no version of this number.
    """
    known = {version.number: version for version in versions}
    way = [known[number]]
    while (parent := way[-1].parent) in known and parent is not None and parent < way[-1].number:
        way.append(known[parent])
    lines: dict[Section, list[tuple[str, PromptVersion]]] = {"system": [], "user": [], "settings": []}
    for version in reversed(way):
        held = version.settings.as_yaml() if version.settings is not None else ""
        texts: dict[Section, str] = {"system": version.system, "user": version.template, "settings": held}
        for section, text in texts.items():
            lines[section] = _followed(lines[section], _lines_of(text), version)
    return [
        BlamedLine(section, at, text, version)
        for section, found in lines.items()
        for at, (text, version) in enumerate(found, 1)
    ]


def _lines_of(text: str) -> list[str]:
    """The lines as editors count them, whatever their ends; no other character ends one."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _followed(
    before: list[tuple[str, PromptVersion]], after: list[str], version: PromptVersion
) -> list[tuple[str, PromptVersion]]:
    """The lines of the next version, those that were there before with where they came from."""
    old = [text for text, _ in before]
    head = 0
    while head < min(len(old), len(after)) and old[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(after)) - head and old[-1 - tail] == after[-1 - tail]:
        tail += 1
    found = [(text, version) for text in after]
    found[:head] = before[:head]
    if tail:
        found[-tail:] = before[-tail:]
    middle, wanted = old[head : len(old) - tail], after[head : len(after) - tail]
    if len(middle) + len(wanted) <= _MAX_LINES:
        for at, to, size in SequenceMatcher(None, middle, wanted, autojunk=False).get_matching_blocks():
            found[head + to : head + to + size] = before[head + at : head + at + size]
    return found
