"""The command palette: actions, prompts and models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from textual.command import DiscoveryHit, Hit, Hits, Provider

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.actions import actions_of
from screens.navigation import ModelInPlayground, PromptPlace
from screens.shell.base import BaseScreen

if TYPE_CHECKING:
    from screens.shell.shell import Shell


class PaletteProvider(Provider):
    """Actions of the screen and the app, then prompts, models and themes."""

    async def startup(self) -> None:
        """Find the themes of installed packages, before the first word is typed."""
        from llmops_tui.themes import PLUGINS
        from screens.plugin_themes import register_plugin_themes

        await asyncio.to_thread(PLUGINS.all)
        register_plugin_themes(self.screen.app)

    def _commands(self) -> list[tuple[str, str, Callable[[], object]]]:
        screen = self.screen
        assert isinstance(screen, BaseScreen)
        app: Shell = screen.app
        found: list[tuple[str, str, Callable[[], object]]] = []
        for action in actions_of(screen.scope, "app"):
            run = partial(app.run_action, action.target, default_namespace=screen)
            found.append((f"{action.title}: {action.help}", f"{action.scope} · {action.keys}", run))
        for theme in sorted(app.available_themes):
            found.append((f"Theme: {theme}", "appearance", partial(app.choose_theme, theme)))  # noqa: PERF401
        return found

    async def _things(self) -> list[tuple[str, str, Callable[[], object]]]:
        screen = self.screen
        assert isinstance(screen, BaseScreen)
        app: Shell = screen.app
        services = screen.services
        try:
            prompts = await asyncio.to_thread(lambda: services.prompts.summaries())
            models = await asyncio.to_thread(lambda: services.models.runnable())
        except LlmopsError:
            return []
        found: list[tuple[str, str, Callable[[], object]]] = [
            (f"Prompt: {p.name}", counted(p.versions, "version"), partial(app.open_place, PromptPlace(p.name)))
            for p in prompts
        ]
        return found + [
            (f"Model: {m.name}", m.quantization, partial(app.open_place, ModelInPlayground(m.name))) for m in models
        ]

    async def discover(self) -> Hits:
        """What is shown before anything is typed."""
        for title, note, run in self._commands():
            if not title.startswith("Theme"):
                yield DiscoveryHit(safe_line(title), run, help=note)

    async def search(self, query: str) -> Hits:
        """Fuzzy matches by name."""
        matcher = self.matcher(query)
        for title, note, run in [*self._commands(), *await self._things()]:
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, matcher.highlight(safe_line(title)), run, help=note)
