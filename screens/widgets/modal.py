"""The base of all dialogs: a closing dialog accepts no second answer."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType


class Modal(ModalScreen[ScreenResultType]):
    """A modal screen that is dismissed once.

    A key that arrives while a dialog is closing would close the screen below it too, or give the answer twice.
    """

    _answered = False

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close with a result; what comes after the first has no effect."""
        if self._answered:
            return AwaitComplete()
        self._answered = True
        return super().dismiss(result)
