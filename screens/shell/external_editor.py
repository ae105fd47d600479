"""Edit a text in the user's own editor, with the terminal released and restored."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from screens.shell.shell import Shell

# Where the user named none: the first that is here.
_EDITORS = ("nano", "vim", "vi")
_LONGEST_NAME = 60


def edit_outside(app: Shell, text: str, file_name: str) -> str | None:
    """The text as $EDITOR left it; none where that failed, which is told."""
    found = next((name for name in _EDITORS if shutil.which(name)), _EDITORS[0])
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or found
    with tempfile.TemporaryDirectory(prefix="llmops-") as folder:
        # Named after something of the workspace, whose maker may have meant it to lead elsewhere.
        path = Path(folder) / re.sub(r"[^\w.-]", "_", file_name)[-_LONGEST_NAME:]
        path.write_text(text, encoding="utf-8")
        try:
            with app.suspend():
                code, trouble = _run([*shlex.split(command), str(path)])
        except (ValueError, SuspendNotSupported) as error:
            code, trouble = 1, str(error)
        changed = path.read_text(encoding="utf-8", errors="replace")
    if trouble:
        app.report(LlmopsError("editor_failed", f"{command}: {trouble}", "Set EDITOR to an existing program."))
        return None
    if code != 0:
        app.say(f"{command} ended with {code}; the text is unchanged.", severity="warning")
        return None
    # Editors end files with a newline; one that was not there before is not the user's.
    return changed[:-1] if changed.endswith("\n") and not text.endswith("\n") else changed


def _run(command: list[str]) -> tuple[int, str]:
    """Run a program on the terminal; its exit code, and why it could not be started.

    It raises nothing: an exception would leave the app suspended, its screen gone and its keys unheard.
    """
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=sys.__stdin__,
            stdout=sys.__stdout__,
            stderr=sys.__stderr__,
        )
    except OSError as error:
        return 1, str(error)
    return done.returncode, ""
