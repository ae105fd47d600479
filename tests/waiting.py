"""Waiting for what another process does: asked again until it holds, never slept for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def slowed() -> float:
    """How many times as long as alone everything took here so far, for want of a core; 1 where the system does not tell."""
    try:
        at_work, waiting, _ = map(int, Path("/proc/self/schedstat").read_text().split())
    except (OSError, ValueError):
        return 1.0
    return 1.0 + waiting / max(at_work, 1)


def may_wait(begun: float, seconds: float) -> bool:
    """Whether what began then, by the monotonic clock, may be waited for: so many seconds, and longer on a busy machine."""
    waited = time.monotonic() - begun
    return waited < seconds or waited < seconds * slowed()


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until something holds; the time-out is generous, since only a failure waits for it, and longer on a busy machine."""
    begun = time.monotonic()
    while True:
        asked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert may_wait(begun, seconds), "it never happened"
        # What is costly to ask is asked less often: what is waited for needs the same cores.
        time.sleep(min(max(0.02, 4 * (now - asked)), 0.5))
