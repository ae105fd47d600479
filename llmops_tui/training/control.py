"""Commands to a running training run, as a file in its folder, and the words by which one says that it waits."""

from __future__ import annotations

from pathlib import Path

from llmops_tui.regular_files import read_regular_text
from llmops_tui.workspace.files import write_atomic

PAUSE, STOP_AFTER_SAVE, SAVE = "pause", "stop-after-save", "save"
_FILE, _SAVE_FILE = "asked", "asked-save"
_WAITS = "waits for "


def waits_for(what: str) -> str:
    """What the job of a run reports that cannot begin before others are done."""
    return _WAITS + what


def waits(message: str) -> bool:
    """Whether a job's report says that its run waits."""
    return message.startswith(_WAITS)


def ask(folder: Path, what: str) -> None:
    """Ask a run to pause, to stop at its next checkpoint, or to write one now."""
    write_atomic(folder / (_SAVE_FILE if what == SAVE else _FILE), what)


def asked(folder: Path) -> str:
    """What was asked and is not done yet; nothing where nothing was."""
    try:
        return read_regular_text(folder / _FILE)
    except OSError:
        return ""


def take_save_now(folder: Path) -> bool:
    """Whether a checkpoint was asked for; the wish is taken."""
    try:
        (folder / _SAVE_FILE).unlink()
    except OSError:
        return False
    return True


def clear(folder: Path) -> None:
    """Forget what was asked."""
    (folder / _FILE).unlink(missing_ok=True)
