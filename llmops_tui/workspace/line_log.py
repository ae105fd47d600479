"""A file that only grows, line by line: what is written outlives a killed process, and a line that it left unfinished goes."""

from __future__ import annotations

import os
from pathlib import Path

from llmops_tui.errors import LlmopsError
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.files import make_folder_within


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that were written to their end, empty ones too; none where there is no file."""
    if not path.is_file():
        return []
    whole, _, _ = read_regular(path).rpartition(b"\n")
    return whole.split(b"\n")


class LineLog:
    """Appends lines to a file; what a killed process left unfinished in it is cut off."""

    def __init__(self, path: Path) -> None:
        make_folder_within(path.parent)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        data = read_regular(path)
        os.ftruncate(self._file, len(data.rpartition(b"\n")[0]) + 1 if b"\n" in data else 0)
        os.lseek(self._file, 0, os.SEEK_END)

    def add(self, line: bytes, hint: str) -> None:
        """Append one line, with its end; it outlives a killed process from here on.

        Raises:
            LlmopsError: ``results_failed``, with the hint, such as for a full disk.
        """
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise LlmopsError("results_failed", f"cannot write {self.path}: {error.strerror}", hint) from error

    def sync(self) -> None:
        """Have the disk keep it."""
        os.fsync(self._file)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._file)
