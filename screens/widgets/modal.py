"""The base of all dialogs: a closing dialog accepts no second answer."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets._toast import ToastRack  # Textual exports it nowhere else

from screens.widgets.screen_below import LayeredScreen


class Modal(ModalScreen[ScreenResultType], LayeredScreen[ScreenResultType]):
    """A modal screen that is dismissed once.

    A key that arrives while a dialog is closing would close the screen below it too, or give the answer twice.

    Attributes:
        asks: whether it asks before an act: a macro does not answer that.
    """

    asks: ClassVar[bool] = False
    _answered = False

    def on_mount(self) -> None:
        """What was told before is told above this dialog, and not behind it a second time; whoever comes back shows it."""
        for screen in self.app.screen_stack[:-1]:
            screen.query(ToastRack).set(display=False)

    def lines_beside(self, others: int) -> int:
        """Lines that a list in the dialog may take beside so many others, border and padding among them."""
        return max(3, self.app.size.height * 9 // 10 - others)

    def take_key(self, event: events.Key) -> bool:  # noqa: ARG002  for dialogs that ask for a key
        """Take a key before anything that is bound to it, the keys of the whole app among them; whether it was taken."""
        return False

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close with a result; what comes after the first has no effect."""
        if self._answered:
            return AwaitComplete()
        self._answered = True
        return super().dismiss(result)
