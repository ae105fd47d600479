"""Edit a text in the user's own editor, with the terminal handed over and taken back."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from screens.app import LlmopsApp


def edit_outside(app: LlmopsApp, text: str, file_name: str) -> str | None:
    """The text as $EDITOR left it; none where that failed, which is told."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "nano"
    with tempfile.TemporaryDirectory(prefix="llmops-") as folder:
        path = Path(folder) / file_name
        path.write_text(text, encoding="utf-8")
        try:
            with app.suspend():
                done = subprocess.run(
                    [*shlex.split(command), str(path)], check=False, stdin=sys.__stdin__, stdout=sys.__stdout__,
                    stderr=sys.__stderr__,
                )  # fmt: skip
        except (OSError, SuspendNotSupported) as error:
            app.report(LlmopsError("editor_failed", f"{command}: {error}", "Set EDITOR to a program that exists."))
            return None
        changed = path.read_text(encoding="utf-8", errors="replace")
    if done.returncode != 0:
        app.say(f"{command} ended with {done.returncode}; the text stays as it was.", severity="warning")
        return None
    # Editors end files with a newline; one that was not there before is not the user's.
    return changed[:-1] if changed.endswith("\n") and not text.endswith("\n") else changed
