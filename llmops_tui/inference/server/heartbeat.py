"""The heartbeat of the engine: whether it answers, or is stopped or hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import Call, EngineState

# Whoever asks for the health of a server waits no longer than this for its engine.
_PATIENCE_SECONDS = 0.7
# So long an engine at rest may say nothing. At work it says nothing before a step is done, which takes a large model on a
# processor minutes: then the limit is that of the watchdog which ends it.
_REST_SECONDS = 3.0


class Heartbeat:
    """Asks the engine for its state, once at a time however many want to know."""

    def __init__(self, engine: Engine, ask: Callable[[Call], Awaitable[EngineState]]) -> None:
        self._engine = engine
        self._ask = ask
        self._asking: asyncio.Task[bool] | None = None
        self._last: tuple[int | None, EngineState] = (None, {})

    async def inspect(self) -> tuple[str, EngineState]:
        """The engine's standing and its newest state: ``ok``, ``silent`` where it says nothing, or as the process tells.

        The state is empty where this engine told none yet.
        """
        if self._engine.state == "ok":
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._hear())
            # The question goes on beyond our patience; the next one who asks waits for the same.
            await asyncio.wait({self._asking}, timeout=_PATIENCE_SECONDS)
        status, pid = self._engine.state, self._engine.pid
        if status != "ok":
            return status, {}
        limit = self._engine.hang_seconds if self._engine.works else _REST_SECONDS
        silent = self._engine.silent_for > limit
        return "silent" if silent else "ok", self._last[1] if self._last[0] == pid and not silent else {}

    async def _hear(self) -> bool:
        pid = self._engine.pid
        try:
            self._last = (pid, await self._ask({"op": "state"}))
        except LlmopsError:
            # It died of something, and whoever looks sees that.
            return False
        return True

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
