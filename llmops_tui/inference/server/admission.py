"""Admission: places at the engine go to clients in turn; the client with most waiting requests yields."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncGenerator, Generator

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.server.callers import is_batch

MAX_WAITING = 64
# Answers that the engine is given for each that it runs: it has the next at hand when one ends, and sees which begin alike.
AHEAD = 2


class QueueFullError(LlmopsError):
    """As many requests wait as may."""


class Ticket:
    """One request that was let in. ``refused`` is set where it had to give way before any of its answers was begun."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.begun = False
        # Tokens that embedding or ranking came to.
        self.used: int | None = None
        self.refused: QueueFullError | None = None
        self.turns: set[asyncio.Future[None]] = set()

    def give_way(self, error: QueueFullError) -> None:
        """Tell all that wait for their turn with it."""
        self.refused = error
        for turn in self.turns:
            if not turn.done():
                turn.set_exception(error)


class Admission:
    """The requests of all clients that are let in.

    Where as many wait as may, a client that holds fewer than another takes a place of that one.
    """

    def __init__(self, parallel: int) -> None:
        self._parallel = parallel
        self._tickets: list[Ticket] = []

    @property
    def active(self) -> int:
        """How many requests are let in."""
        return len(self._tickets)

    @property
    def batched(self) -> int:
        """How many of them are of jobs that answer files."""
        return sum(is_batch(ticket.client) for ticket in self._tickets)

    @property
    def queued(self) -> int:
        """How many of them wait, as far as can be told from outside the engine."""
        return max(0, self.active - self._parallel)

    @contextlib.contextmanager
    def let_in(self, client: str) -> Generator[Ticket]:
        """Hold a request's place.

        Raises:
            QueueFullError: too many wait already, and no client holds more places than this one would.
        """
        if self.queued >= MAX_WAITING and not self._one_gives_way(client):
            raise _full(f"{self.queued} requests are waiting already")
        ticket = Ticket(client)
        self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            if ticket in self._tickets:
                self._tickets.remove(ticket)

    def _one_gives_way(self, client: str) -> bool:
        """Turn away the newest request of the client that holds most, where that is more than this one would hold."""
        held = Counter(ticket.client for ticket in self._tickets)
        most = max(held.values(), default=0)
        if held[client] + 1 >= most:
            return False
        for ticket in reversed(self._tickets):
            if held[ticket.client] == most and not ticket.begun:
                self._tickets.remove(ticket)
                ticket.give_way(_full(f"{self.queued} requests are waiting, most of them of this client"))
                return True
        return False


class Turns:
    """Places at the engine, and of each client in order what waits for one.

    A free place goes to the client with the fewest, among equals to the one that had none for longest.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: Counter[str] = Counter()
        # In the order of their turns; a client is here as long as something of it waits.
        self._waiting: dict[str, deque[tuple[Ticket, asyncio.Future[None]]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncGenerator[None]:
        """Wait for a place, and hold it.

        Raises:
            QueueFullError: the request had to give way to another client's.
        """
        if ticket.refused is not None:
            raise ticket.refused
        if self._free and not self._waiting:
            self._take(ticket)
        else:
            await self._wait(ticket)
        try:
            yield
        finally:
            self._give_back(ticket.client)

    async def _wait(self, ticket: Ticket) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (ticket, turn)
        self._waiting.setdefault(ticket.client, deque()).append(entry)
        ticket.turns.add(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # Its turn came while it was given up.
                self._give_back(ticket.client)
            else:
                self._forget(entry)
            raise
        finally:
            ticket.turns.discard(turn)

    def _take(self, ticket: Ticket) -> None:
        self._free -= 1
        self._held[ticket.client] += 1
        ticket.begun = True

    def _give_back(self, client: str) -> None:
        self._free += 1
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        while self._free and self._waiting:
            next_one = min(self._waiting, key=lambda name: self._held[name])
            ticket, turn = self._waiting[next_one].popleft()
            left = self._waiting.pop(next_one)
            if left:
                self._waiting[next_one] = left
            if not turn.done():
                self._take(ticket)
                turn.set_result(None)

    def _forget(self, entry: tuple[Ticket, asyncio.Future[None]]) -> None:
        client = entry[0].client
        if client in self._waiting:
            with contextlib.suppress(ValueError):
                self._waiting[client].remove(entry)
            if not self._waiting[client]:
                del self._waiting[client]


def _full(told: str) -> QueueFullError:
    return QueueFullError("queue_full", told, "Try again in a moment.")
