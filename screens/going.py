"""Ways from one screen to a thing on another: a prompt, a model, a trace; and to the lineage of a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from screens.app import LlmopsApp


class Going:
    """Where the app can be sent."""

    def __init__(self, app: LlmopsApp) -> None:
        self._app = app

    async def prompt(self, name: str, model: str = "") -> None:
        """Go to a prompt in the playground, with a model where one is given."""
        await self._in_playground("open_prompt", name, model)

    async def model(self, name: str) -> None:
        """Use a model in the playground."""
        await self._in_playground("use_model", name)

    async def _in_playground(self, method: str, *names: str) -> None:
        await self._app.switch_mode("playground")
        screen = self._app.screen
        if hasattr(screen, method):
            getattr(screen, method)(*names)

    async def trace(self, trace: str, said: str = "") -> None:
        """Go to a trace, or to those that a filter finds."""
        await self._app.switch_mode("traces")
        screen = self._app.screen
        if trace and hasattr(screen, "show_trace"):
            await screen.show_trace(trace)
        elif hasattr(screen, "filter_by"):
            screen.filter_by(said)

    def lineage(self, subject: str) -> None:
        """Show where a thing came from and what was made of it."""
        from screens.lineage_screen import LineageScreen

        if not subject:
            self._app.say("There is nothing under the cursor that came from somewhere.", severity="warning")
            return
        self._app.push_screen(LineageScreen(self._app.services, subject, utf8=self._app.profile.utf8))
