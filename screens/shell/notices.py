"""Notifications of the app, with a display time that does not expire unseen."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.cells import cell_len
from textual.notifications import Notification

from screens.widgets.columns import fit

# Textual sets a timer for what is left. A timer of less than nothing spins forever, and the app with it.
_SHORTEST = 0.05
READ_SECONDS = 2.0
# As many stand there at once, a line each where it is wide enough: they cover what one works on.
_MOST = 3
_WEIGHTS = {"information": 0, "warning": 1, "error": 2}
# How news ends that the undo key takes back.
_UNDOABLE = ("z undoes", "z takes it back")


class Notice(Notification):
    """A notification whose time begins when it is shown, which on a busy machine is seconds after it was raised.

    It is told by a clock that nobody sets, and is never less than a moment.
    """

    _ends: float | None = None
    # What it is headed by, such as "Failed"; the message begins with it.
    head: str = ""
    # What it tells in whole, of which the message may have a part.
    whole: str = ""

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


def tells(notification: Notification, text: str) -> bool:
    """Whether it tells this, its head before it, and its time is not over."""
    return isinstance(notification, Notice) and notification.whole == text and not notification.has_expired


def shorten(text: str, cells: int) -> str:
    """A text of at most so many cells; of a longer one the middle is left out, since its end says what to do next."""
    return text if cell_len(text) <= cells else fit(text, cells, middle=True)


def was_read(notification: Notification) -> bool:
    """Whether it tells of something that went well, and was shown for as long as it takes to read it."""
    return (
        isinstance(notification, Notice)
        and notification.severity == "information"
        and notification.seen_for >= READ_SECONDS
    )


def is_news(notification: Notification) -> bool:
    """Whether it tells of something that went well, in a line of its own: what is undone makes it false."""
    headed = notification.title or (notification.head if isinstance(notification, Notice) else "")
    return notification.severity == "information" and not headed


def displaced(there: Sequence[Notification], coming: Notification) -> list[Notification]:
    """Which notifications go where another one comes, the oldest first in ``there``.

    The undo key takes back what was done last, so older news that names it is no longer so; news that was read makes room;
    and of more than there is room for, what weighs least and is the oldest. What weighs more than the coming one stays beside it.
    """
    gone = [one for one in there if is_news(one) and is_news(coming) and (_was_last(one, coming) or was_read(one))]
    left = [one for one in there if one not in gone]
    lighter = [one for one in left if _WEIGHTS[one.severity] <= _WEIGHTS[coming.severity]]
    lighter.sort(key=lambda one: _WEIGHTS[one.severity])
    return gone + lighter[: max(0, len(left) - _MOST + 1)]


def _was_last(one: Notification, coming: Notification) -> bool:
    return all(any(said in notice.message for said in _UNDOABLE) for notice in (one, coming))
