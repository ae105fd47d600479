"""What is typed ahead, of screens that are none: one that answers nothing keeps no key for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from textual import events

from screens.shell import key_queue
from screens.shell.key_queue import KeyQueue, Typed


class Node:
    """A screen, or an app; ``stuck`` ones take what is to be called later, and never call it."""

    is_mounted = True
    parent = focused = None
    workers = ()

    def __init__(self, *, stuck: bool = False) -> None:
        self.stuck = stuck
        self.screen: Node = self
        self.tasks: list[asyncio.Task[None]] = []

    def call_later(self, callback: Callable[..., object], *arguments: object) -> bool:
        if not self.stuck:
            asyncio.get_running_loop().call_soon(callback, *arguments)
        return True

    def call_next(self, callback: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
        self.tasks.append(asyncio.create_task(callback(*arguments)))

    def run_worker(self, work: Coroutine[Any, Any, None], **_options: object) -> None:
        self.tasks.append(asyncio.create_task(work))


def queue_of(app: Node) -> tuple[KeyQueue, list[str]]:
    told: list[str] = []

    async def deliver(event: Typed) -> None:
        told.append(event.key if isinstance(event, events.Key) else event.text)

    return KeyQueue(app, deliver), told  # type: ignore[arg-type]  # no app, but what is asked of one


async def finished(app: Node) -> None:
    while left := [task for task in app.tasks if not task.done()]:
        await asyncio.gather(*left)


async def test_a_screen_that_answers_nothing_gets_its_keys_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_queue, "_LONGEST", 0.01)
    app = Node()
    app.screen = Node()
    queue, told = queue_of(app)
    await queue.take(events.Key("a", "a"))
    app.screen = Node(stuck=True)
    for key in "bc":
        await queue.take(events.Key(key, key))
    await finished(app)
    assert told == ["a", "b", "c"]


async def test_what_is_pasted_does_not_overtake_what_was_typed_before() -> None:
    app = Node()
    app.screen = Node()
    queue, told = queue_of(app)
    queue.hold()
    await queue.take(events.Key("a", "a"))
    await queue.take(events.Paste("pasted"))
    await queue.take(events.Key("b", "b"))
    assert told == []
    queue.release()
    await finished(app)
    assert told == ["a", "pasted", "b"]


async def test_a_key_that_comes_while_the_last_one_is_just_delivered_is_emptied_by_nobody_else() -> None:
    app = Node()
    app.screen = Node()
    queue, told = queue_of(app)
    queue.hold()
    await queue.take(events.Key("a", "a"))
    queue.release()
    # The queue is empty, and whoever emptied it does not know yet.
    while not told:
        await asyncio.sleep(0)
    await queue.take(events.Key("b", "b"))
    await finished(app)
    assert told == ["a", "b"]
    # What comes later is taken as well.
    queue.hold()
    await queue.take(events.Key("c", "c"))
    queue.release()
    await finished(app)
    assert told == ["a", "b", "c"]


class Act:
    """A worker of the app."""

    is_finished = False


async def test_keys_wait_for_the_dialog_of_an_act_that_still_reads() -> None:
    app = Node()
    app.screen = Node()
    queue, told = queue_of(app)
    await queue.take(events.Key("f5", None))
    act = Act()
    queue.expect(act)  # type: ignore[arg-type]  # no worker, but what is asked of one
    await queue.take(events.Key("enter", None))
    for _ in range(20):
        await asyncio.sleep(0)
    assert told == ["f5"]
    # Its dialog is in front.
    app.screen = Node()
    assert queue.expect_no_more(act)  # type: ignore[arg-type]
    await finished(app)
    assert told == ["f5", "enter"]
    # One that ends without a dialog keeps nothing back.
    queue.expect(act)  # type: ignore[arg-type]
    await queue.take(events.Key("a", "a"))
    act.is_finished = True
    await finished(app)
    assert told == ["f5", "enter", "a"]


async def test_what_was_opened_with_the_mouse_gets_its_keys_while_an_act_still_reads() -> None:
    app = Node()
    app.screen = behind = Node()
    queue, told = queue_of(app)
    act = Act()
    queue.expect(act)  # type: ignore[arg-type]  # no worker, but what is asked of one
    app.screen = Node()
    await queue.take(events.Key("a", "a"))
    await finished(app)
    assert told == ["a"]
    # Back on what it began on, keys are for its dialog again.
    app.screen = behind
    await queue.take(events.Key("b", "b"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert told == ["a"]
    act.is_finished = True
    await finished(app)
    assert told == ["a", "b"]


async def test_an_act_that_reads_for_ever_keeps_no_key_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_queue, "_LONGEST_READING", 0.01)
    app = Node()
    app.screen = Node()
    queue, told = queue_of(app)
    queue.expect(Act())  # type: ignore[arg-type]
    await queue.take(events.Key("a", "a"))
    await finished(app)
    assert told == ["a"]
