"""Keys that are recorded, and pressed again: a macro. It never answers a question that asks before an act."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from textual import events
from textual.keys import _character_to_key

from llmops_tui.snippets import MOST_KEYS


def key_of(name: str) -> events.Key:
    """A key by what a macro calls it: a letter, or what Textual calls it."""
    return events.Key(_character_to_key(name), name) if len(name) == 1 else events.Key(name, None)


class MacroKeys:
    """What is being recorded, and what is being played, in one app.

    Attributes:
        recorded: the keys so far; none while nothing is recorded.
    """

    def __init__(self) -> None:
        self.recorded: list[str] | None = None
        self._to_come: deque[events.Key] = deque()
        # Keys of macros that have ended may still be on their way.
        self._dropped: deque[events.Key] = deque(maxlen=4 * MOST_KEYS)

    @property
    def is_playing(self) -> bool:
        """Whether keys of a macro are still to be pressed."""
        return bool(self._to_come)

    def play(self, keys: Iterable[str]) -> list[events.Key]:
        """The keys to press."""
        self._end()
        self._to_come.extend(map(key_of, keys))
        return list(self._to_come)

    def _end(self) -> None:
        self._dropped.extend(self._to_come)
        self._to_come.clear()

    def take(self, event: events.Event, *, asked: bool) -> str:
        """A key arrives: it is recorded, or belongs to what is played. ``asked``: it would answer a question.

        Returns:
            Why the macro ends here, with this key; ``-`` for a key of one that has ended; else nothing, and the key is for
            the screen.
        """
        if any(event is key for key in self._dropped):
            return "-"
        if self._to_come and event is self._to_come[0]:
            if asked:
                self._end()
                return "it does not answer this question: that is yours"
            self._to_come.popleft()
        elif isinstance(event, events.Key):
            # Somebody types: what was to come is not theirs any more.
            self._end()
            if self.recorded is not None and len(self.recorded) < MOST_KEYS:
                self.recorded.append(event.character if event.is_printable and event.character else event.key)
        return ""
