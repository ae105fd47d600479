"""Waiting for what another process does: asked again until it holds, never slept for."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until something holds; the time-out is generous, since only a failure waits for it."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < deadline, "it never happened"
        # What is costly to ask is asked less often: what is waited for needs the same cores.
        time.sleep(min(max(0.02, 4 * (now - asked)), 0.5))
