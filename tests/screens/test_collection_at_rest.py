"""The collector works while nobody waits for a frame."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

from screens.shell.background_tasks import collect_at_rest
from tests.screens.conftest import OpenApp


class Node:
    """Something that refers to itself, as a widget and its children do."""

    def __init__(self) -> None:
        self.itself = self


def old_garbage() -> weakref.ref[Node]:
    """Garbage among the oldest objects, of which Python has put off the search long enough."""
    node = Node()
    gc.collect()
    gone = weakref.ref(node)
    del node
    for _ in range(10):
        gc.collect(1)
    assert gone() is not None
    return gone


async def test_garbage_is_searched_for_at_rest_and_not_between_two_keys() -> None:
    last = time.monotonic()
    usual = gc.get_threshold()
    work = asyncio.create_task(collect_at_rest(lambda: last, calm=3600, every=0))
    await asyncio.sleep(0)
    assert gc.get_threshold()[2] > usual[2], "Python searches less often unasked"
    gone = old_garbage()
    for _ in range(10):
        await asyncio.sleep(0)
    assert gone() is not None, "somebody typed just now"
    last -= 7200
    for _ in range(10):
        await asyncio.sleep(0)
    assert gone() is None
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert gc.get_threshold() == usual


async def test_a_key_tells_that_somebody_waits(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        before = pilot.app.last_input  # type: ignore[attr-defined]
        await pilot.press("escape")
        assert pilot.app.last_input > before  # type: ignore[attr-defined]
