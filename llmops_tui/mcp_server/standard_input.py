"""Lines of standard input for an event loop: a read that waits is left when the work ends, and no line grows without end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import IO

_MOST = 16_000_000


class InputLines:
    """The lines of a file, read by a thread that the process does not wait for at its end."""

    def __init__(self, file: IO[bytes], most: int = _MOST) -> None:
        """A line of more than ``most`` bytes comes in parts, which are no messages and are refused as such."""
        self._file = file
        self._most = most

    async def __aiter__(self) -> AsyncIterator[str]:
        """The lines, each as it comes."""
        loop = asyncio.get_running_loop()
        # The reader goes on only when a line was taken: a client that sends faster than it is answered waits.
        lines: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)

        def read() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                while line := self._file.readline(self._most):
                    asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
                asyncio.run_coroutine_threadsafe(lines.put(b""), loop).result()

        threading.Thread(target=read, name="standard input", daemon=True).start()
        while line := await lines.get():
            yield line.decode("utf-8", "replace")
