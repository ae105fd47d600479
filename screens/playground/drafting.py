"""Keeps the draft on disk while it is typed: at once, in a thread, and never two writes for one disk to catch up with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from llmops_tui.prompts.drafts import Draft
    from screens.base import BaseScreen


class DraftKeeper:
    """Writes the newest draft of each prompt; drafts that are outdated before their turn are skipped."""

    def __init__(self, screen: BaseScreen) -> None:
        self._screen = screen
        self._waiting: dict[str, Draft] = {}
        self._failure = ""

    def keep(self, prompt: str, draft: Draft) -> None:
        """Keep a draft; returns before it is written."""
        idle = not self._waiting
        self._waiting[prompt] = draft
        if idle:
            self._screen.run_worker(self._write(), group="drafts", exit_on_error=False)

    async def _write(self) -> None:
        while self._waiting:
            prompt, draft = next(iter(self._waiting.items()))
            try:
                await asyncio.to_thread(self._screen.services.drafts.save, prompt, draft)
                self._failure = ""
            except LlmopsError as error:
                # A full disk is told once, not at every key; the next key tries again.
                if error.code != self._failure:
                    self._screen.app.report(error)
                self._failure = error.code
            finally:
                if self._waiting.get(prompt) is draft:
                    del self._waiting[prompt]
