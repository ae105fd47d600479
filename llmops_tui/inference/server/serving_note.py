"""What the audit has of a server: with which file and settings it served, from when to when."""

from __future__ import annotations

import json
import sys

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.options import ServingSettings
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.models.engine_settings import EngineSettings, part
from llmops_tui.workspace.audit import audit
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text

BEGAN, ENDED = "server.began", "server.ended"
# What says nothing of how it serves: of this start alone, or secret.
_LEFT_OUT = {"keys", "starter", "needed_by"}


class ServingNote:
    """The two entries of one server; the one of all models has no file."""

    def __init__(self, event_log: EventLog, options: ServerOptions) -> None:
        self._event_log = event_log
        self._options = options
        self._began: int | None = None

    def began(self) -> None:
        """Note that it serves; one that cannot is told of in the server's log, and serves all the same."""
        options = self._options
        settings = {**part(EngineSettings, options), **part(ServingSettings, options)}
        kept = {name: value for name, value in settings.items() if name not in _LEFT_OUT}
        template = options.chat_template
        try:
            entry = audit(
                self._event_log,
                BEGAN,
                options.sha256,
                settings=sha256_text(json.dumps(kept, sort_keys=True, default=str)),
                template=None if template is None else sha256_text(template),
                address=bool(options.host),
            )
        except LlmopsError as error:
            sys.stderr.write(f"the audit could not be written: {error.told}\n")
            return
        self._began = entry.seq

    def ended(self) -> None:
        """Note that it serves no more."""
        if self._began is None:
            return
        try:
            audit(self._event_log, ENDED, self._options.sha256, began=self._began)
        except LlmopsError as error:
            sys.stderr.write(f"the audit could not be written: {error.told}\n")
