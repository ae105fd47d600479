"""What is remembered of the face of a workspace: tables and panes as somebody left them, the place, commands, what was found."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from llmops_tui.workspace.event_log import EventLog

_KEY = "view"
# Commands and things found that are kept.
_MOST = 200


class ViewMemory:
    """Values by section and name, in the event log of the workspace. Reading and writing block; for a thread.

    Two apps on one workspace each keep theirs, and the last that wrote is remembered. What cannot be written, as in a
    workspace that is only read, is forgotten with the app.
    """

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log
        self._lock = threading.Lock()
        self._kept: dict[str, dict[str, object]] | None = None

    def get(self, section: str, name: str) -> object:
        """What is kept, or None."""
        with self._lock:
            return self._read().get(section, {}).get(name)

    def put(self, section: str, name: str, value: object) -> None:
        """Keep a value; None is forgotten."""
        with self._lock:
            kept = self._read().setdefault(section, {})
            if kept.get(name) == value:
                return
            kept[name] = value
            if value is None:
                del kept[name]
            with contextlib.suppress(LlmopsError, OSError):
                self._event_log.save_draft(_KEY, self._read())

    def lines(self, section: str) -> list[str]:
        """Texts that are kept, the newest last."""
        found = self.get(section, "lines")
        return [line for line in found if isinstance(line, str)] if isinstance(found, list) else []

    def add_line(self, section: str, line: str) -> None:
        """Keep a text as the newest; one that is there already moves."""
        kept = [other for other in self.lines(section) if other != line]
        self.put(section, "lines", [*kept[-_MOST + 1 :], line])

    def forget_lines(self, section: str, kept: Sequence[str] = ()) -> None:
        """Keep these texts alone."""
        self.put(section, "lines", list(kept))

    def read_again(self) -> None:
        """Take what is kept as it is now: somebody may have erased a person's name from it."""
        with self._lock:
            self._kept = None

    def _read(self) -> dict[str, dict[str, object]]:
        if self._kept is None:
            found: object = None
            with contextlib.suppress(LlmopsError, OSError, json.JSONDecodeError):
                found = self._event_log.load_draft(_KEY)
            sections = found.items() if isinstance(found, dict) else ()
            self._kept = {str(name): dict(section) for name, section in sections if isinstance(section, dict)}
        return self._kept
