"""Writes the draft to disk while it is typed: immediately, in a thread, one write at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from llmops_tui.prompts.drafts import Draft
    from screens.services import Services


class DraftWriter:
    """Writes the newest draft of each prompt; drafts that are outdated before their turn are skipped.

    Args:
        services: where drafts are kept.
        start: begins work beside what is done now.
        report: tells a failure.
    """

    def __init__(
        self,
        services: Services,
        start: Callable[[Coroutine[Any, Any, None]], object],
        report: Callable[[LlmopsError], None],
    ) -> None:
        self._services = services
        self._start = start
        self._report = report
        self._waiting: dict[str, Draft] = {}
        self._failure = ""
        self._idle = asyncio.Event()
        self._idle.set()

    async def written(self) -> None:
        """Wait until nothing is waiting to be written."""
        await self._idle.wait()

    def write_now(self, prompt: str = "", draft: Draft | None = None) -> None:
        """Write what is waiting, and one draft more, without a thread: for the moment before the app ends."""
        if draft is not None:
            self._waiting[prompt] = draft
        while self._waiting:
            prompt, draft = self._waiting.popitem()
            with contextlib.suppress(LlmopsError):  # there is no screen left to tell it on; the log has it
                self._services.drafts.save(prompt, draft)

    def write(self, prompt: str, draft: Draft) -> None:
        """Write a draft; returns before it is written."""
        idle = not self._waiting
        self._waiting[prompt] = draft
        self._idle.clear()
        if idle:
            self._start(self._write())

    async def _write(self) -> None:
        while self._waiting:
            prompt, draft = next(iter(self._waiting.items()))
            try:
                await asyncio.to_thread(self._services.drafts.save, prompt, draft)
                self._failure = ""
            except LlmopsError as error:
                # A full disk is told once, not at every key; the next key tries again.
                if error.code != self._failure:
                    self._report(error)
                self._failure = error.code
            finally:
                if self._waiting.get(prompt) is draft:
                    del self._waiting[prompt]
        self._idle.set()
