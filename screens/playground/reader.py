"""Reads a prompt into the state, one read at a time, and drops reads of another prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from screens.playground.state import UNTITLED, Loaded, PlaygroundState, read

if TYPE_CHECKING:
    from llmops_tui.prompts.drafts import Draft
    from screens.services import Services


class Reader:
    """A look that began earlier is never shown over a later one."""

    def __init__(self, state: PlaygroundState, services: Services, catch_up: Callable[[], None]) -> None:
        """Read for this state; ``catch_up`` takes in what was typed and not told yet, before another prompt stands."""
        self._state = state
        self._services = services
        self._catch_up = catch_up
        self._reading = asyncio.Lock()

    async def open(self, prompt: str | None) -> tuple[Loaded, Draft | None]:
        """Read a prompt, or the one first in the list; and give what was typed before anything was read."""
        state = self._state
        async with self._reading:
            loaded = await asyncio.to_thread(read, self._services, prompt)
            # The text typed while it was read belongs to the prompt that stood until now.
            self._catch_up()
            early = state.draft if state.versions == [] and state.prompt == UNTITLED else None
            state.take(loaded)
        return loaded, early if loaded.prompt != UNTITLED else None

    async def read_again(self) -> Loaded | None:
        """Read the open prompt again; none where another one was opened meanwhile."""
        async with self._reading:
            prompt = self._state.prompt
            loaded = await asyncio.to_thread(read, self._services, prompt)
            if self._state.prompt != prompt:
                return None
            self._state.take(loaded)
        return loaded
