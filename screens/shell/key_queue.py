"""Keys that are typed ahead: they wait until the screen they are meant for is in front, and has the focus where it belongs.

Textual hands a key to what has the focus at this moment. Whoever types on while a screen is opened, or a jump is on its
way, would otherwise type into what was in front before, or into nothing. The same holds for a dialog of an act that
first has to read something: keys wait for the dialog, or for the end of the act where it asks nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.worker import Worker

from screens.actions import actions_of

_GROUP = "keys"
# Groups of workers that fill a screen which comes to the front.
_FILLING = frozenset({"load", "open"})
# Seconds: a screen that takes longer gets its keys all the same, and so does one that never answers.
_LONGEST = 3.0
# Seconds that an act which asks may read before its dialog, such as the preview of a file.
_LONGEST_READING = 10.0
# How often a key's way is gone behind it: what it is for may tell its pane by a message, and that the screen by another,
# before an act begins.
_ROUNDS = 3
_PAUSE = 0.005
Typed = events.Key | events.Paste


class KeyQueue:
    """What is typed and pasted in one app, delivered in its order. ``deliver`` gives one to what has the focus.

    ``keymap`` are the user's own keys, by the ids of actions.
    """

    def __init__(
        self, app: App[Any], deliver: Callable[[Typed], Awaitable[None]], keymap: Mapping[str, str] | None = None
    ) -> None:
        self._app = app
        self._deliver = deliver
        self._waiting: deque[Typed] = deque()
        # Whether somebody empties it: the last one may be delivered, and whoever delivered it not yet know.
        self._emptying = False
        # Whether the last key is still on its way from the focus up to the app; the screen it was for; and how many
        # jumps and changes of screen are on their way.
        self._on_its_way = False
        self._screen: DOMNode | None = None
        self._held = 0
        # Acts whose dialog is not there yet, until when it is waited for, and what was in front when they began: keys are for
        # what was opened with the mouse meanwhile.
        self._reading: dict[Worker[Any], tuple[float, DOMNode]] = {}
        self._everywhere: set[str] = set()
        self.learn(keymap or {})

    def learn(self, keymap: Mapping[str, str]) -> None:
        """The keys that act on all screens, as the user has them."""
        found = [keymap.get(action.id, action.keys) for action in actions_of("app")]
        self._everywhere = {key.strip() for keys in found for key in keys.split(",") if " " not in key.strip()}

    def hold(self) -> None:
        """Keep keys from now on, until as many calls of :meth:`release` came."""
        self._held += 1

    def release(self) -> None:
        """The focus is where it belongs."""
        self._held = max(0, self._held - 1)

    def expect(self, act: Worker[Any], *, another: bool = False) -> None:
        """Keep keys until the act shows a dialog or ends: who types ahead types for that.

        For ``another`` dialog behind one that was answered not for so long: what follows the last may take any time.
        """
        end = time.monotonic() + (_LONGEST if another else _LONGEST_READING)
        self._reading[act] = end, self._app.screen

    def expect_no_more(self, act: Worker[Any]) -> bool:
        """The dialog is there, or none comes soon; whether one was waited for."""
        return self._reading.pop(act, None) is not None

    @property
    def _kept_back(self) -> bool:
        """Whether keys wait for a jump, a change of screen or a dialog."""
        return bool(self._held or self._awaits_dialog)

    @property
    def _awaits_dialog(self) -> bool:
        """Whether an act still reads that began on what is in front."""
        now = time.monotonic()
        self._reading = {
            act: (end, begun) for act, (end, begun) in self._reading.items() if not act.is_finished and now < end
        }
        return any(begun is self._app.screen for _, begun in self._reading.values())

    async def take(self, event: Typed) -> None:
        """Deliver a key or what was pasted, at once where nothing is on its way."""
        here = self._app.screen
        ready = here is self._screen or (self._screen is None and here.is_mounted)
        if not self._waiting and not self._on_its_way and not self._kept_back and ready:
            await self._send(event)
            return
        self._waiting.append(event)
        if not self._emptying:
            self._emptying = True
            self._app.run_worker(self._empty(), group=_GROUP, exit_on_error=False)

    async def _empty(self) -> None:
        """Deliver what waits; each as soon as the one before it came to its end."""
        try:
            while self._waiting:
                await self._until_settled(self._waiting[0])
                sent = asyncio.Event()
                # By the app itself, as if it came now.
                self._app.call_next(self._send_waiting, sent)
                await sent.wait()
        finally:
            self._emptying = False

    async def _send_waiting(self, sent: asyncio.Event) -> None:
        try:
            # It stays the first of the queue until it is delivered, so that no other overtakes it.
            await self._send(self._waiting[0])
        finally:
            self._waiting.popleft()
            sent.set()

    async def _send(self, event: Typed) -> None:
        self._screen = self._app.screen
        target = self._app.focused or self._screen
        self._on_its_way = True
        await self._deliver(event)
        self._follow(target, target, _ROUNDS)

    def _follow(self, node: DOMNode, begin: DOMNode, rounds: int) -> None:
        """Go the way of the key, behind it: when this arrives at the app, the key was handled or passed by all.

        And once more behind what these told, and what that told.
        """
        while node is not self._app:
            if node.call_later(self._passed, node, begin, rounds):
                return
            node = node.parent or self._app
        if not self._app.call_later(self._arrived, begin, rounds):
            self._on_its_way = False

    def _passed(self, node: DOMNode, begin: DOMNode, rounds: int) -> None:
        self._follow(node.parent or self._app, begin, rounds)

    def _arrived(self, begin: DOMNode, rounds: int) -> None:
        if rounds > 1:
            self._follow(begin, begin, rounds - 1)
        else:
            self._on_its_way = False

    async def _until_settled(self, event: Typed) -> None:
        """Wait until the key would go where whoever typed it expects it to go."""
        end = time.monotonic() + _LONGEST
        while time.monotonic() < end:
            screen = self._app.screen
            if self._kept_back or self._on_its_way or not screen.is_mounted:
                if self._awaits_dialog:
                    # It has a limit of its own, and what follows it the whole time.
                    end = time.monotonic() + _LONGEST
                await asyncio.sleep(_PAUSE)
                continue
            if screen is self._screen:
                return
            await self._answered(screen, end)
            if screen is not self._app.screen or self._kept_back:
                continue
            if not self._for_all_screens(event) and self._filling(screen):
                await asyncio.sleep(_PAUSE)
                continue
            await self._answered(screen, end)
            if screen is self._app.screen and not self._kept_back:
                return
        self._held, self._on_its_way = 0, False

    async def _answered(self, place: DOMNode, end: float) -> None:
        """The screen did what it was told so far, and the app what the screen told it; or the time is over."""
        for node in (place, self._app):
            done = asyncio.Event()
            if node.call_later(done.set):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), end - time.monotonic())

    def _for_all_screens(self, event: Typed) -> bool:
        return isinstance(event, events.Key) and event.key in self._everywhere

    def _filling(self, place: DOMNode) -> bool:
        """Whether what the screen shows is still being read."""
        return any(
            worker.group in _FILLING and worker.is_running and place in worker.node.ancestors_with_self
            for worker in self._app.workers
        )
