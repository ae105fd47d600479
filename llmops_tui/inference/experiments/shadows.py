"""Requests that are asked of B, too, when nobody waits for an answer: each pairs what both models say to the same."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.experiments.routing import Assigned

_log = logging.getLogger(__name__)
# They wait in memory: so many of them, and so much, at most.
MOST = 1000
MOST_BYTES = 64_000_000
_TRIES = 3
_LOOK_SECONDS = 0.25
# Nobody may have asked for so long; longer where a model has to be loaded, and perhaps another unloaded, for it.
_QUIET_SECONDS = 2.0
_LOADING_QUIET_SECONDS = 30.0


@dataclass
class Shadow:
    """A request for B: ``ask`` asks it to the end, and says whether it failed."""

    assigned: Assigned
    size: int
    ask: Callable[[], Awaitable[bool]]
    tries: int = 0


class ShadowQueue:
    """Asks one after the other while nothing else is at work, and gives way to whoever comes; for one event loop.

    ``busy`` says whether anybody else's request is being answered or waited for; ``loaded`` whether a model is; ``failed``
    is told of those that failed.
    """

    def __init__(
        self,
        busy: Callable[[], bool],
        loaded: Callable[[str], Awaitable[bool]],
        failed: Callable[[Assigned], Awaitable[None]],
        *,
        quiet: float = _QUIET_SECONDS,
        loading_quiet: float = _LOADING_QUIET_SECONDS,
        look: float = _LOOK_SECONDS,
    ) -> None:
        self._busy, self._loaded, self._failed = busy, loaded, failed
        self._quiet, self._loading_quiet, self._look = quiet, loading_quiet, look
        self._due: deque[Shadow] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self.asking = False
        self.left_out = 0

    def add(self, shadow: Shadow) -> bool:
        """Ask this, too, later; false where too many wait already, and it is left out."""
        if len(self._due) >= MOST or self._bytes + shadow.size > MOST_BYTES:
            self.left_out += 1
            return False
        self._due.append(shadow)
        self._bytes += shadow.size
        self._came.set()
        return True

    def __len__(self) -> int:
        return len(self._due)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._due:
                await self._until_quiet(self._due[0])
                shadow = self._due.popleft()
                self._bytes -= shadow.size
                if not await self._asked(shadow):
                    shadow.tries += 1
                    if shadow.tries < _TRIES:
                        self._due.appendleft(shadow)
                        self._bytes += shadow.size
                    else:
                        self.left_out += 1

    async def _until_quiet(self, shadow: Shadow) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        wanted = self._quiet if await self._loaded(shadow.assigned.model) else self._loading_quiet
        while True:
            if self._busy():
                since = loop.time()
            elif loop.time() - since >= wanted:
                return
            await asyncio.sleep(self._look)

    async def _asked(self, shadow: Shadow) -> bool:
        """Ask; false where it had to give way and may be asked again."""
        self.asking = True
        work = asyncio.ensure_future(shadow.ask())
        try:
            while True:
                done, _ = await asyncio.wait({work}, timeout=self._look)
                if done:
                    if await work:
                        await self._failed(shadow.assigned)
                    return True
                if self._busy():
                    return False
        except LlmopsError as error:
            _log.warning("a shadow of %s failed: %s", shadow.assigned.experiment.id, error)
            await self._failed(shadow.assigned)
            return True
        finally:
            if not work.done():
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError, LlmopsError):
                    await work
            self.asking = False
