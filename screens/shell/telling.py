"""What the app tells in passing: notices, which make room for each other."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import App
from textual.notifications import Notification, Notify, SeverityLevel

from llmops_tui.safe_text import safe_line
from screens.shell.notices import Notice, displaced, shorten, tells

# Lines of a notice at most, and the cells of one in a terminal whose size is not known yet.
_LINES, _NARROWEST = 3, 60


class TellingApp(App[int]):
    """An app with notices that are never markup, a few at once."""

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """As Textual's, but never markup unless asked for."""
        seconds = self.NOTIFICATION_TIMEOUT if timeout is None else timeout
        told = f"{title}: {message}" if title else message
        # Its end stays, which says what to do next.
        shown = told if markup else shorten(told, max(_NARROWEST, self.size.width * 9 // 10) * _LINES)
        notice = Notice(shown, "", severity, seconds, markup)
        notice.head, notice.whole = title, told
        self.post_message(Notify(notice))

    @on(Notify)
    def _make_room(self, event: Notify) -> None:
        gone = displaced(list(self._notifications), event.notification)
        self.unsay(lambda notice: notice in gone)

    def say(self, text: str, *, title: str = "", severity: SeverityLevel = "information", seconds: float = 6.0) -> None:
        """A notification; never markup."""
        self.notify(safe_line(text), title=title, severity=severity, timeout=seconds)

    def is_told(self, text: str) -> bool:
        """Whether a notice with this text, its head before it, stands there."""
        return any(tells(one, text) for one in self._notifications)

    def unsay(self, gone: Callable[[Notification], bool]) -> None:
        """Take away the notifications of which this is true."""
        for notice in list(self._notifications):
            if gone(notice):
                self._unnotify(notice, refresh=False)
