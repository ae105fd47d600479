"""Completes paths while they are typed."""

from __future__ import annotations

import asyncio
import os

from textual.suggester import Suggester

from llmops_tui.user_files import with_home

# Of a folder with more entries not all are looked at.
_MOST = 5000


class PathSuggester(Suggester):
    """Completes the last part of a path by the first name in its folder that begins so."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The path with its last part completed; none where nothing fits."""
        return await asyncio.to_thread(completed, value)


def completed(text: str) -> str | None:
    """A path completed by what is there, a folder with a slash behind it; none where nothing fits.

    Hidden names only where a dot was typed; names that a terminal cannot show are left out.
    """
    begun = text.rpartition("/")[2]
    if not text.strip() or text == "~":
        return None
    folder = text[: len(text) - len(begun)]
    try:
        with os.scandir(with_home(folder or ".")) as entries:
            found = [
                entry.name + "/" * entry.is_dir()
                for _, entry in zip(range(_MOST), entries, strict=False)
                if entry.name.startswith(begun or "") and entry.name.isprintable()
            ]
    except (OSError, ValueError, RuntimeError):  # RuntimeError: the home of a user that does not exist
        return None
    shown = sorted(name for name in found if begun.startswith(".") or not name.startswith("."))
    return next((folder + name for name in shown if len(name) > len(begun)), None)
