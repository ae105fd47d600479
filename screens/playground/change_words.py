"""What a version says beside its parent, in a few words: for lists of versions that have no note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion

# Characters of a text that are looked at on both sides of where it differs, and that are said.
_MOST, _SAID = 20_000, 80


class Changes:
    """What versions say beside their parents. A version never changes, so each is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, version: PromptVersion, known: Mapping[int, PromptVersion]) -> str:
        """The words of one; ``known`` has versions by their numbers. Nothing where its parent is not among them."""
        if version.ref not in self._known:
            parent = known.get(version.parent) if version.parent is not None else None
            if parent is None and version.parent is not None:
                return ""
            self._known[version.ref] = changed_words(version, parent)
        return self._known[version.ref]


def notes_of(versions: Sequence[PromptVersion]) -> dict[str, str]:
    """What lists of versions to choose from say of each, by its name: its labels, then its note or else what is new in it."""
    changes, known = Changes(), {version.number: version for version in versions}
    return {
        version.ref: " · ".join(filter(None, [*version.labels, version.note or changes.of(version, known)]))
        for version in versions
    }


def changed_words(version: PromptVersion, parent: PromptVersion | None) -> str:
    """The first words that are new in a version, behind ``+``, or that are gone, behind ``−``; its beginning without a parent."""
    if parent is None:
        return _said(version.template or version.system)
    for before, after in ((parent.template, version.template), (parent.system, version.system)):
        gone, new = differing(before[:_MOST].split(), after[:_MOST].split())
        if new or gone:
            return f"+ {_said(new)}" if new else f"− {_said(gone)}"
    if parent.settings_text != version.settings_text:
        return "other settings"
    return "" if (parent.template, parent.system) == (version.template, version.system) else "other spaces or its end"


def differing(before: list[str], after: list[str]) -> tuple[str, str]:
    """The words between the common beginning and the common end of two texts: of the first, and of the second."""
    shorter = min(len(before), len(after))
    begin = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    left = shorter - begin
    end = next((n for n in range(left) if before[-1 - n] != after[-1 - n]), left)
    return " ".join(before[begin : len(before) - end]), " ".join(after[begin : len(after) - end])


def _said(text: str) -> str:
    return safe_line(text[: 4 * _SAID], _SAID)
