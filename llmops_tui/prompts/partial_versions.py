"""Which versions of partials a prompt holds, which are newer, and which prompts hold one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.prompts.partials import Partial, has_includes, partials_of, put_in

if TYPE_CHECKING:
    from llmops_tui.inference.prompt_versions import PromptVersion
    from llmops_tui.prompts.store import PromptStore


class HeldRecord(TypedDict):
    """A partial of a version, for JSON; ``now`` is what its name stands for, where that is another text."""

    partial: str
    version: int
    within: list[str]
    edited: bool
    gone: bool
    now: str | None


@dataclass(frozen=True)
class HeldPartial:
    """A partial that a text holds, and the version that its name stands for now: none where there is none any more."""

    partial: Partial
    now: PromptVersion | None

    @property
    def other(self) -> PromptVersion | None:
        """The version that its name stands for, where that is another one."""
        now, one = self.now, self.partial
        if now is None or now.sha256.startswith(one.mark):
            return None
        # A version that was saved before there were partials may include some: then no version has the text that was put in.
        return None if now.number == one.number and has_includes(now.template) else now

    @property
    def told(self) -> str:
        """It in words: ``tone@3 (tone@5 is newer)``."""
        one, facts = self.partial, []
        if one.edited:
            facts.append("edited here")
        if self.now is None:
            facts.append(f"there is no prompt {one.name} here")
        elif self.now.prompt != one.name:
            facts.append(f"{one.name} is called {self.now.prompt} now")
        if self.other is not None:
            newer = self.other.number > one.number
            told = f"{self.other.ref} is newer" if newer else f"{self.other.prompt} stands for @{self.other.number} now"
            facts.append(told)
        named = f"{one.ref} in {one.within[-1]}" if one.within else one.ref
        return f"{named} ({', '.join(facts)})" if facts else named

    def as_dict(self) -> HeldRecord:
        """It as the command line's JSON shows it."""
        one, other = self.partial, self.other
        return {
            "partial": one.name,
            "version": one.number,
            "within": list(one.within),
            "edited": one.edited,
            "gone": self.now is None,
            "now": other.ref if other is not None else None,
        }


def held_partials(store: PromptStore, *texts: str) -> list[HeldPartial]:
    """The partials of texts, in their order, each as often as it stands there."""
    found = partials_of(*texts)
    now = {key: _now(store, *key) for key in {(one.name, one.mark) for one in found}}
    return [HeldPartial(one, now[one.name, one.mark]) for one in found]


def _now(store: PromptStore, name: str, mark: str) -> PromptVersion | None:
    """What a partial's name stands for; of a prompt that has another name now, what that one does: it has the same text."""
    with contextlib.suppress(NotFoundError):
        return store.get(name)
    with contextlib.suppress(NotFoundError):
        return store.get(store.get(mark).prompt)
    return None


def take_newer(store: PromptStore, name: str, text: str, *, edited: bool = False) -> str:
    """A text of the prompt ``name`` whose partials are what their names stand for now.

    What stands within a partial is that one's own: it comes with its newer version. A partial whose prompt is gone stays.
    With ``edited`` those that were edited here are replaced, too.

    Raises:
        InputRefusedError: ``partial_edited``; ``bad_partial``.
    """
    made, at = "", 0
    for held in held_partials(store, text):
        one, other = held.partial, held.other
        if one.within or (other is None and not (edited and one.edited)) or held.now is None:
            continue
        if one.edited and not edited:
            raise InputRefusedError(
                "partial_edited",
                f"{one.ref} was edited in {name}: {held.now.ref} would replace what was written there",
                "Take the comments around it out, so that the text is the prompt's own; or llmops prompt partials "
                f"{name} --take --replace-edited loses the edits.",
            )
        include = f'{{%{one.before} include "{held.now.ref}" {one.after}%}}'
        made += text[at : one.start] + include
        at = one.end
    return put_in(store.get, name, made + text[at:])


def users(store: PromptStore, name: str) -> list[tuple[PromptVersion, list[HeldPartial]]]:
    """The prompts of which some version holds a partial: for each the newest that does, with how it does."""
    found: dict[str, PromptVersion] = {}
    for version in sorted(store.search(f"partial {name}@"), key=lambda one: -one.number):
        if version.prompt not in found and _holds(version, name):
            found[version.prompt] = version
    return [
        (
            version,
            [held for held in held_partials(store, version.system, version.template) if held.partial.name == name],
        )
        for _, version in sorted(found.items())
    ]


def _holds(version: PromptVersion, name: str) -> bool:
    return any(one.name == name for one in partials_of(version.system, version.template))
