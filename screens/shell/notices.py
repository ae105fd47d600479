"""Notifications of the app, with a display time that does not expire unseen."""

from __future__ import annotations

from textual.notifications import Notification

# Textual sets a timer for what is left. A timer of less than nothing spins forever, and the app with it.
_SHORTEST = 0.05


class Notice(Notification):
    """A notification whose time left is never less than a moment; whether it has expired is told by its clock alone."""

    @property
    def time_left(self) -> float:
        """Seconds until it goes away, for the timer that does it."""
        return max(super().time_left, _SHORTEST)

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return super().time_left <= 0
