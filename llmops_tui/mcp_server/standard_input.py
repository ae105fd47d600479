"""Lines of standard input for an event loop: a read that waits is left when the work ends, and no line grows without end.

The package of the protocol drops lines that are no messages; here they are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import IO

from llmops_tui.mcp_server.messages import Refusal, fault_of, too_long

_MOST = 16_000_000


class InputLines:
    """The messages of a file, read by a thread that the process does not wait for at its end."""

    def __init__(self, file: IO[bytes], refuse: Callable[[Refusal], Awaitable[None]], most: int = _MOST) -> None:
        """``refuse`` gets the answer to each line that is no message, or has more than ``most`` bytes."""
        self._file = file
        self._refuse = refuse
        self._most = most

    async def __aiter__(self) -> AsyncIterator[str]:
        """The messages, each as it comes."""
        loop = asyncio.get_running_loop()
        # The reader goes on only when a line was taken: a client that sends faster than it is answered waits.
        lines: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)

        def read() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                for line in self._lines():
                    asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
                asyncio.run_coroutine_threadsafe(lines.put(b""), loop).result()

        threading.Thread(target=read, name="standard input", daemon=True).start()
        while (line := await lines.get()) != b"":
            if line is None:
                await self._refuse(too_long(self._most))
            elif not line.strip():
                continue
            elif told := fault_of(line):
                await self._refuse(told)
            else:
                yield line.decode()

    def _lines(self) -> Iterator[bytes | None]:
        """Each line, None for one that is too long; its rest is passed over, lest its end is taken for a message."""
        while line := self._file.readline(self._most + 1):
            whole = len(line) <= self._most
            yield line if whole else None
            while line and not whole and not line.endswith(b"\n"):
                line = self._file.readline(self._most)
