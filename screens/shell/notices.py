"""Notifications of the app, with a display time that does not expire unseen."""

from __future__ import annotations

import time

from textual.notifications import Notification

# Textual sets a timer for what is left. A timer of less than nothing spins forever, and the app with it.
_SHORTEST = 0.05
READ_SECONDS = 2.0


class Notice(Notification):
    """A notification whose time begins when it is shown, which on a busy machine is seconds after it was raised.

    It is told by a clock that nobody sets, and is never less than a moment.
    """

    _ends: float | None = None

    @property
    def time_left(self) -> float:
        """Seconds until it goes away, for the timer that does it; whoever asks first shows it."""
        if self._ends is None:
            self._ends = time.monotonic() + self.timeout
        return max(self._ends - time.monotonic(), _SHORTEST)

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self._ends is not None and self._ends <= time.monotonic()

    @property
    def seen_for(self) -> float:
        """Seconds since it was first shown; 0 before."""
        return max(0.0, time.monotonic() - (self._ends - self.timeout)) if self._ends is not None else 0.0


def was_read(notification: Notification) -> bool:
    """Whether it tells of something that went well, and was shown for as long as it takes to read it."""
    return (
        isinstance(notification, Notice)
        and notification.severity == "information"
        and notification.seen_for >= READ_SECONDS
    )


def is_news(notification: Notification) -> bool:
    """Whether it tells of something that went well, in a line of its own: what is undone makes it false."""
    return notification.severity == "information" and not notification.title
