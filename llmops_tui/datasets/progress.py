"""Progress of dataset work: a callback with a share from 0 to 1 and a message."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[float, str], None]


def no_report(_share: float, _message: str) -> None:
    """Tell nobody."""
