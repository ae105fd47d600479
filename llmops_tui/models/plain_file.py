"""Refuses what is not a regular file before it is opened, such as a pipe or a device."""

from __future__ import annotations

import stat
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.regular_files import KINDS


def check_plain_file(path: Path) -> None:
    """Look at what a path leads to, without opening it.

    Raises:
        InputRefusedError: ``model_unreadable``: nothing is there; ``not_a_file``: it is of another kind.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputRefusedError("model_unreadable", f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise InputRefusedError("not_a_file", f"{path} is {kind}, not a file", "Give the path of a GGUF file.")
