"""Whether a child of an event loop has ended, whoever else has its pipes open."""

from __future__ import annotations

import asyncio
import time

_LOOK_SECONDS = 0.01


async def exits_within(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Whether it ends in time. Its ``wait`` would also wait for its pipes, which its own children may hold."""
    deadline = time.monotonic() + seconds
    while process.returncode is None:
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True
