"""A screen that polls the workspace each second while it is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.timer import Timer

from llmops_tui.errors import LlmopsError
from screens.shell.base import BaseScreen

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile

_SECONDS = 1.0


class LiveScreen(BaseScreen):
    """Subclasses give :meth:`refresh_all`."""

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self._timer: Timer | None = None
        self._trouble = ""

    async def refresh_all(self, select: str = "") -> None:
        """Read everything again; with ``select`` put the cursor on a run."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        """Look, and go on looking while the screen is in front."""
        self.act("load", self.refresh_all)
        self._timer = self._timer or self.set_interval(_SECONDS, self._tick)
        self._timer.resume()

    def on_screen_suspend(self) -> None:
        """Nothing is read while the screen is hidden."""
        if self._timer is not None:
            self._timer.pause()

    def _tick(self) -> None:
        # A look that takes longer than a second is not begun anew: it would never end.
        looking = any(worker.group in {"tick", "load"} and worker.is_running for worker in self.workers)
        if self.is_current and not looking:
            self.act("tick", self._inspect)

    async def _inspect(self) -> None:
        """A look of the clock's: what is wrong for long is told once, not each second."""
        try:
            await self.refresh_all()
        except LlmopsError as error:
            if error.message != self._trouble:
                self._trouble = error.message
                raise
        else:
            self._trouble = ""
